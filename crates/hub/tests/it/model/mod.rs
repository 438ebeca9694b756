//! Random publishers and readers against a simple oracle: whatever happens in
//! between, each reader gets what it should, in order, without a hole or a
//! duplicate, and every gap that it is told of is a real one.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::Hooked;
use notification_event::{Audience, Cursor, Draft, Filter, Position, Timestamp};
use notification_hub::{
    Delivery, EventPage, Hub, HubConfig, PageRequest, Published, Start, Subscribe, Subscription,
};
use notification_log::{EventLog, Retention};
use proptest::prelude::*;
use serde_json::json;
use tokio::task::JoinHandle;

/// A log whose calls let others run before and after they do their work, each
/// time for another while.
fn dawdling(pauses: Vec<usize>) -> Hooked {
    let next = AtomicUsize::new(0);
    Hooked::new(move |_| {
        let next = next.fetch_add(1, Ordering::Relaxed);
        turns(pauses[next % pauses.len()])
    })
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        topics: Vec<usize>,
        to: Option<usize>,
    },
    Connect {
        wanted: Wanted,
    },
    Read {
        reader: usize,
        patience: usize,
    },
    Disconnect {
        reader: usize,
    },
    Page {
        wanted: Wanted,
        limit: usize,
    },
    Wait {
        turns: usize,
    },
    Keep {
        events: u64,
    },
}

#[derive(Clone, Debug)]
struct Wanted {
    topics: Vec<usize>,
    client: Option<usize>,
    begin: Begin,
}

#[derive(Clone, Debug)]
enum Begin {
    Now,
    Beginning,
    Resume { of: usize },
}

const TOPICS: [&str; 3] = ["a", "a/b", "c"];
const PATTERNS: [&str; 4] = ["a", "a/**", "*/b", "c"];
const CLIENTS: [&str; 2] = ["alice", "bob"];

fn step() -> impl Strategy<Value = Step> {
    let client = || prop::option::of(0..CLIENTS.len());
    let begin = prop_oneof![
        Just(Begin::Now),
        Just(Begin::Beginning),
        (0..8usize).prop_map(|of| Begin::Resume { of }),
    ];
    let patterns = prop::collection::vec(0..PATTERNS.len(), 0..3);
    let wanted = (patterns, client(), begin).prop_map(|(topics, client, begin)| Wanted {
        topics,
        client,
        begin,
    });
    prop_oneof![
        4 => (prop::collection::vec(0..TOPICS.len(), 1..4), client())
            .prop_map(|(topics, to)| Step::Publish { topics, to }),
        2 => wanted.clone().prop_map(|wanted| Step::Connect { wanted }),
        2 => (wanted, 1..6usize).prop_map(|(wanted, limit)| Step::Page { wanted, limit }),
        6 => (0..8usize, 0..12usize).prop_map(|(reader, patience)| Step::Read { reader, patience }),
        1 => (0..8usize).prop_map(|reader| Step::Disconnect { reader }),
        2 => (0..6usize).prop_map(|turns| Step::Wait { turns }),
        1 => (0..8u64).prop_map(|events| Step::Keep { events }),
    ]
}

/// A reader, and all it was told.
struct Reader {
    subscribe: Subscribe,
    open: Option<Subscription>,
    started_at: Position,
    told: Vec<Told>,
    cursor: Cursor,
}

enum Told {
    Event(Position),
    Gap(Position),
}

impl Reader {
    async fn connect(hub: &Hub, subscribe: Subscribe) -> Self {
        let open = hub.subscribe(subscribe.clone()).await.unwrap();
        Self {
            subscribe,
            started_at: open.cursor().position,
            cursor: open.cursor(),
            open: Some(open),
            told: Vec::new(),
        }
    }

    /// Takes one delivery, unless there is none within `patience` turns. False at the end.
    async fn read(&mut self, patience: usize) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        let delivery = tokio::select! {
            biased;
            delivery = open.next() => delivery,
            () = turns(patience) => return true,
        };
        self.cursor = open.cursor();
        match delivery {
            Delivery::Events(frames) => {
                assert!(!frames.is_empty());
                self.told
                    .extend(frames.iter().map(|f| Told::Event(f.position)));
                true
            }
            Delivery::Gap { cursor, .. } => {
                self.told.push(Told::Gap(cursor.position));
                true
            }
            Delivery::Closing => false,
            Delivery::Failed(error) => panic!("{error}"),
        }
    }

    /// Compares what it was told with what was published.
    fn check(&self, published: &[(Position, Draft)], up_to: Position, floor: Position) {
        let wanted = |draft: &Draft| is_wanted(&self.subscribe, draft);
        let nothing_missed = |after: Position, before: Position| {
            let missed = published
                .iter()
                .find(|(p, draft)| *p > after && *p < before && wanted(draft));
            assert!(
                missed.is_none(),
                "missed {missed:?} between {after:?} and {before:?}"
            );
        };
        let mut considered = self.started_at;
        for told in &self.told {
            match *told {
                Told::Event(position) => {
                    assert!(position > considered, "{position:?} again or out of order");
                    nothing_missed(considered, position);
                    let (_, draft) = published.iter().find(|(p, _)| *p == position).unwrap();
                    assert!(wanted(draft), "{position:?} was not for this reader");
                    considered = position;
                }
                Told::Gap(position) => {
                    assert!(position >= considered && position <= floor, "no gap there");
                    considered = position;
                }
            }
        }
        nothing_missed(considered, up_to.plus(1));
    }
}

