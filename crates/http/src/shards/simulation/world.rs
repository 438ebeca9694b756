use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use notification_event::{ClientId, Cursor, GroupName, Position};
use notification_hub::{
    AckMode, Acknowledge, Bell, ClientsConfig, Hub, HubConfig, Rate, Start, Subscribe,
};
use notification_log::{EventLog, MemoryLog, PageLimit, Retention};
use uuid::Uuid;

use super::oracle::{History, Seen, Terms};
use super::steps::{Begin, CLIENTS, GROUPS, Setting, Step, Wanted};
use crate::Http;
use crate::shards::connection::State;
use crate::shards::fake::{self, Fake};
use crate::shards::shard::{Read, Reading, Shard};

/// The most streams that are open at once.
const MAX_OPEN: usize = 8;

/// A server of which every part does something only when it is told to.
pub(super) struct World {
    log: Arc<MemoryLog>,
    hub: Hub,
    http: Http,
    sides: Vec<Side>,
    streams: Vec<Stream>,
    history: History,
    /// What the manual client has acknowledged.
    acknowledged: BTreeSet<u64>,
    is_closed: bool,
}

/// A shard, and what a thread has around it.
struct Side {
    shard: Shard<Fake>,
    bell: Arc<Bell>,
    readings: Vec<Reading>,
    reads: Vec<Read>,
}

struct Stream {
    id: Uuid,
    side: usize,
    token: usize,
    socket: Fake,
    terms: Terms,
    is_held: bool,
    is_durable: bool,
    /// Its peer or an administrator has ended it, or is about to.
    is_given_up: bool,
    /// The shard has it.
    is_open: bool,
}

impl World {
    pub(super) async fn new(setting: &Setting) -> Self {
        let log = Arc::new(MemoryLog::new());
        let defaults = HubConfig::default();
        let config = HubConfig {
            tail_events: setting.tail_events,
            retention: Retention {
                max_events: setting.keep_events,
                ..Retention::default()
            },
            clients: ClientsConfig {
                max_unacknowledged: 3,
                ..defaults.clients
            },
            ..defaults
        };
        let hub = Hub::open(log.clone(), config).await.unwrap();
        let side = |_| {
            let bell = Bell::new(|| ());
            Side {
                shard: Shard::new(fake::config(), bell.clone(), fake::now()),
                bell,
                readings: Vec::new(),
                reads: Vec::new(),
            }
        };
        Self {
            log,
            http: fake::http(&hub),
            hub,
            sides: (0..setting.shards).map(side).collect(),
            streams: Vec::new(),
            history: History::default(),
            acknowledged: BTreeSet::new(),
            is_closed: false,
        }
    }

