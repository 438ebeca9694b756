use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notification_hub::{Bell, Delivery, Feed, News, Rung, Subscription};
use slab::Slab;
use uuid::Uuid;

use super::connection::{After, Connection, Ready, Turn};
use super::{ShardConfig, Socket};
use crate::confirmation;

/// How many connections one step of a sweep looks at.
const SWEEP_STEP: usize = 256;

/// How many of those who catch up get a turn before something else is done.
const TURNS: usize = 64;

/// How many times in a heartbeat all connections are looked at: a comment is
/// late by one part of so many, at most.
const SWEEPS: u32 = 8;

/// Some of the open streams, all of which are served by one thread.
///
/// Nothing in here waits or asks the clock. Whoever owns it says what happened,
/// does what [`reads`](Self::take_reads) ask for, and comes back at
/// [`wakes_at`](Self::wakes_at).
#[derive(Debug)]
pub(crate) struct Shard<S> {
    config: ShardConfig,
    bell: Arc<Bell>,
    connections: Slab<Box<Connection<S>>>,
    live: Slab<LiveEnd>,
    /// Which of them is of which filter, by the feed's key.
    live_of: HashMap<usize, usize>,
    /// Whose rate allows them more at a time.
    sleepers: BTreeSet<(Instant, usize)>,
    /// Who catches up, and gave way to others.
    behind: VecDeque<usize>,
    /// Feeds that may have more, and gave way to others.
    pending: VecDeque<usize>,
    /// Whose peers are to confirm something.
    confirming: Vec<usize>,
    confirms_at: Instant,
    sweep: Sweep,
    reads: Vec<Reading>,
    gone: Vec<S>,
}

/// The connections that have the same filter.
#[derive(Debug)]
struct LiveEnd {
    feed: Feed,
    members: Vec<usize>,
    /// It is in the queue of those that may have more.
    is_pending: bool,
}

/// Looks at all connections from time to time, some at a time.
#[derive(Debug)]
struct Sweep {
    begins_at: Instant,
    interval: Duration,
    /// The next connection to look at, while it is going on.
    next: Option<usize>,
}

/// A subscription that has to read the log.
#[derive(Debug)]
pub(crate) struct Reading {
    token: usize,
    subscription: Subscription,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Read {
    reading: Reading,
    delivery: Option<Delivery>,
}

impl Reading {
    /// For whom, in case that nothing comes of it.
    pub(crate) fn of(&self) -> (usize, Uuid) {
        (self.token, self.subscription.id())
    }

