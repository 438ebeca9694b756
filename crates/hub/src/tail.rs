use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use notification_event::{Audience, Position, Topic};

use crate::Frame;
use crate::cohort::Cohort;

/// The newest part of the log, kept in memory: those who are a little behind
/// catch up from here without touching a file. It also bounds the rings: a
/// frame that leaves the tail leaves the rings it is in.
#[derive(Debug)]
pub(crate) struct Tail {
    max_events: usize,
    max_bytes: usize,
    /// Every frame after this position is in `slots`, without a hole.
    complete_after: Position,
    slots: VecDeque<Slot>,
    bytes: usize,
    /// The newest frame in `slots` of each state that is in there.
    states: HashMap<State, Arc<Frame>>,
}

/// What events that take each other's place have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
struct State {
    topic: Topic,
    collapse: String,
    audience: Option<Audience>,
}

impl State {
    fn of(frame: &Frame) -> Option<Self> {
        Some(Self {
            collapse: frame.head.collapse.as_ref()?.to_string(),
            topic: frame.head.topic.clone(),
            audience: frame.head.audience.clone(),
        })
    }
}

#[derive(Debug)]
struct Slot {
    frame: Arc<Frame>,
    in_rings: Vec<Arc<Cohort>>,
}

impl Slot {
    /// The frame, and two pointers for each ring it is in: there and back.
    fn size(&self) -> usize {
        self.frame.size() + self.in_rings.len() * 2 * size_of::<Arc<Cohort>>()
    }
}

impl Tail {
    pub(crate) fn new(head: Position, max_events: usize, max_bytes: usize) -> Self {
        Self {
            max_events,
            max_bytes,
            complete_after: head,
            slots: VecDeque::new(),
            bytes: 0,
            states: HashMap::new(),
        }
    }

    /// The newest position.
    pub(crate) fn head(&self) -> Position {
        self.complete_after.plus(self.slots.len() as u64)
    }

    /// Everything that follows this position is here.
    pub(crate) fn oldest(&self) -> Position {
        self.complete_after
    }

    /// Adds the frame that follows the head.
    pub(crate) fn push(&mut self, frame: Arc<Frame>, in_rings: Vec<Arc<Cohort>>) {
        debug_assert_eq!(frame.position, self.head().plus(1));
        self.supersede(&frame);
        let slot = Slot { frame, in_rings };
        self.bytes += slot.size();
        self.slots.push_back(slot);
        while self.slots.len() > self.max_events || self.bytes > self.max_bytes {
            self.pop();
        }
    }

    /// Drops everything, and goes on after `head`.
    pub(crate) fn restart_at(&mut self, head: Position) {
        while !self.slots.is_empty() {
            self.pop();
        }
        self.complete_after = head;
    }

    /// The frame takes the place of the one that had its state before.
    fn supersede(&mut self, frame: &Arc<Frame>) {
        if let Some(state) = State::of(frame)
            && let Some(before) = self.states.insert(state, frame.clone())
        {
            before.supersede();
        }
    }

    fn pop(&mut self) {
        let Some(slot) = self.slots.pop_front() else {
            return;
        };
        self.bytes -= slot.size();
        self.complete_after = slot.frame.position;
        for cohort in slot.in_rings {
            cohort.forget_through(slot.frame.position);
        }
        if let Some(state) = State::of(&slot.frame)
            && let Entry::Occupied(newest) = self.states.entry(state)
            && Arc::ptr_eq(newest.get(), &slot.frame)
        {
            newest.remove();
        }
    }

    /// At most `limit` frames after `position`; none if the tail does not go
    /// back that far.
    pub(crate) fn read(&self, position: Position, limit: usize) -> Option<Vec<Arc<Frame>>> {
        if position < self.complete_after {
            return None;
        }
        let skip = usize::try_from(position.since(self.complete_after)).unwrap_or(usize::MAX);
        let frames = self.slots.iter().skip(skip).take(limit);
        Some(frames.map(|slot| slot.frame.clone()).collect())
    }
}