    pub(super) async fn step(&mut self, step: &Step) {
        let now = fake::now();
        match step {
            Step::Publish(posts) => {
                let drafts = posts.iter().map(|post| post.draft()).collect();
                self.hub.publish(drafts).await.unwrap();
            }
            Step::Join { group, client } => {
                let (group, client) = membership(*group, *client);
                let joined = self.hub.join_group(group.clone(), client.clone()).await;
                if joined.unwrap() {
                    self.history.joined(group, client);
                }
            }
            Step::Leave { group, client } => {
                let (group, client) = membership(*group, *client);
                let left = self.hub.leave_group(group.clone(), client.clone()).await;
                if left.unwrap() {
                    self.history.left(group, client);
                }
            }
            Step::Open(wanted) => self.open(wanted).await,
            Step::Hear(side) => self.hear(*side % self.sides.len()),
            Step::Room { stream, bytes } => self.socket(*stream, |s| s.room = *bytes),
            Step::Gulp { stream, bytes } => self.socket(*stream, |s| s.gulp = *bytes),
            Step::Ready(stream) => {
                if let Some(stream) = self.streams.get(*stream % self.streams.len().max(1)) {
                    // Its number may be another's by now.
                    let shard = &mut self.sides[stream.side].shard;
                    shard.ready(stream.token, true, true, now);
                }
            }
            Step::Say { stream, bytes } => {
                self.give_up(*stream);
                self.socket(*stream, |s| s.said += bytes);
            }
            Step::HangUp(stream) => {
                self.give_up(*stream);
                self.socket(*stream, |s| s.is_hung_up = true);
            }
            Step::Break(stream) => {
                self.give_up(*stream);
                self.socket(*stream, |s| s.is_broken = true);
            }
            Step::Read(which) => self.read(*which).await,
            Step::GiveBack(which) => self.give_back(*which),
            Step::Pass(duration) => tokio::time::advance(*duration).await,
            Step::Tick(side) => {
                let side = side % self.sides.len();
                self.sides[side].shard.tick(now);
            }
            Step::Close(stream) => {
                if let Some(stream) = self.give_up(*stream) {
                    self.hub.close_connection(self.streams[stream].id);
                }
            }
            Step::Confirm { stream, is_kept_up } => self.socket(*stream, |socket| {
                socket.confirmed = socket.taken.len();
                socket.confirms = *is_kept_up;
            }),
            Step::Acknowledge {
                stream,
                event,
                is_through,
            } => {
                if let Some(stream) = self.choose(*stream) {
                    self.acknowledge(stream, *event, *is_through).await;
                }
            }
        }
        self.settle().await;
    }

    /// Lets the hub do what it is about to, and shards ask for what they want.
    async fn settle(&mut self) {
        for _ in 0..12 {
            tokio::task::yield_now().await;
        }
        let limit = PageLimit {
            events: usize::MAX,
            bytes: usize::MAX,
        };
        let page = self.log.read(Position(self.history.head()), limit).await;
        for entry in page.unwrap().entries {
            let event = entry.event;
            self.history.add(entry.position, event.head, event.json);
        }
        for side in &mut self.sides {
            for socket in side.shard.take_gone() {
                let mut streams = self.streams.iter_mut();
                let stream = streams.find(|stream| stream.socket.is(&socket));
                stream.unwrap().is_open = false;
            }
            side.readings.extend(side.shard.take_reads());
            for (_, state, is_all) in side.shard.states() {
                assert!(is_all || state != State::Live, "live, with something left");
            }
        }
    }

    async fn open(&mut self, wanted: &Wanted) {
        if self.streams.iter().filter(|s| s.is_open).count() >= MAX_OPEN {
            return;
        }
        let is_manual = wanted.is_durable && wanted.client == Some(3);
        let durable = match is_manual {
            true => AckMode::Manual,
            false => AckMode::Auto,
        };
        let resumed = match wanted.begin {
            // A place that is kept is not one to choose.
            Begin::Resume(of) if !wanted.is_durable && !self.streams.is_empty() => {
                let of = &self.streams[of % self.streams.len()];
                self.seen(of, false).last_id
            }
            _ => None,
        };
        let start = match (wanted.begin, resumed) {
            (_, Some(cursor)) => Start::After(cursor),
            (Begin::Beginning, _) => Start::Beginning,
            _ => Start::Now,
        };
        let is_snapshot = matches!(wanted.begin, Begin::Snapshot) && !wanted.is_durable;
        let floor = self.log.bounds().floor.0;
        let subscribe = Subscribe {
            filter: wanted.filter(),
            client: wanted.client(),
            start,
            durable: wanted.is_durable.then_some(durable),
            max_rate: wanted.is_held.then(|| Rate::per_second(4.0).unwrap()),
            snapshot: is_snapshot,
            ..Subscribe::default()
        };
        let subscription = self.hub.subscribe(subscribe).await.unwrap();
        let terms = Terms {
            filter: wanted.filter(),
            client: wanted.client(),
            is_manual,
            is_snapshot,
            is_back: wanted.is_durable || resumed.is_some(),
            started: subscription.cursor().position.0,
            acknowledged: match is_manual {
                true => self.acknowledged.clone(),
                false => BTreeSet::new(),
            },
        };
        if let Some(cursor) = resumed {
            assert_eq!(terms.started, cursor.position.0.max(floor));
        }
        if wanted.is_durable {
            self.judge_place(&terms, floor);
        }
        let socket = Fake::default();
        socket.with(|socket| socket.room = wanted.room);
        let side = wanted.shard % self.sides.len();
        let shard = &mut self.sides[side].shard;
        self.streams.push(Stream {
            id: subscription.id(),
            side,
            token: shard.next_token(),
            socket: socket.clone(),
            terms,
            is_held: wanted.is_held,
            is_durable: wanted.is_durable,
            is_given_up: false,
            is_open: true,
        });
        let connection = fake::connection(&socket, subscription, &self.http);
        shard.add(connection, fake::now());
    }

