use std::time::Duration;

use notification_event::{Audience, Draft, Expiry, Filter, Priority, Report};
use proptest::prelude::*;
use serde_json::json;

use crate::harness::{draft, id};

/// Who takes part: two clients that come and go, one whose place follows what
/// it was written, and one whose place follows what it acknowledges.
pub(super) const CLIENTS: [&str; 4] = ["alice", "bob", "auto", "manual"];
pub(super) const GROUPS: [&str; 2] = ["dev", "ops"];
const TOPICS: [&str; 3] = ["a", "a/b", "c"];
const PATTERNS: [&str; 7] = ["a", "a/**", "*/b", "c", "**", "$presence", "$receipts/*"];
const KEYS: [&str; 2] = ["k", "l"];
const TAGS: [&str; 2] = ["x", "y"];
/// Audiences: clients and groups, by their places above.
const AUDIENCES: [(&[usize], &[usize]); 6] = [
    (&[], &[0]),
    (&[0], &[]),
    (&[3], &[]),
    (&[1, 2], &[]),
    (&[], &[1]),
    (&[0, 3], &[0, 1]),
];

/// How the server is set up, and how long its log takes.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) tail_events: usize,
    pub(super) keep_events: Option<u64>,
    /// How long each call of the log lets others run before and after it does its work.
    pub(super) pauses: Vec<usize>,
}

pub(super) fn setting() -> impl Strategy<Value = Setting> {
    let tail_events = prop_oneof![Just(1usize), Just(3), Just(100)];
    let keep_events = prop_oneof![3 => Just(None), 1 => (4..16u64).prop_map(Some)];
    let pauses = prop::collection::vec(0..5usize, 1..8);
    (tail_events, keep_events, pauses).prop_map(|(tail_events, keep_events, pauses)| Setting {
        tail_events,
        keep_events,
        pauses,
    })
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Publish(Vec<Post>),
    /// What was published once, again.
    PublishAgain(usize),
    Report {
        task: usize,
        step: u64,
    },
    Join {
        group: usize,
        client: usize,
    },
    Leave {
        group: usize,
        client: usize,
    },
    Connect(Wanted),
    ConnectDurable {
        is_manual: bool,
        /// None is the one it had before.
        filter: Option<usize>,
        from_beginning: bool,
    },
    Read {
        stream: usize,
        patience: usize,
    },
    /// What was read has reached the reader, but for so many of the newest events.
    Confirm {
        stream: usize,
        but: usize,
    },
    /// The client of a stream acknowledges some of what it has got there.
    Acknowledge {
        stream: usize,
        what: Settled,
    },
    Disconnect(usize),
    Close(usize),
    Page {
        wanted: Wanted,
        limit: usize,
    },
    Wait(usize),
    Second,
    Keep(u64),
    /// The server is gone, with all that it was about to do, and another one comes.
    Vanish,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Settled {
    /// These, counted from the oldest that is not acknowledged.
    Events { from: usize, count: usize },
    /// All up to this one, counted from the newest.
    Through { before_newest: usize },
}

/// An event to be published.
#[derive(Clone, Debug)]
pub(super) struct Post {
    topic: usize,
    audience: Option<usize>,
    priority: Priority,
    tag: Option<usize>,
    key: Option<usize>,
    has_expired: bool,
    require_ack: bool,
    has_id: bool,
}

impl Post {
    /// The event, under an id that `number` makes unique, if it has one.
    pub(super) fn draft(&self, number: usize) -> Draft {
        let draft = draft("n", json!({}));
        let audience = self.audience.map(|audience| {
            let (clients, groups) = AUDIENCES[audience];
            let clients: Vec<_> = clients.iter().map(|client| CLIENTS[*client]).collect();
            let groups: Vec<_> = groups.iter().map(|group| GROUPS[*group]).collect();
            let names = json!({"clients": clients, "groups": groups});
            Audience::parse(names.as_object().unwrap().clone()).unwrap()
        });
        Draft {
            event_id: self.has_id.then(|| id(&format!("e{number}"))),
            topic: TOPICS[self.topic].parse().unwrap(),
            audience,
            priority: self.priority,
            tags: self.tag.map(|tag| id(TAGS[tag])).into_iter().collect(),
            expiry: self.has_expired.then_some(Expiry::In(Duration::ZERO)),
            collapse_key: self.key.map(|key| id(KEYS[key])),
            require_ack: self.require_ack,
            ..draft
        }
    }
}

/// Which events a reader wants, and from where on.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    filter: FilterOf,
    pub(super) client: Option<usize>,
    pub(super) begin: Begin,
    pub(super) snapshot: bool,
    pub(super) is_held: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Begin {
    Now,
    Beginning,
    Resume { of: usize },
}

#[derive(Clone, Debug)]
struct FilterOf {
    topics: Vec<usize>,
    min_priority: Option<Priority>,
    tag: Option<usize>,
}

impl Wanted {
    pub(super) fn filter(&self) -> Filter {
        self.filter.filter()
    }
}

impl FilterOf {
    fn filter(&self) -> Filter {
        let topics = self.topics.iter().map(|p| PATTERNS[*p].parse().unwrap());
        Filter {
            topics: topics.collect(),
            min_priority: self.min_priority,
            tags: self.tag.map(|tag| id(TAGS[tag])).into_iter().collect(),
            ..Filter::default()
        }
    }
}

/// The few filters that durable clients use, so that they come back with the same.
pub(super) fn durable_filter(index: usize) -> Filter {
    let (topics, min_priority) = [
        (vec![], None),
        (vec![1, 2], None),
        (vec![4, 6], None),
        (vec![], Some(Priority::High)),
    ][index]
        .clone();
    let of = FilterOf {
        topics,
        min_priority,
        tag: None,
    };
    of.filter()
}

pub(super) fn report(step: u64) -> Report {
    Report::parse(json!({"task_name": "T", "step": step, "total_steps": 6, "state": "running"}))
        .unwrap()
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![
        3 => Just(Priority::Default),
        1 => Just(Priority::Min),
        2 => Just(Priority::Urgent),
    ]
}

/// One of a few, or more often none.
fn rarely<T: std::fmt::Debug + Clone>(
    of: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.3, of)
}

