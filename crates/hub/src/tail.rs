use std::collections::VecDeque;
use std::sync::Arc;

use notification_event::Position;

use crate::Frame;
use crate::group::Group;

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
}

#[derive(Debug)]
struct Slot {
    frame: Arc<Frame>,
    in_rings: Vec<Arc<Group>>,
}

impl Slot {
    /// The frame, and two pointers for each ring it is in: there and back.
    fn size(&self) -> usize {
        self.frame.size() + self.in_rings.len() * 2 * size_of::<Arc<Group>>()
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
        }
    }

    /// The newest position.
    pub(crate) fn head(&self) -> Position {
        self.complete_after.plus(self.slots.len() as u64)
    }

    /// Adds the frame that follows the head.
    pub(crate) fn push(&mut self, frame: Arc<Frame>, in_rings: Vec<Arc<Group>>) {
        debug_assert_eq!(frame.position, self.head().plus(1));
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

    fn pop(&mut self) {
        let Some(slot) = self.slots.pop_front() else {
            return;
        };
        self.bytes -= slot.size();
        self.complete_after = slot.frame.position;
        for group in slot.in_rings {
            group.forget_through(slot.frame.position);
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