    /// A client whose place is kept has passed over nothing that it has not had.
    fn judge_place(&self, terms: &Terms, floor: u64) {
        let former = self
            .streams
            .iter()
            .filter(|stream| stream.is_durable && stream.terms.client == terms.client);
        let former: Vec<_> = former.collect();
        let Some(first) = former.first() else {
            return;
        };
        let mut had = self.acknowledged.clone();
        if !terms.is_manual {
            let seen = former.iter().map(|stream| self.seen(stream, false));
            had = seen.flat_map(|seen| seen.events).collect();
        }
        for position in first.terms.started.max(floor) + 1..=terms.started {
            let is_wanted = self.history.is_wanted(position, terms);
            assert!(
                !is_wanted
                    || had.contains(&position)
                    || self.history.is_superseded(position, terms),
                "{position} was lost, which is before {}",
                terms.started
            );
        }
    }

    fn hear(&mut self, side: usize) {
        let Side { shard, bell, .. } = &mut self.sides[side];
        shard.rung(&bell.heard(), fake::now());
        for (token, state, _) in shard.states() {
            let mut streams = self.streams.iter();
            let is_it = |s: &&Stream| s.is_open && s.side == side && s.token == token;
            let stream = streams.find(is_it).unwrap();
            // One that waits for an acknowledgement has nothing to do either.
            if state == State::Live && !stream.terms.is_manual {
                self.seen(stream, true);
            }
        }
    }

    async fn read(&mut self, which: usize) {
        for side in &mut self.sides {
            if let Some(at) = which.checked_rem(side.readings.len()) {
                let reading = side.readings.remove(at);
                side.reads.push(reading.read().await);
                return;
            }
        }
    }

    fn give_back(&mut self, which: usize) {
        for side in &mut self.sides {
            if let Some(at) = which.checked_rem(side.reads.len()) {
                let read = side.reads.remove(at);
                side.shard.read(read, fake::now());
                return;
            }
        }
    }

    async fn acknowledge(&mut self, stream: usize, event: usize, is_through: bool) {
        let stream = &self.streams[stream];
        if !stream.terms.is_manual || self.is_closed {
            return;
        }
        let events = self.seen(stream, false).events;
        let Some(position) = events.iter().rev().nth(event).copied() else {
            return;
        };
        let bounds = self.log.bounds();
        let (positions, what) = match is_through {
            true => {
                let cursor = Cursor {
                    epoch: bounds.epoch,
                    position: Position(position),
                };
                ((1..=position).collect(), Acknowledge::Through(cursor))
            }
            false => {
                let id = self.history.event(position).id.clone();
                (vec![position], Acknowledge::Events(vec![id]))
            }
        };
        let client = stream.terms.client.clone().unwrap();
        // What retention has removed cannot be acknowledged, and need not be.
        if self.hub.acknowledge(&client, what).await.is_ok() {
            self.acknowledged.extend(positions);
        } else {
            assert!(position <= bounds.floor.0);
        }
    }