/// One of so many, most often the first, so that things meet.
fn mostly_first(of: usize) -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(0), 1 => 0..of]
}

fn post() -> impl Strategy<Value = Post> {
    (
        mostly_first(TOPICS.len()),
        prop::option::of(mostly_first(AUDIENCES.len())),
        priority(),
        rarely(0..TAGS.len()),
        prop::option::of(mostly_first(KEYS.len())),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.25),
        any::<bool>(),
    )
        .prop_map(
            |(topic, audience, priority, tag, key, has_expired, require_ack, has_id)| Post {
                topic,
                audience,
                priority,
                tag,
                key,
                has_expired,
                require_ack,
                has_id,
            },
        )
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let filter = (
        prop::collection::vec(0..PATTERNS.len(), 0..3),
        prop::option::weighted(0.2, Just(Priority::High)),
        prop::option::weighted(0.2, 0..TAGS.len()),
    )
        .prop_map(|(topics, min_priority, tag)| FilterOf {
            topics,
            min_priority,
            tag,
        });
    let begin = prop_oneof![
        2 => Just(Begin::Now),
        1 => Just(Begin::Beginning),
        1 => (0..8usize).prop_map(|of| Begin::Resume { of }),
    ];
    // Two of them also come without a name for their place.
    let client = prop::option::of(0..3usize);
    let is_held = prop::bool::weighted(0.25);
    (filter, client, begin, any::<bool>(), is_held).prop_map(
        |(filter, client, begin, snapshot, is_held)| Wanted {
            filter,
            client,
            begin,
            snapshot,
            is_held,
        },
    )
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let stream = || 0..6usize;
    let settled = prop_oneof![
        3 => (0..3usize, 1..4usize).prop_map(|(from, count)| Settled::Events { from, count }),
        1 => (0..4usize).prop_map(|before_newest| Settled::Through { before_newest }),
    ];
    let group = || (mostly_first(GROUPS.len()), 0..CLIENTS.len());
    prop_oneof![
        9 => prop::collection::vec(post(), 1..4).prop_map(Step::Publish),
        1 => any::<usize>().prop_map(Step::PublishAgain),
        2 => (0..2usize, 0..7u64).prop_map(|(task, step)| Step::Report { task, step }),
        3 => group().prop_map(|(group, client)| Step::Join { group, client }),
        2 => group().prop_map(|(group, client)| Step::Leave { group, client }),
        3 => wanted().prop_map(Step::Connect),
        5 => (any::<bool>(), prop::option::weighted(0.2, 0..4usize), any::<bool>()).prop_map(
            |(is_manual, filter, from_beginning)| Step::ConnectDurable {
                is_manual,
                filter,
                from_beginning,
            },
        ),
        14 => (stream(), 0..14usize).prop_map(|(stream, patience)| Step::Read { stream, patience }),
        5 => (stream(), 0..3usize).prop_map(|(stream, but)| Step::Confirm { stream, but }),
        5 => (stream(), settled).prop_map(|(stream, what)| Step::Acknowledge { stream, what }),
        3 => stream().prop_map(Step::Disconnect),
        1 => stream().prop_map(Step::Close),
        2 => (wanted(), 1..6usize).prop_map(|(wanted, limit)| Step::Page { wanted, limit }),
        3 => (0..8usize).prop_map(Step::Wait),
        2 => Just(Step::Second),
        1 => (0..12u64).prop_map(Step::Keep),
        1 => Just(Step::Vanish),
    ]
}