    /// Reads. This may take as long as the log does.
    pub(crate) async fn read(mut self) -> Read {
        let delivery = self.subscription.read().await;
        Read {
            reading: self,
            delivery,
        }
    }
}

impl<S: Socket> Shard<S> {
    /// A shard that hears of news by `bell`.
    pub(crate) fn new(config: ShardConfig, bell: Arc<Bell>, now: Instant) -> Self {
        let interval = (config.soonest / SWEEPS)
            .min(config.heartbeat / SWEEPS)
            .min(config.peer_timeout / 4)
            .max(Duration::from_millis(20));
        Self {
            config,
            bell,
            connections: Slab::new(),
            live: Slab::new(),
            live_of: HashMap::new(),
            sleepers: BTreeSet::new(),
            behind: VecDeque::new(),
            pending: VecDeque::new(),
            confirming: Vec::new(),
            confirms_at: now,
            sweep: Sweep {
                begins_at: now + interval,
                interval,
                next: None,
            },
            reads: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// The number that the next connection gets.
    pub(crate) fn next_token(&self) -> usize {
        self.connections.vacant_key()
    }

    /// Takes a connection in, under the next token, and begins to serve it.
    pub(crate) fn add(&mut self, connection: Connection<S>, now: Instant) {
        let token = self.connections.insert(Box::new(connection));
        let connection = &mut self.connections[token];
        let subscription = connection.subscription();
        subscription.attach(&self.bell, token);
        let joined_at = subscription.joined_at();
        let live = *self
            .live_of
            .entry(Feed::key_of(subscription))
            .or_insert_with(|| {
                let entry = self.live.vacant_entry();
                let feed = Feed::open(subscription, &self.bell, entry.key());
                let members = Vec::new();
                let live = LiveEnd {
                    feed,
                    members,
                    is_pending: false,
                };
                entry.insert(live).feed.token()
            });
        // It is one of them first: the feed may lose all others by what is new.
        let members = &mut self.live[live].members;
        (connection.feed, connection.place) = (live, members.len());
        members.push(token);
        // What came before it joined may not be on the feed, so the feed has to be
        // there before it can be live. Each time brings it on.
        let is_before = |live: &LiveEnd| live.feed.position() < joined_at;
        while self.live.get(live).is_some_and(is_before) {
            self.news(live, now);
        }
        self.look(token, now);
    }

    /// The bell was rung.
    pub(crate) fn rung(&mut self, rung: &Rung, now: Instant) {
        for live in &rung.feeds {
            self.news(*live, now);
        }
        for token in &rung.streams {
            self.look(*token, now);
        }
    }

    /// There may be something new on a feed: everyone who is live on it gets
    /// one batch. If there may be more, that has to wait until all others had
    /// their turn, however much is published.
    pub(crate) fn news(&mut self, number: usize, now: Instant) {
        // Of a feed that is gone, or of another that has its number: no matter.
        let Some(live) = self.live.get_mut(number) else {
            return;
        };
        let LiveEnd {
            feed,
            members,
            is_pending,
        } = live;
        let mut left_to_do = Vec::new();
        let news = feed.read();
        let turn = Turn {
            limit: feed.position(),
            now,
        };
        let ready = match &news {
            News::Events(batch) => Some(Ready::new(batch)),
            News::None | News::Passed => None,
        };
        if !matches!(news, News::None) {
            for token in members.iter() {
                let connection = &mut self.connections[*token];
                let after = match &ready {
                    Some(ready) => connection.give(ready, turn),
                    None => connection.look(turn),
                };
                if after != After::Nothing {
                    left_to_do.push((*token, after));
                }
                if connection.is_to_confirm() {
                    self.confirming.push(*token);
                }
            }
            if !std::mem::replace(is_pending, true) {
                self.pending.push_back(number);
            }
        } else if feed.is_closed() {
            for token in members.iter() {
                let after = self.connections[*token].look(turn);
                left_to_do.push((*token, after));
            }
        }
        for (token, after) in left_to_do {
            self.after(token, after);
        }
    }

    /// A connection is to look for itself.
    pub(crate) fn look(&mut self, token: usize, now: Instant) {
        self.with(token, now, Connection::look);
    }

    /// A socket has something to read, or takes more.
    pub(crate) fn ready(&mut self, token: usize, readable: bool, writable: bool, now: Instant) {
        if readable {
            self.with(token, now, |connection, _| connection.readable());
        }
        if writable {
            self.with(token, now, Connection::writable);
        }
    }

    /// The log was read for a connection, if that is still there.
    pub(crate) fn read(&mut self, read: Read, now: Instant) {
        let Read { reading, delivery } = read;
        let (token, id) = reading.of();
        if self.is_there(token, id) {
            self.with(token, now, |connection, turn| {
                connection.give_back(reading.subscription, delivery, turn)
            });
        }
    }

    /// Where each connection is, and whether it has nothing left to write.
    #[cfg(test)]
    pub(crate) fn states(&self) -> Vec<(usize, super::connection::State, bool)> {
        let states = self.connections.iter();
        states
            .map(|(token, c)| (token, c.state(), c.has_written_all()))
            .collect()
    }

    /// The log was not read for a connection, and will not be: that was its end.
    pub(crate) fn lost(&mut self, token: usize, id: Uuid) {
        if self.is_there(token, id) {
            tracing::error!("stream closed: what reads the log for it has failed");
            self.remove(token);
        }
    }

    /// What has to be read from the log, and [returned](Self::read).
    pub(crate) fn take_reads(&mut self) -> Vec<Reading> {
        std::mem::take(&mut self.reads)
    }

    /// The sockets of those who are gone.
    pub(crate) fn take_gone(&mut self) -> Vec<S> {
        std::mem::take(&mut self.gone)
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn wakes_at(&self, now: Instant) -> Instant {
        let is_busy = !self.behind.is_empty() || !self.pending.is_empty();
        if is_busy || self.sweep.next.is_some() {
            return now;
        }
        let sleeper = self.sleepers.first().map(|(due, _)| *due);
        let confirms_at = (!self.confirming.is_empty()).then_some(self.confirms_at);
        let times = [Some(self.sweep.begins_at), sleeper, confirms_at];
        times.into_iter().flatten().min().unwrap_or(now)
    }

    /// Does what is due: some of it, so that what has happened meanwhile need not wait.
    pub(crate) fn tick(&mut self, now: Instant) {
        for _ in 0..self.pending.len() {
            if let Some(number) = self.pending.pop_front() {
                // Or another feed that has its number by now: no matter.
                if let Some(live) = self.live.get_mut(number) {
                    live.is_pending = false;
                }
                self.news(number, now);
            }
        }
        for _ in 0..self.behind.len().min(TURNS) {
            if let Some(token) = self.behind.pop_front() {
                if let Some(connection) = self.connections.get_mut(token) {
                    connection.is_queued = false;
                }
                self.look(token, now);
            }
        }
        while let Some((due, token)) = self.sleepers.first().copied()
            && due <= now
        {
            self.sleepers.pop_first();
            // It may wait for something else by now.
            let connection = self.connections.get(token);
            if connection.is_some_and(|connection| connection.waits_until(due)) {
                self.look(token, now);
            }
        }
        if self.confirms_at <= now {
            let mut confirming = std::mem::take(&mut self.confirming);
            let connections = &mut self.connections;
            confirming.retain(|token| connections.get_mut(*token).is_some_and(|c| c.confirm()));
            confirming.append(&mut self.confirming);
            self.confirming = confirming;
            self.confirms_at = now + confirmation::INTERVAL;
        }
        self.sweep(now);
    }

    /// Cuts everyone off.
    pub(crate) fn clear(&mut self) {
        let tokens: Vec<_> = self.connections.iter().map(|(token, _)| token).collect();
        tokens.into_iter().for_each(|token| self.remove(token));
    }

    fn sweep(&mut self, now: Instant) {
        if self.sweep.next.is_none() && self.sweep.begins_at <= now {
            self.sweep.begins_at = now + self.sweep.interval;
            self.sweep.next = Some(0);
        }
        let Some(first) = self.sweep.next else {
            return;
        };
        let end = first + SWEEP_STEP;
        for token in first..end {
            self.visit(token, now);
        }
        self.sweep.next = (end < self.connections.capacity()).then_some(end);
    }

    /// Looks whether a connection is alive, and says that this end is.
    fn visit(&mut self, token: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        if connection.is_gone(now) {
            tracing::info!("stream given up: its peer confirms nothing");
            return self.remove(token);
        }
        if !connection.is_silent(self.config.heartbeat, now) {
            return;
        }
        let live = connection.feed;
        self.news(live, now);
        // Unless that was its end.
        let (Some(connection), Some(live)) = (self.connections.get_mut(token), self.live.get(live))
        else {
            return;
        };
        let after = connection.beat(&live.feed, self.config.heartbeat, now);
        if connection.is_to_confirm() {
            self.confirming.push(token);
        }
        self.after(token, after);
    }

    fn with(
        &mut self,
        token: usize,
        now: Instant,
        act: impl FnOnce(&mut Connection<S>, Turn) -> After,
    ) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let turn = Turn {
            limit: self.live[connection.feed].feed.position(),
            now,
        };
        let after = act(connection, turn);
        if connection.is_to_confirm() {
            self.confirming.push(token);
        }
        self.after(token, after);
    }

    fn after(&mut self, token: usize, after: After) {
        match after {
            After::Nothing => {}
            After::Again => {
                if let Some(connection) = self.connections.get_mut(token)
                    && !std::mem::replace(&mut connection.is_queued, true)
                {
                    self.behind.push_back(token);
                }
            }
            After::Wake(due) => {
                self.sleepers.insert((due, token));
            }
            After::Read => {
                let connection = &mut self.connections[token];
                if let Some(subscription) = connection.lend() {
                    self.reads.push(Reading {
                        token,
                        subscription,
                    });
                }
            }
            After::End => self.remove(token),
        }
    }

    /// Whether it is still this stream that has the token.
    fn is_there(&self, token: usize, id: Uuid) -> bool {
        let connection = self.connections.get(token);
        connection.is_some_and(|connection| connection.id == id)
    }

    fn remove(&mut self, token: usize) {
        let Some(connection) = self.connections.try_remove(token) else {
            return;
        };
        let (number, place) = (connection.feed, connection.place);
        let members = &mut self.live[number].members;
        members.swap_remove(place);
        if let Some(moved) = members.get(place) {
            self.connections[*moved].place = place;
        }
        if members.is_empty() {
            let live = self.live.remove(number);
            self.live_of.remove(&live.feed.key());
        }
        self.gone.push(connection.close());
    }
}