    /// Lets everything come to an end, and judges it.
    pub(super) async fn end(mut self, closes_early: bool) {
        if closes_early {
            self.close().await;
        }
        let mut quiet = 0;
        for round in 0.. {
            assert!(round < 300, "there is no end to it");
            quiet = match self.drain().await {
                true => 0,
                false => quiet + 1,
            };
            // Longer than a stream that is held to its rate waits.
            if quiet > 2 {
                break;
            }
        }
        for side in 0..self.sides.len() {
            for (_, state, is_all) in self.sides[side].shard.states() {
                assert!(state == State::Live && is_all, "{state:?} in the end");
            }
        }
        self.close().await;
        for _ in 0..3 {
            self.drain().await;
        }
        for stream in &self.streams {
            assert!(!stream.is_open, "left open");
            stream.socket.with(|socket| assert!(socket.is_ended));
            // One that may get nothing for the moment need not wait for the rest.
            let is_early = closes_early && (stream.is_held || stream.terms.is_manual);
            let seen = self.seen(stream, !stream.is_given_up && !is_early);
            assert!(seen.is_ended || stream.is_given_up, "never told of its end");
        }
        for side in &self.sides {
            assert!(side.shard.states().is_empty() && side.readings.is_empty());
        }
        assert_eq!(self.hub.connections(), 0);
    }

    async fn close(&mut self) {
        self.is_closed = true;
        self.hub.close().await;
        self.settle().await;
    }

    /// One round of everything that helps. Whether anything came of it.
    async fn drain(&mut self) -> bool {
        let before = self.progress();
        tokio::time::advance(Duration::from_millis(300)).await;
        for index in 0..self.streams.len() {
            let stream = &self.streams[index];
            stream.socket.with(|socket| {
                (socket.room, socket.gulp) = (None, None);
                socket.confirmed = socket.taken.len();
            });
            if stream.is_open {
                let shard = &mut self.sides[stream.side].shard;
                shard.ready(stream.token, true, true, fake::now());
            }
            self.settle().await;
            self.acknowledge(index, 0, true).await;
        }
        for side in 0..self.sides.len() {
            self.hear(side);
            let now = fake::now();
            while self.sides[side].shard.wakes_at(now) <= now {
                self.sides[side].shard.tick(now);
            }
            self.settle().await;
            while !self.sides[side].readings.is_empty() {
                let reading = self.sides[side].readings.remove(0);
                let read = reading.read().await;
                self.sides[side].reads.push(read);
            }
            while !self.sides[side].reads.is_empty() {
                let read = self.sides[side].reads.remove(0);
                self.sides[side].shard.read(read, fake::now());
            }
            self.settle().await;
        }
        self.progress() != before
    }

    /// Something that is different when something but a heartbeat has happened.
    fn progress(&self) -> (u64, Vec<(usize, bool)>) {
        let streams = self.streams.iter().map(|stream| {
            let seen = self.seen(stream, false);
            (seen.events.len() + seen.others, stream.is_open)
        });
        (self.history.head(), streams.collect())
    }

    fn seen(&self, stream: &Stream, is_complete: bool) -> Seen {
        let judge = |taken: &[u8]| self.history.judge(&stream.terms, taken, is_complete);
        stream.socket.with(|socket| judge(&socket.taken))
    }

    fn socket(&self, stream: usize, act: impl FnOnce(&mut fake::State)) {
        if let Some(stream) = self.choose(stream) {
            self.streams[stream].socket.with(act);
        }
    }

    /// One that is open is to end before its time.
    fn give_up(&mut self, stream: usize) -> Option<usize> {
        let stream = self.choose(stream)?;
        self.streams[stream].is_given_up = true;
        Some(stream)
    }

    /// One of the streams that are open.
    fn choose(&self, which: usize) -> Option<usize> {
        let streams = self.streams.iter().enumerate();
        let open: Vec<_> = streams.filter(|(_, s)| s.is_open).map(|(i, _)| i).collect();
        which.checked_rem(open.len()).map(|at| open[at])
    }
}

fn membership(group: usize, client: usize) -> (GroupName, ClientId) {
    (
        GROUPS[group].parse().unwrap(),
        CLIENTS[client].parse().unwrap(),
    )
}
