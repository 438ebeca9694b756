use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use notification_event::{Audience, Head, Position, Topic};

/// Where the newest event of each state is.
#[derive(Debug, Default)]
pub(super) struct Newest {
    positions: BTreeSet<Position>,
    by_state: HashMap<State, Position>,
}

/// What events that take each other's place have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
struct State {
    topic: Topic,
    collapse: String,
    audience: Option<Audience>,
}

impl Newest {
    /// Takes in an event that is newer than all before.
    pub(super) fn add(&mut self, head: &Head, position: Position) {
        let Some(state) = State::of(head) else { return };
        if let Some(superseded) = self.by_state.insert(state, position) {
            self.positions.remove(&superseded);
        }
        self.positions.insert(position);
    }

    /// Takes out an event that is no longer kept.
    pub(super) fn remove(&mut self, head: &Head, position: Position) {
        if self.positions.remove(&position)
            && let Some(state) = State::of(head)
        {
            self.by_state.remove(&state);
        }
    }

    pub(super) fn has_superseded(&self, head: &Head, position: Position) -> bool {
        head.collapse.is_some() && !self.positions.contains(&position)
    }

    /// The positions after `after`, up to and including `through`, in order.
    pub(super) fn between(
        &self,
        after: Position,
        through: Position,
    ) -> impl Iterator<Item = Position> {
        // An empty range, and no panic, if it ends before it begins.
        let through = through.max(after);
        let range = (Bound::Excluded(after), Bound::Included(through));
        self.positions.range(range).copied()
    }
}

impl State {
    fn of(head: &Head) -> Option<Self> {
        let collapse = head.collapse.as_ref()?.to_string();
        Some(Self {
            topic: head.topic.clone(),
            collapse,
            audience: head.audience.clone(),
        })
    }
}
