use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use notification_event::{ClientId, Filter, Pattern, Position};
use tokio::sync::watch;

use crate::group::Group;
use crate::router::Router;
use crate::tail::Tail;
use crate::{Frame, HubConfig};

/// Who wants what, and the newest frames for those who do.
#[derive(Debug)]
pub(crate) struct FanOut {
    // A std mutex, held by the publisher for one batch and by others for a
    // lookup; never across an await.
    state: Mutex<State>,
    /// Everything up to here is in the rings of those who want it.
    head: AtomicU64,
    /// There will be nothing more.
    closed: AtomicBool,
}

#[derive(Debug)]
struct State {
    router: Router<Group>,
    groups: HashMap<Filter, Arc<Group>>,
    tail: Tail,
}

/// A subscriber's place in the fan-out.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) group: Arc<Group>,
    pub(crate) newest: watch::Receiver<Position>,
    /// The head when it joined: what came before may not be in the ring.
    pub(crate) joined_at: Position,
}

impl FanOut {
    /// A fan-out of what follows `head`.
    pub(crate) fn new(head: Position, config: &HubConfig) -> Self {
        Self {
            state: Mutex::new(State {
                router: Router::default(),
                groups: HashMap::new(),
                tail: Tail::new(head, config.tail_events, config.tail_bytes),
            }),
            head: AtomicU64::new(head.0),
            closed: AtomicBool::new(false),
        }
    }

    /// Everything up to here has been handed to those who wanted it.
    pub(crate) fn head(&self) -> Position {
        Position(self.head.load(Ordering::Acquire))
    }

    /// Hands frames, which follow each other, to those who want them. Says how
    /// many subscribers each was for.
    pub(crate) fn hand_out(&self, frames: Vec<Arc<Frame>>) -> Vec<usize> {
        let Some(newest) = frames.last().map(|frame| frame.position) else {
            return Vec::new();
        };
        let mut to_wake: Vec<Arc<Group>> = Vec::new();
        let mut state = self.state();
        let counts = frames.into_iter().map(|frame| {
            if state.close_hole_before(frame.position) {
                to_wake.extend(state.groups.values().cloned());
            }
            let mut subscribers = 0;
            let mut in_rings = Vec::new();
            state.router.find(&frame.head.topic, |group| {
                if let Some(taken) = group.offer(&frame) {
                    subscribers += taken.subscribers;
                    if taken.is_first {
                        to_wake.push(group.clone());
                    }
                    in_rings.push(group.clone());
                }
            });
            state.tail.push(frame, in_rings);
            subscribers
        });
        let counts = counts.collect();
        self.head.store(newest.0, Ordering::Release);
        drop(state);
        for group in to_wake {
            group.wake(newest);
        }
        counts
    }

    /// Whether there will be nothing more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Says that there will be nothing more, to all who wait.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let state = self.state();
        for group in state.groups.values() {
            group.wake(state.tail.head());
        }
    }

    /// Adds a subscriber to the group of its filter.
    pub(crate) fn join(&self, filter: Filter, client: Option<&ClientId>) -> Membership {
        let mut state = self.state();
        let head = state.tail.head();
        let group = match state.groups.get(&filter) {
            Some(group) => group.clone(),
            None => state.add_group(filter, head),
        };
        Membership {
            newest: group.join(client),
            group,
            joined_at: head,
        }
    }

    /// Takes a subscriber out again.
    pub(crate) fn leave(&self, group: &Arc<Group>, client: Option<&ClientId>) {
        let mut state = self.state();
        if group.leave(client) {
            state.remove_group(group);
        }
    }

    /// Reads what follows `position` from memory, if it goes back that far.
    pub(crate) fn read_tail(&self, position: Position, limit: usize) -> Option<Vec<Arc<Frame>>> {
        self.state().tail.read(position, limit)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    fn add_group(&mut self, filter: Filter, head: Position) -> Arc<Group> {
        let group = Arc::new(Group::new(filter.clone(), head));
        for pattern in patterns(&filter) {
            self.router.insert(&pattern, group.clone());
        }
        self.groups.insert(filter, group.clone());
        group
    }

    fn remove_group(&mut self, group: &Arc<Group>) {
        for pattern in patterns(&group.filter) {
            self.router.remove(&pattern, group);
        }
        self.groups.remove(&group.filter);
    }

    /// A commit that was reported as failed may turn out to have succeeded.
    /// Its events are in the log but were handed to nobody, so everyone has to
    /// go to the log for them. True if there was such a hole.
    fn close_hole_before(&mut self, position: Position) -> bool {
        let before = Position(position.0 - 1);
        let is_hole = self.tail.head() < before;
        if is_hole {
            self.tail.restart_at(before);
            for group in self.groups.values() {
                group.forget_through(before);
            }
        }
        is_hole
    }
}

/// The patterns to find a filter by: one that names no topic wants them all.
fn patterns(filter: &Filter) -> Vec<Pattern> {
    match filter.topics.is_empty() {
        true => vec!["**".parse().expect("a pattern")],
        false => filter.topics.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_filters_share_a_group_which_goes_with_its_last_subscriber() {
        let fan_out = FanOut::new(Position::START, &HubConfig::default());
        let filter = |topics: &[&str]| Filter {
            topics: topics.iter().map(|topic| topic.parse().unwrap()).collect(),
            ..Filter::default()
        };
        let one = fan_out.join(filter(&["b", "a", "b"]).normalized(), None);
        let same = fan_out.join(filter(&["a", "b"]).normalized(), None);
        let other = fan_out.join(filter(&["a"]).normalized(), None);
        assert!(Arc::ptr_eq(&one.group, &same.group));
        assert!(!Arc::ptr_eq(&one.group, &other.group));
        for membership in [one, same, other] {
            fan_out.leave(&membership.group, None);
        }
        let state = fan_out.state();
        assert!(state.groups.is_empty());
        state
            .router
            .find(&"a".parse().unwrap(), |_| panic!("nobody is left"));
    }
}
