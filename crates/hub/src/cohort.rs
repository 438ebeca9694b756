use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use notification_event::{ClientId, Filter, Position};
use tokio::sync::watch;

use crate::Frame;
use crate::bell::{Bell, Bells};

/// The subscribers that have the same filter, and share the work it makes.
#[derive(Debug)]
pub(crate) struct Cohort {
    pub(crate) filter: Filter,
    // A std mutex: held for a few copies of pointers, never across an await.
    ring: Mutex<Ring>,
    newest: watch::Sender<Position>,
}

/// The newest frames that this cohort wants, and who is in it.
#[derive(Debug)]
struct Ring {
    /// Every frame after this position that the cohort wants is in `frames`.
    complete_after: Position,
    frames: VecDeque<Arc<Frame>>,
    /// The newest frame that was offered and wanted, whether or not it is in `frames`.
    offered: Position,
    /// There are frames of which the subscribers have not been told.
    to_wake: bool,
    subscribers: usize,
    /// How many of the subscribers are each client.
    clients: HashMap<ClientId, usize>,
    /// Durable clients that are not connected, and will want what this cohort wants.
    away: HashSet<ClientId>,
    /// Who reads for many subscribers: where to ring, and what to say.
    feeds: Vec<(Arc<Bell>, usize)>,
}

/// A frame that is wanted.
#[derive(Default)]
pub(crate) struct Taken {
    /// How many subscribers find it in the ring.
    pub(crate) subscribers: usize,
    /// How many durable clients will get it when they come back.
    pub(crate) away: usize,
    /// Whether it is the first since they were woken, so that they have to be again.
    pub(crate) is_first: bool,
}

impl Cohort {
    /// A cohort without subscribers, made when the log's head was at `head`.
    pub(crate) fn new(filter: Filter, head: Position) -> Self {
        Self {
            filter,
            ring: Mutex::new(Ring {
                complete_after: head,
                frames: VecDeque::new(),
                offered: head,
                to_wake: false,
                subscribers: 0,
                clients: HashMap::new(),
                away: HashSet::new(),
                feeds: Vec::new(),
            }),
            newest: watch::Sender::new(head),
        }
    }

    pub(crate) fn join(&self, client: Option<&ClientId>) -> watch::Receiver<Position> {
        let mut ring = self.ring();
        ring.subscribers += 1;
        if let Some(client) = client {
            *ring.clients.entry(client.clone()).or_default() += 1;
        }
        self.newest.subscribe()
    }

    /// Takes one subscriber out. True if nobody is left.
    pub(crate) fn leave(&self, client: Option<&ClientId>) -> bool {
        let mut ring = self.ring();
        ring.subscribers -= 1;
        if let Some(client) = client
            && let Some(connections) = ring.clients.get_mut(client)
        {
            *connections -= 1;
            if *connections == 0 {
                ring.clients.remove(client);
            }
        }
        ring.is_deserted()
    }

    /// Takes note that a durable client is not connected.
    pub(crate) fn went_away(&self, client: ClientId) {
        self.ring().away.insert(client);
    }

    /// Takes note that a durable client is back, or forgotten. True if nobody is left.
    pub(crate) fn came_back(&self, client: &ClientId) -> bool {
        let mut ring = self.ring();
        ring.away.remove(client);
        ring.is_deserted()
    }

    /// Puts a frame whose topic is wanted into the ring, if somebody it is for
    /// is here. None if the rest of it is not wanted, if nobody is concerned, or
    /// if it is there already. `recipients` are those it is for; none is everyone.
    /// Wakes nobody yet: see [`Cohort::wake`].
    pub(crate) fn offer(
        &self,
        frame: &Arc<Frame>,
        recipients: Option<&HashSet<ClientId>>,
    ) -> Option<Taken> {
        if !self.filter.matches_apart_from_topic(&frame.head) {
            return None;
        }
        let mut ring = self.ring();
        // Two patterns of one filter may find the same frame.
        if ring.offered >= frame.position {
            return None;
        }
        ring.offered = frame.position;
        let (subscribers, away) = match recipients {
            None => (ring.subscribers, ring.away.len()),
            Some(recipients) => ring.count(recipients),
        };
        let mut taken = Taken {
            subscribers,
            away,
            is_first: false,
        };
        if subscribers > 0 {
            ring.frames.push_back(frame.clone());
            taken.is_first = !std::mem::replace(&mut ring.to_wake, true);
        }
        (subscribers + away > 0).then_some(taken)
    }

    /// Wakes the subscribers, because there are frames up to `newest`: those who
    /// wait for themselves at once, the others by `bells`, which are yet to be rung.
    pub(crate) fn wake(&self, newest: Position, bells: &mut Bells) {
        let mut ring = self.ring();
        ring.to_wake = false;
        for (bell, token) in &ring.feeds {
            bells.note_feed(bell, *token);
        }
        drop(ring);
        self.newest.send_replace(newest);
    }

    /// Has `bell` say `token` from now on when there is something new.
    pub(crate) fn add_feed(&self, bell: Arc<Bell>, token: usize) {
        self.ring().feeds.push((bell, token));
    }

    /// Has it say so no more.
    pub(crate) fn remove_feed(&self, bell: &Arc<Bell>, token: usize) {
        let is_it = |feed: &(Arc<Bell>, usize)| Arc::ptr_eq(&feed.0, bell) && feed.1 == token;
        self.ring().feeds.retain(|feed| !is_it(feed));
    }

    /// Has every subscriber look again, although there may be nothing new.
    pub(crate) fn wake_all(&self) {
        self.newest.send_modify(|_| {});
    }

    /// Lets go of frames up to and including `position`.
    pub(crate) fn forget_through(&self, position: Position) {
        let mut ring = self.ring();
        while ring
            .frames
            .front()
            .is_some_and(|oldest| oldest.position <= position)
        {
            ring.frames.pop_front();
        }
        ring.complete_after = ring.complete_after.max(position);
    }

    /// Whether the ring has moved on past a reader that is at `position`.
    pub(crate) fn is_past(&self, position: Position) -> bool {
        position < self.ring().complete_after
    }

    /// Calls `take` with the frames after `position`, oldest first, until it
    /// returns false. None if the ring does not go back that far.
    pub(crate) fn read(
        &self,
        position: Position,
        mut take: impl FnMut(&Arc<Frame>) -> bool,
    ) -> Option<()> {
        let ring = self.ring();
        if position < ring.complete_after {
            return None;
        }
        let first = ring
            .frames
            .partition_point(|frame| frame.position <= position);
        for frame in ring.frames.range(first..) {
            if !take(frame) {
                break;
            }
        }
        Some(())
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("no holder panics")
    }
}

impl Ring {
    fn is_deserted(&self) -> bool {
        self.subscribers == 0 && self.away.is_empty()
    }

    /// How many subscribers, and how many clients that are away, are recipients.
    fn count(&self, recipients: &HashSet<ClientId>) -> (usize, usize) {
        // By whichever is shorter: an audience may be one, and a cohort everyone.
        let subscribers = match recipients.len() < self.clients.len() {
            true => recipients.iter().filter_map(|c| self.clients.get(c)).sum(),
            false => {
                let here = self.clients.iter().filter(|(c, _)| recipients.contains(*c));
                here.map(|(_, connections)| connections).sum()
            }
        };
        let away = match recipients.len() < self.away.len() {
            true => recipients.iter().filter(|c| self.away.contains(*c)).count(),
            false => self.away.iter().filter(|c| recipients.contains(*c)).count(),
        };
        (subscribers, away)
    }
}
