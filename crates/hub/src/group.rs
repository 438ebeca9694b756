use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use notification_event::{Audience, ClientId, Filter, Position};
use tokio::sync::watch;

use crate::Frame;

/// The subscribers that have the same filter, and share the work it makes.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) filter: Filter,
    // A std mutex: held for a few copies of pointers, never across an await.
    ring: Mutex<Ring>,
    newest: watch::Sender<Position>,
}

/// The newest frames that this group wants, and who is in it.
#[derive(Debug)]
struct Ring {
    /// Every frame after this position that the group wants is in `frames`.
    complete_after: Position,
    frames: VecDeque<Arc<Frame>>,
    /// There are frames of which the subscribers have not been told.
    to_wake: bool,
    subscribers: usize,
    /// How many of the subscribers are each client.
    clients: HashMap<ClientId, usize>,
}

/// A frame that went into the ring.
pub(crate) struct Taken {
    /// How many subscribers find it there.
    pub(crate) subscribers: usize,
    /// Whether it is the first since they were woken, so that they have to be again.
    pub(crate) is_first: bool,
}

impl Group {
    /// A group without subscribers, made when the log's head was at `head`.
    pub(crate) fn new(filter: Filter, head: Position) -> Self {
        Self {
            filter,
            ring: Mutex::new(Ring {
                complete_after: head,
                frames: VecDeque::new(),
                to_wake: false,
                subscribers: 0,
                clients: HashMap::new(),
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

    /// Takes one subscriber out. True if it was the last.
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
        ring.subscribers == 0
    }

    /// Puts a frame whose topic is wanted into the ring. None if the rest of it
    /// is not wanted, if nobody it is for is here, or if it is there already.
    /// Wakes nobody yet: see [`Group::wake`].
    pub(crate) fn offer(&self, frame: &Arc<Frame>) -> Option<Taken> {
        if !self.filter.matches_apart_from_topic(&frame.head) {
            return None;
        }
        let mut ring = self.ring();
        let subscribers = match &frame.head.audience {
            None => ring.subscribers,
            Some(audience) => ring.members_of(audience),
        };
        // Two patterns of one filter may find the same frame.
        let has_it = ring
            .frames
            .back()
            .is_some_and(|newest| newest.position >= frame.position);
        if subscribers == 0 || has_it {
            return None;
        }
        ring.frames.push_back(frame.clone());
        let is_first = !std::mem::replace(&mut ring.to_wake, true);
        Some(Taken {
            subscribers,
            is_first,
        })
    }

    /// Wakes the subscribers, because there are frames up to `newest`.
    pub(crate) fn wake(&self, newest: Position) {
        self.ring().to_wake = false;
        self.newest.send_replace(newest);
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
    fn members_of(&self, audience: &Audience) -> usize {
        let connections = audience
            .iter()
            .filter_map(|client| self.clients.get(client));
        connections.sum()
    }
}
