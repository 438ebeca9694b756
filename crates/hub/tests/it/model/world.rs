use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use notification_event::{ClientId, Cursor, Draft, EventId, Filter, Position, TaskId, Timestamp};
use notification_hub::{
    AckMode, Acknowledge, AcknowledgeError, ClientsConfig, Delivery, DurableError, Hub, HubConfig,
    PageRequest, PublishError, Published, Rate, Start, Subscribe, SubscribeError, Subscription,
};
use notification_log::{Change, EventLog, Receipt, Retention};
use tokio::task::JoinHandle;

use super::seen::{Acknowledgement, Passed, Read, Request, Seen, Stream, Told, What};
use super::steps::{
    Begin, CLIENTS, GROUPS, Setting, Settled, Step, Wanted, durable_filter, report,
};
use crate::harness::id;
use crate::hooked::Hooked;

/// How many events a client may be given beyond the oldest that it has not acknowledged.
pub(super) const WINDOW: usize = 3;

/// How many turns everything that does not wait for time has been done after.
const LONG: usize = 80;

/// Somebody who waits to hear what became of what they published.
type Publishing = JoinHandle<Result<Vec<Published>, PublishError>>;

/// Everything that happens, and what was seen of it.
pub(super) struct World {
    pub(super) log: Arc<Hooked>,
    config: HubConfig,
    /// Counts the steps.
    now: u64,
    drafts: usize,
    pub(super) requests: Vec<Request>,
    pub(super) streams: Vec<Stream>,
    pub(super) pages: Vec<Read>,
    pub(super) acknowledgements: Vec<Acknowledgement>,
    pub(super) places: Vec<Passed>,
    /// Where each life of the server begins in the log.
    pub(super) lives: Vec<Position>,
    /// What it says in the end of each event that asks for acknowledgement.
    pub(super) receipts: Vec<(Position, Vec<Receipt>)>,
    durable: HashMap<ClientId, Durable>,
    publishing: Vec<(usize, Publishing)>,
    acknowledging: Vec<(usize, JoinHandle<Result<(), AcknowledgeError>>)>,
}