impl Wanted {
    /// None if it is to resume after a reader that there is not.
    fn subscribe(&self, readers: &[Reader]) -> Option<Subscribe> {
        let topics = self.topics.iter().map(|p| PATTERNS[*p].parse().unwrap());
        Some(Subscribe {
            filter: Filter {
                topics: topics.collect(),
                types: Vec::new(),
            },
            client: self.client.map(|c| CLIENTS[c].parse().unwrap()),
            start: match self.begin {
                Begin::Now => Start::Now,
                Begin::Beginning => Start::Beginning,
                Begin::Resume { of } => Start::After(readers.get(of)?.cursor),
            },
        })
    }
}

fn is_wanted(subscribe: &Subscribe, draft: &Draft) -> bool {
    let topics = &subscribe.filter.topics;
    let topic = topics.is_empty() || topics.iter().any(|p| p.matches(&draft.topic));
    let client = subscribe.client.as_ref();
    topic && draft.audience.as_ref().is_none_or(|a| a.includes(client))
}

/// A page has all that was wanted between where it begins and its cursor. If it
/// is truncated, it begins with its first event.
fn check_page(
    subscribe: &Subscribe,
    limit: usize,
    page: &EventPage,
    published: &[(Position, Draft)],
) {
    let found: Vec<_> = page.frames.iter().map(|frame| frame.position).collect();
    let begin = match (subscribe.start, page.truncated) {
        (Start::After(cursor), false) => cursor.position,
        _ => match found.first() {
            Some(first) => Position(first.0 - 1),
            None => return,
        },
    };
    let there = published
        .iter()
        .filter(|(p, _)| *p > begin && *p <= page.cursor.position);
    let expected = there
        .filter(|(_, draft)| is_wanted(subscribe, draft))
        .map(|(p, _)| *p);
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert!(found.len() <= limit);
}

async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

async fn run(steps: Vec<Step>, pauses: Vec<usize>) {
    let log = Arc::new(dawdling(pauses));
    let config = HubConfig {
        tail_events: 3,
        ..HubConfig::default()
    };
    let hub = Hub::new(log.clone(), config);
    let mut publishing: Vec<(Vec<Draft>, JoinHandle<Vec<Published>>)> = Vec::new();
    let mut readers: Vec<Reader> = Vec::new();
    let mut pages: Vec<(Subscribe, usize, EventPage)> = Vec::new();

    for step in steps {
        match step {
            Step::Publish { topics, to } => {
                let audience = to.map(|c| Audience::clients([CLIENTS[c].parse().unwrap()]));
                let drafts: Vec<_> = topics
                    .iter()
                    .map(|t| draft(TOPICS[*t], audience.clone()))
                    .collect();
                let (hub, sent) = (hub.clone(), drafts.clone());
                let task = tokio::spawn(async move { hub.publish(sent).await.unwrap() });
                publishing.push((drafts, task));
            }
            Step::Connect { wanted } => {
                if let Some(subscribe) = wanted.subscribe(&readers) {
                    readers.push(Reader::connect(&hub, subscribe).await);
                }
            }
            Step::Page { wanted, limit } => {
                if let Some(subscribe) = wanted.subscribe(&readers) {
                    let request = PageRequest {
                        subscribe: subscribe.clone(),
                        limit,
                    };
                    pages.push((subscribe, limit, hub.page(request).await.unwrap()));
                }
            }
            Step::Read { reader, patience } => {
                if let Some(reader) = readers.get_mut(reader) {
                    reader.read(patience).await;
                }
            }
            Step::Disconnect { reader } => {
                if let Some(reader) = readers.get_mut(reader) {
                    reader.open = None;
                }
            }
            Step::Wait { turns: count } => turns(count).await,
            Step::Keep { events } => {
                let keep = Retention {
                    max_events: Some(events),
                    ..Retention::default()
                };
                log.prune(&keep, Timestamp::from_millis(0), 100)
                    .await
                    .unwrap();
            }
        }
    }

    let mut published = Vec::new();
    for (drafts, task) in publishing {
        let answers = task.await.unwrap();
        published.extend(answers.iter().map(|a| a.cursor.position).zip(drafts));
    }
    published.sort_by_key(|(position, _)| *position);
    let dense = published
        .iter()
        .map(|(p, _)| p.0)
        .eq(1..=published.len() as u64);
    assert!(dense, "positions are dense");

    for (subscribe, limit, page) in pages {
        check_page(&subscribe, limit, &page, &published);
    }

    hub.close().await;
    let bounds = log.bounds();
    for reader in &mut readers {
        let still_open = reader.open.is_some();
        while reader.read(usize::MAX).await {}
        let up_to = match still_open {
            true => bounds.head,
            false => reader.cursor.position,
        };
        reader.check(&published, up_to, bounds.floor);
    }
}

fn draft(topic: &str, audience: Option<Audience>) -> Draft {
    let draft = Draft::parse(json!({"type": "event", "name": "n"})).unwrap();
    Draft {
        topic: topic.parse().unwrap(),
        audience,
        ..draft
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_is_missed_repeated_or_misdirected(
        steps in prop::collection::vec(step(), 1..60),
        pauses in prop::collection::vec(0..5usize, 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps, pauses));
    }
}
