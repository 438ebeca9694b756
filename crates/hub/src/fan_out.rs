use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use notification_event::{ClientId, Filter, Pattern, Position};
use tokio::sync::watch;

use crate::bell::Bells;
use crate::cohort::Cohort;
use crate::groups::Groups;
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
    /// The same, for those who wait for it to move.
    heads: watch::Sender<Position>,
    /// There will be nothing more.
    closed: AtomicBool,
}

#[derive(Debug)]
struct State {
    router: Router<Cohort>,
    cohorts: HashMap<Filter, Arc<Cohort>>,
    tail: Tail,
}

/// Whom an event reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Open streams it was for.
    pub(crate) subscribers: usize,
    /// Durable clients that are not connected, and will get it.
    pub(crate) away: usize,
}

/// A subscriber's place in the fan-out.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) cohort: Arc<Cohort>,
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
                cohorts: HashMap::new(),
                tail: Tail::new(head, config.tail_events, config.tail_bytes),
            }),
            head: AtomicU64::new(head.0),
            heads: watch::Sender::new(head),
            closed: AtomicBool::new(false),
        }
    }

    /// Everything up to here has been handed to those who wanted it.
    pub(crate) fn head(&self) -> Position {
        Position(self.head.load(Ordering::Acquire))
    }

    /// Tells when there is something new, or there will be nothing more.
    pub(crate) fn heads(&self) -> watch::Receiver<Position> {
        self.heads.subscribe()
    }

    /// Hands frames, which follow each other, to those who want them. `groups`
    /// knows who the members are for whom they were published.
    pub(crate) fn hand_out(&self, frames: Vec<Arc<Frame>>, groups: &Groups) -> Vec<Reach> {
        let Some(newest) = frames.last().map(|frame| frame.position) else {
            return Vec::new();
        };
        let mut to_wake: Vec<Arc<Cohort>> = Vec::new();
        let mut state = self.state();
        let reached = frames.into_iter().map(|frame| {
            if state.close_hole_before(frame.position) {
                to_wake.extend(state.cohorts.values().cloned());
            }
            let audience = frame.head.audience.as_ref();
            let recipients = audience.map(|audience| groups.recipients(audience));
            let mut reach = Reach::default();
            let mut in_rings = Vec::new();
            state.router.find(&frame.head.topic, |cohort| {
                if let Some(taken) = cohort.offer(&frame, recipients.as_ref()) {
                    reach.subscribers += taken.subscribers;
                    reach.away += taken.away;
                    if taken.is_first {
                        to_wake.push(cohort.clone());
                    }
                    if taken.subscribers > 0 {
                        in_rings.push(cohort.clone());
                    }
                }
            });
            state.tail.push(frame, in_rings);
            reach
        });
        let reached = reached.collect();
        self.head.store(newest.0, Ordering::Release);
        drop(state);
        self.heads.send_replace(newest);
        let mut bells = Bells::default();
        for cohort in to_wake {
            cohort.wake(newest, &mut bells);
        }
        bells.ring();
        reached
    }

    /// Whether there will be nothing more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Says that there will be nothing more, to all who wait.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.heads.send_modify(|_| ());
        let mut bells = Bells::default();
        let state = self.state();
        for cohort in state.cohorts.values() {
            cohort.wake(state.tail.head(), &mut bells);
        }
        drop(state);
        bells.ring();
    }

    /// Adds a subscriber to the cohort of its filter.
    pub(crate) fn join(&self, filter: Filter, client: Option<&ClientId>) -> Membership {
        let mut state = self.state();
        let head = state.tail.head();
        let cohort = state.cohort(filter, head);
        Membership {
            newest: cohort.join(client),
            cohort,
            joined_at: head,
        }
    }

    /// Takes a subscriber out again.
    pub(crate) fn leave(&self, cohort: &Arc<Cohort>, client: Option<&ClientId>) {
        let mut state = self.state();
        if cohort.leave(client) {
            state.remove_cohort(cohort);
        }
    }

    /// Takes note that a durable client with this filter is not connected.
    pub(crate) fn went_away(&self, filter: Filter, client: ClientId) {
        let mut state = self.state();
        let head = state.tail.head();
        state.cohort(filter, head).went_away(client);
    }

    /// Takes note that a durable client is back, or forgotten.
    pub(crate) fn came_back(&self, filter: &Filter, client: &ClientId) {
        let mut state = self.state();
        if let Some(cohort) = state.cohorts.get(filter).cloned()
            && cohort.came_back(client)
        {
            state.remove_cohort(&cohort);
        }
    }

    /// What follows this position is in memory.
    pub(crate) fn oldest(&self) -> Position {
        self.state().tail.oldest()
    }

    /// Reads what follows `position` from memory, if it goes back that far.
    pub(crate) fn read_tail(&self, position: Position, limit: usize) -> Option<Vec<Arc<Frame>>> {
        self.state().tail.read(position, limit)
    }

    /// Everything that is in memory.
    pub(crate) fn recent(&self) -> Vec<Arc<Frame>> {
        let state = self.state();
        let recent = state.tail.read(state.tail.oldest(), usize::MAX);
        recent.unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    fn cohort(&mut self, filter: Filter, head: Position) -> Arc<Cohort> {
        match self.cohorts.get(&filter) {
            Some(cohort) => cohort.clone(),
            None => self.add_cohort(filter, head),
        }
    }

    fn add_cohort(&mut self, filter: Filter, head: Position) -> Arc<Cohort> {
        let cohort = Arc::new(Cohort::new(filter.clone(), head));
        for pattern in patterns(&filter) {
            self.router.insert(&pattern, cohort.clone());
        }
        self.cohorts.insert(filter, cohort.clone());
        cohort
    }

    fn remove_cohort(&mut self, cohort: &Arc<Cohort>) {
        for pattern in patterns(&cohort.filter) {
            self.router.remove(&pattern, cohort);
        }
        self.cohorts.remove(&cohort.filter);
    }

    /// A commit that was reported as failed may turn out to have succeeded.
    /// Its events are in the log but were handed to nobody, so everyone has to
    /// go to the log for them. True if there was such a hole.
    fn close_hole_before(&mut self, position: Position) -> bool {
        let before = Position(position.0 - 1);
        let is_hole = self.tail.head() < before;
        if is_hole {
            self.tail.restart_at(before);
            for cohort in self.cohorts.values() {
                cohort.forget_through(before);
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
        assert!(Arc::ptr_eq(&one.cohort, &same.cohort));
        assert!(!Arc::ptr_eq(&one.cohort, &other.cohort));
        for membership in [one, same, other] {
            fan_out.leave(&membership.cohort, None);
        }
        let state = fan_out.state();
        assert!(state.cohorts.is_empty());
        state
            .router
            .find(&"a".parse().unwrap(), |_| panic!("nobody is left"));
    }
}