/// A client whose place in the log is kept.
struct Durable {
    filter: Filter,
    /// Of one whose place follows what it was written: the place. Of the other:
    /// where it was when it came with this filter.
    place: Position,
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let pauses = setting.pauses;
        let next = AtomicUsize::new(0);
        let log = Hooked::new(move |_| {
            let next = next.fetch_add(1, Ordering::Relaxed);
            turns(pauses[next % pauses.len()])
        });
        let config = HubConfig {
            tail_events: setting.tail_events,
            retention: Retention {
                max_events: setting.keep_events,
                ..Retention::default()
            },
            clients: ClientsConfig {
                max_unacknowledged: WINDOW,
                ..HubConfig::default().clients
            },
            leave_after: Duration::from_secs(2),
            ..HubConfig::default()
        };
        Self {
            log: Arc::new(log),
            config,
            now: 0,
            drafts: 0,
            requests: Vec::new(),
            streams: Vec::new(),
            pages: Vec::new(),
            acknowledgements: Vec::new(),
            places: Vec::new(),
            lives: Vec::new(),
            receipts: Vec::new(),
            durable: HashMap::new(),
            publishing: Vec::new(),
            acknowledging: Vec::new(),
        }
    }

    /// One life of the server, which then vanishes. The last one is brought to an end.
    pub(super) fn live(&mut self, steps: &[Step], is_last: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        self.lives.push(self.log.bounds().head);
        runtime.block_on(async {
            let hub = Hub::open(self.log.clone(), self.config.clone())
                .await
                .unwrap();
            for step in steps {
                self.now += 1;
                self.listen().await;
                self.take(&hub, step).await;
            }
            self.listen().await;
            if is_last {
                self.end(&hub).await;
            }
            // What was not answered will not be.
            self.publishing.clear();
            self.acknowledging.clear();
            for stream in &mut self.streams {
                stream.open = None;
            }
        });
        drop(runtime);
        self.recall();
    }

    /// Hears the answers that have come.
    async fn listen(&mut self) {
        let is_pending = |(_, task): &(_, JoinHandle<_>)| !task.is_finished();
        let done = drain_unless(&mut self.publishing, is_pending);
        for (request, task) in done {
            self.requests[request].answer = Some(task.await.unwrap());
        }
        let is_pending = |(_, task): &(_, JoinHandle<_>)| !task.is_finished();
        let done = drain_unless(&mut self.acknowledging, is_pending);
        for (index, task) in done {
            self.acknowledged(index, task.await.unwrap());
        }
    }

    fn acknowledged(&mut self, index: usize, result: Result<(), AcknowledgeError>) {
        let floor = self.log.bounds().floor;
        let acknowledgement = &mut self.acknowledgements[index];
        // What retention has removed cannot be acknowledged any more.
        let may_be_refused = match &acknowledgement.what {
            What::Events(positions) => positions.iter().any(|p| *p <= floor),
            What::Through(_) => false,
        };
        assert!(result.is_ok() || may_be_refused, "{result:?}");
        acknowledgement.answered = Some((self.now, result.is_ok()));
        if let What::Events(positions) = &mut acknowledgement.what {
            // An id that was published again after that is the newer event's.
            let removed = positions.iter_mut().filter(|p| **p <= floor);
            removed.for_each(|position| *position = self.log.newest_of_same_id(*position));
        }
    }

    /// What the server that comes next knows of the places of clients.
    fn recall(&mut self) {
        let stored = self.log.history(|history| {
            let saved = history
                .changes
                .iter()
                .filter_map(|(_, change)| match change {
                    Change::SaveClient(record) => {
                        Some((record.client.clone(), record.cursor.position))
                    }
                    _ => None,
                });
            saved.collect::<HashMap<_, _>>()
        });
        if let Some(auto) = self.durable.get_mut(&id(CLIENTS[2])) {
            let stored = stored[&id(CLIENTS[2])];
            assert!(
                stored <= auto.place,
                "a place that was not reached is stored"
            );
            auto.place = stored;
        }
    }

    async fn take(&mut self, hub: &Hub, step: &Step) {
        match step {
            Step::Publish(posts) => {
                let drafts = posts.iter().map(|post| {
                    self.drafts += 1;
                    post.draft(self.drafts)
                });
                let drafts = drafts.collect();
                self.publish(hub, drafts);
            }
            Step::PublishAgain(which) => {
                let named = self.requests.iter().filter(|request| {
                    let mut drafts = request.drafts.iter();
                    !request.drafts.is_empty() && drafts.all(|draft| draft.event_id.is_some())
                });
                let named: Vec<_> = named.map(|request| request.drafts.clone()).collect();
                if !named.is_empty() {
                    self.publish(hub, named[which % named.len()].clone());
                }
            }
            Step::Report { task, step } => {
                let (task, step) = (format!("t{task}"), *step);
                let hub = hub.clone();
                let report = async move {
                    let published = hub.report(id::<TaskId>(&task), report(step)).await;
                    published.map(|published| vec![published])
                };
                self.ask(Vec::new(), report);
            }
            Step::Join { group, client } => {
                let (group, client) = (id(GROUPS[*group]), id(CLIENTS[*client]));
                let was_in = hub.group(&group).contains(&client);
                assert_eq!(
                    hub.join_group(group.clone(), client.clone()).await,
                    Ok(!was_in)
                );
                assert!(hub.group(&group).contains(&client));
            }
            Step::Leave { group, client } => {
                let (group, client) = (id(GROUPS[*group]), id(CLIENTS[*client]));
                let was_in = hub.group(&group).contains(&client);
                assert_eq!(
                    hub.leave_group(group.clone(), client.clone()).await,
                    Ok(was_in)
                );
                assert!(!hub.group(&group).contains(&client));
            }
            Step::Connect(wanted) => {
                if let Some(start) = self.start(wanted.begin) {
                    self.connect(hub, subscribe(wanted, start)).await;
                }
            }
            Step::ConnectDurable {
                is_manual,
                filter,
                from_beginning,
            } => {
                let (client, ack) = match is_manual {
                    true => (CLIENTS[3], AckMode::Manual),
                    false => (CLIENTS[2], AckMode::Auto),
                };
                let former = self.durable.get(&id(client)).map(|d| d.filter.clone());
                let filter = match (filter, former) {
                    (None, Some(former)) => former,
                    (filter, _) => durable_filter(filter.unwrap_or_default()),
                };
                let subscribe = Subscribe {
                    filter: filter.normalized(),
                    client: Some(id(client)),
                    durable: Some(ack),
                    start: match from_beginning {
                        true => Start::Beginning,
                        false => Start::Now,
                    },
                    ..Subscribe::default()
                };
                self.connect_durable(hub, subscribe).await;
            }
            Step::Read { stream, patience } => {
                if let Some(stream) = self.open_stream(*stream) {
                    self.read(stream, *patience).await;
                }
            }
            Step::Confirm { stream, but } => {
                if let Some(stream) = self.open_stream(*stream) {
                    self.confirm(stream, *but);
                }
            }
            Step::Acknowledge { stream, what } => {
                if let Some(stream) = self.open_stream(*stream) {
                    self.acknowledge(hub, stream, *what);
                }
            }
            Step::Disconnect(stream) => {
                if let Some(stream) = self.open_stream(*stream) {
                    self.disconnect(stream);
                }
            }
            Step::Close(stream) => {
                if let Some(stream) = self.open_stream(*stream) {
                    let open = self.streams[stream].open.as_ref();
                    assert!(hub.close_connection(open.unwrap().id()));
                }
            }
            Step::Page { wanted, limit } => {
                if let Some(start) = self.start(wanted.begin) {
                    let request = PageRequest {
                        filter: wanted.filter(),
                        client: wanted.client.map(|client| id(CLIENTS[client])),
                        start,
                        limit: *limit,
                    };
                    let page = hub.page(request.clone()).await.unwrap();
                    self.pages.push(Read { request, page });
                }
            }
            Step::Wait(count) => turns(*count).await,
            Step::Second => {
                tokio::time::advance(Duration::from_secs(1)).await;
                turns(3).await;
            }
            Step::Keep(events) => {
                let keep = Retention {
                    max_events: Some(*events),
                    ..Retention::default()
                };
                let pruned = self.log.prune(&keep, Timestamp::from_millis(0), 100).await;
                pruned.unwrap();
            }
            Step::Vanish => unreachable!("one life ends there"),
        }
    }

    fn publish(&mut self, hub: &Hub, drafts: Vec<Draft>) {
        let (hub, sent) = (hub.clone(), drafts.clone());
        self.ask(drafts, async move { hub.publish(sent).await });
    }

    fn ask(
        &mut self,
        drafts: Vec<Draft>,
        task: impl Future<Output = Result<Vec<Published>, PublishError>> + Send + 'static,
    ) {
        self.publishing
            .push((self.requests.len(), tokio::spawn(task)));
        self.requests.push(Request {
            drafts,
            answer: None,
        });
    }

    /// None if it is to resume after a stream that there is not.
    fn start(&self, begin: Begin) -> Option<Start> {
        match begin {
            Begin::Now => Some(Start::Now),
            Begin::Beginning => Some(Start::Beginning),
            Begin::Resume { of } => {
                let stream = self.streams.get(of)?;
                Some(Start::After(self.cursor(stream.end.position)))
            }
        }
    }

    async fn connect(&mut self, hub: &Hub, subscribe: Subscribe) {
        let open = hub.subscribe(subscribe.clone()).await.unwrap();
        self.opened(subscribe, open);
    }

    fn opened(&mut self, subscribe: Subscribe, open: Subscription) {
        let started = open.cursor().position;
        self.streams.push(Stream {
            subscribe,
            life: self.lives.len(),
            opened_at: self.now,
            started,
            told: Vec::new(),
            end: self.seen(started),
            conflated: 0,
            is_at_head: false,
            snapshot: Vec::new(),
            snapshot_end: None,
            confirmed: started,
            arrived: HashSet::new(),
            open: Some(open),
        });
    }

    async fn connect_durable(&mut self, hub: &Hub, subscribe: Subscribe) {
        let client = subscribe.client.clone().unwrap();
        let is_open = !self.open_durable(&client).is_empty();
        let former = self
            .durable
            .get(&client)
            .map(|d| (d.filter.clone(), d.place));
        let result = hub.subscribe(subscribe.clone()).await;
        if let Some((filter, _)) = &former
            && is_open
            && *filter != subscribe.filter
        {
            let differs = DurableError::Differs(client);
            assert_eq!(result.err(), Some(SubscribeError::Durable(differs)));
            return;
        }
        let open = result.unwrap();
        let started = self.seen(open.cursor().position);
        if let Some((former, place)) = former {
            if subscribe.durable == Some(AckMode::Auto) {
                // What was confirmed does not come again, and what was not, does.
                assert_eq!(started.position, place.max(started.floor));
            } else {
                self.places.push(Passed {
                    filter: former.clone(),
                    from: place,
                    to: started,
                });
            }
            let durable = self.durable.get_mut(&client).unwrap();
            if subscribe.durable == Some(AckMode::Auto) || subscribe.filter != former {
                durable.place = place.max(started.position);
            }
            durable.filter = subscribe.filter.clone();
        } else {
            let durable = Durable {
                filter: subscribe.filter.clone(),
                place: started.position,
            };
            self.durable.insert(client, durable);
        }
        self.opened(subscribe, open);
    }

    /// The open streams that follow this client's place.
    fn open_durable(&self, client: &ClientId) -> Vec<usize> {
        let open = self.streams.iter().enumerate().filter(|(_, stream)| {
            let subscribe = &stream.subscribe;
            stream.open.is_some()
                && subscribe.durable.is_some()
                && subscribe.client.as_ref() == Some(client)
        });
        open.map(|(index, _)| index).collect()
    }

    fn open_stream(&self, which: usize) -> Option<usize> {
        let streams = self.streams.iter().enumerate();
        let open: Vec<_> = streams
            .filter(|(_, s)| s.open.is_some())
            .map(|(i, _)| i)
            .collect();
        let which = which.checked_rem(open.len())?;
        Some(open[which])
    }

    /// Takes one delivery, unless there is none within `patience` turns. False
    /// if there was none, or the stream has ended.
    async fn read(&mut self, index: usize, patience: usize) -> bool {
        let stream = &mut self.streams[index];
        let Some(open) = &mut stream.open else {
            return false;
        };
        let delivery = tokio::select! {
            biased;
            delivery = open.next() => Some(delivery),
            () = turns(patience) => None,
        };
        let seen = self.seen(self.streams[index].open.as_ref().unwrap().cursor().position);
        self.streams[index].end = seen;
        delivery.is_some_and(|delivery| self.tell(index, seen, delivery))
    }

    /// Writes down what a reader was told. False if that was the last.
    fn tell(&mut self, index: usize, seen: Seen, delivery: Delivery) -> bool {
        let stream = &mut self.streams[index];
        match delivery {
            Delivery::Events(frames) => {
                assert!(!frames.is_empty());
                stream.told.extend(frames.iter().map(|frame| {
                    Told::Event(Seen {
                        position: frame.position,
                        ..seen
                    })
                }));
            }
            Delivery::Snapshot(frames) => {
                assert!(!frames.is_empty() && stream.told.is_empty());
                assert!(stream.snapshot_end.is_none());
                stream
                    .snapshot
                    .extend(frames.iter().map(|frame| frame.position));
            }
            Delivery::SnapshotComplete(events) => {
                assert_eq!(events, stream.snapshot.len() as u64);
                assert!(stream.subscribe.snapshot && stream.snapshot_end.is_none());
                stream.snapshot_end = Some(seen);
            }
            Delivery::Gap { cursor, .. } => {
                assert_eq!(cursor.position, seen.position);
                stream.told.push(Told::Gap(seen));
            }
            Delivery::Conflated(events) => {
                assert!(events > 0);
                stream.conflated += events;
            }
            Delivery::Paused(window) => {
                assert_eq!(window, WINDOW);
                assert_eq!(stream.subscribe.durable, Some(AckMode::Manual));
            }
            Delivery::Ended(_) => {
                self.disconnect(index);
                return false;
            }
            other @ (Delivery::Asides(_)
            | Delivery::CredentialExpiring(_)
            | Delivery::Closing
            | Delivery::Failed(_)) => {
                panic!("{other:?}")
            }
        }
        true
    }

    fn confirm(&mut self, index: usize, but: usize) {
        let epoch = self.log.bounds().epoch;
        let stream = &mut self.streams[index];
        let events: Vec<_> = stream.events().collect();
        let open = stream.open.as_mut().unwrap();
        let position = match but.checked_sub(1) {
            None => open.cursor().position,
            Some(but) if but < events.len() => events[events.len() - 1 - but],
            Some(_) => stream.started,
        };
        // What has reached somebody stays there.
        let position = position.max(stream.confirmed);
        open.confirm(Cursor { epoch, position });
        stream.confirmed = position;
        let given = events.iter().chain(&stream.snapshot).copied();
        stream.arrived.extend(given.filter(|p| *p <= position));
        self.move_on(index);
    }

    fn disconnect(&mut self, index: usize) {
        self.streams[index].open = None;
        self.move_on(index);
    }

    /// The place of a client follows the slowest of its open streams.
    fn move_on(&mut self, index: usize) {
        let Subscribe {
            client, durable, ..
        } = &self.streams[index].subscribe;
        if let (Some(client), Some(AckMode::Auto)) = (client.clone(), durable) {
            let open = self.open_durable(&client).into_iter();
            let slowest = open.map(|open| self.streams[open].confirmed).min();
            let durable = self.durable.get_mut(&client).unwrap();
            durable.place = slowest.map_or(durable.place, |slowest| slowest.max(durable.place));
        }
    }

    /// Only who is asked, or acknowledges everything, acknowledges.
    fn acknowledge(&mut self, hub: &Hub, index: usize, what: Settled) {
        let stream = &self.streams[index];
        let Some(client) = stream.subscribe.client.clone() else {
            return;
        };
        let is_manual = stream.subscribe.durable == Some(AckMode::Manual);
        if !is_manual && client.as_str() == CLIENTS[2] {
            return;
        }
        let events: Vec<_> = stream.events().collect();
        let chosen = match what {
            Settled::Through { before_newest } => {
                let newest = events.iter().rev().nth(before_newest).copied();
                newest.map(|p| (What::Through(p), Acknowledge::Through(self.cursor(p))))
            }
            Settled::Events { from, count } => {
                let mut open = self.owed(&client, is_manual, &events);
                open.drain(..from.min(open.len()));
                open.truncate(count);
                let (positions, ids): (Vec<_>, Vec<_>) = open.into_iter().unzip();
                let is_any = !positions.is_empty();
                is_any.then_some((What::Events(positions), Acknowledge::Events(ids)))
            }
        };
        let Some((what, asked)) = chosen else {
            return;
        };
        self.acknowledgements.push(Acknowledgement {
            client: client.clone(),
            what,
            life: self.lives.len(),
            requested_at: self.now,
            answered: None,
        });
        let hub = hub.clone();
        let task = async move { hub.acknowledge(&client, asked).await.map(drop) };
        let index = self.acknowledgements.len() - 1;
        self.acknowledging.push((index, tokio::spawn(task)));
    }

    /// Those of `events` that a client can acknowledge, and has not.
    fn owed(
        &self,
        client: &ClientId,
        is_manual: bool,
        events: &[Position],
    ) -> Vec<(Position, EventId)> {
        let floor = self.log.bounds().floor;
        self.log.history(|history| {
            let heads = events
                .iter()
                .map(|p| (*p, &history.events[p.0 as usize - 1].head));
            let owed = heads.filter(|(position, head)| {
                (is_manual || head.require_ack)
                    && *position > floor
                    && !self.is_acknowledged(client, *position)
            });
            owed.map(|(position, head)| (position, head.id.clone()))
                .collect()
        })
    }

    fn is_acknowledged(&self, client: &ClientId, position: Position) -> bool {
        let mut all = self.acknowledgements.iter();
        // What a server that vanished was asked, it may not have done.
        all.any(|a| {
            let is_heard = a.answered.is_some() || a.life == self.lives.len();
            is_heard && a.client == *client && a.covers(position)
        })
    }

    /// Lets everything come to an end: what was asked is answered, and whoever
    /// is connected gets all there is.
    async fn end(&mut self, hub: &Hub) {
        self.now += 1;
        for round in 0.. {
            let mut is_over = self.publishing.is_empty() && self.acknowledging.is_empty();
            let head = self.log.bounds().head;
            for index in 0..self.streams.len() {
                let was_more = self.exhaust(hub, index).await;
                let stream = &self.streams[index];
                is_over &= !was_more && (stream.open.is_none() || stream.end.position == head);
            }
            if is_over && round > 0 {
                break;
            }
            assert!(round < 50, "there is no end to it");
            // Streams that are held to a rate, the keeper, and those who announce.
            tokio::time::sleep(Duration::from_secs(3)).await;
            self.listen().await;
        }
        for stream in &mut self.streams {
            stream.is_at_head = stream.open.is_some();
        }
        self.ask_for_receipts(hub).await;
        hub.close().await;
        for stream in &mut self.streams {
            if let Some(open) = &mut stream.open {
                let end = open.next().now_or_never();
                assert!(matches!(end, Some(Delivery::Closing)), "{end:?}");
            }
        }
    }

    /// Takes all that there is for the moment. False if there was nothing.
    async fn exhaust(&mut self, hub: &Hub, index: usize) -> bool {
        for turn in 0..1_000 {
            let has_more = self.read(index, LONG).await;
            let has_owed = self.acknowledge_all(hub, index).await;
            if !has_more && !has_owed {
                return turn > 0;
            }
        }
        panic!("there is no end to this stream");
    }

    /// One that owes nothing is not held back. False if it owed nothing.
    async fn acknowledge_all(&mut self, hub: &Hub, index: usize) -> bool {
        let stream = &self.streams[index];
        let is_manual = stream.subscribe.durable == Some(AckMode::Manual);
        let Some(client) = stream.subscribe.client.as_ref().filter(|_| is_manual) else {
            return false;
        };
        if stream.events().all(|p| self.is_acknowledged(client, p)) {
            return false;
        }
        let asked = self.acknowledgements.len();
        if stream.end.position.0.is_multiple_of(2) {
            let (from, count) = (0, WINDOW);
            self.acknowledge(hub, index, Settled::Events { from, count });
        }
        if self.acknowledgements.len() == asked {
            let newest = Settled::Through { before_newest: 0 };
            self.acknowledge(hub, index, newest);
        }
        turns(LONG).await;
        self.listen().await;
        self.now += 1;
        true
    }

    async fn ask_for_receipts(&mut self, hub: &Hub) {
        let floor = self.log.bounds().floor;
        let asking: Vec<_> = self.log.history(|history| {
            let events = history.events.iter().zip(1..);
            let asking = events.filter(|(event, p)| event.head.require_ack && *p > floor.0);
            asking
                .map(|(event, p)| (Position(p), event.head.id.clone()))
                .collect()
        });
        for (position, event) in asking {
            let found = hub.receipts(event).await.unwrap();
            // The keeper may have removed it meanwhile.
            if position > self.log.bounds().floor {
                let found = found.unwrap();
                assert!(found.require_ack);
                self.receipts.push((position, found.receipts));
            }
        }
    }

    fn seen(&self, position: Position) -> Seen {
        let bounds = self.log.bounds();
        Seen {
            position,
            at: self.now,
            head: bounds.head,
            floor: bounds.floor,
        }
    }

    fn cursor(&self, position: Position) -> Cursor {
        let epoch = self.log.bounds().epoch;
        Cursor { epoch, position }
    }
}

fn subscribe(wanted: &Wanted, start: Start) -> Subscribe {
    Subscribe {
        filter: wanted.filter(),
        client: wanted.client.map(|client| id(CLIENTS[client])),
        start,
        snapshot: wanted.snapshot,
        max_rate: wanted.is_held.then(|| Rate::per_second(2.0).unwrap()),
        ..Subscribe::default()
    }
}

/// Takes out all that are not `kept`.
fn drain_unless<T>(list: &mut Vec<T>, kept: impl FnMut(&T) -> bool) -> Vec<T> {
    let (kept, drained) = std::mem::take(list).into_iter().partition(kept);
    *list = kept;
    drained
}

async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}
