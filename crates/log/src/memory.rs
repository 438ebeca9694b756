use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use notification_event::{EncodedEvent, Epoch, Position, Timestamp};

use crate::search::last_where;
use crate::{Bounds, Entry, EventLog, LogError, Page, PageLimit, Retention};

/// A log that lives as long as its process.
#[derive(Debug)]
pub struct MemoryLog {
    // A std mutex: nothing awaits or blocks while it is held.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    /// What lies after the floor, in order.
    kept: VecDeque<Kept>,
    closed: bool,
}

#[derive(Debug)]
struct Kept {
    event: EncodedEvent,
    appended_at: Timestamp,
}

impl MemoryLog {
    /// An empty log of a new epoch.
    #[expect(
        clippy::new_without_default,
        reason = "no two logs are alike: each has an epoch"
    )]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                bounds: Bounds::new(Epoch::generate()),
                kept: VecDeque::new(),
                closed: false,
            }),
        }
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.lock();
        match state.closed {
            true => Err(LogError::Closed),
            false => Ok(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn bounds(&self) -> Bounds {
        self.lock().bounds
    }

    async fn append(
        &self,
        batch: Arc<[EncodedEvent]>,
        now: Timestamp,
    ) -> Result<Position, LogError> {
        let mut state = self.open()?;
        let first = state.bounds.head.plus(1);
        let newest = state.kept.back().map(|kept| kept.appended_at);
        let newest = newest.or(state.bounds.pruned_until);
        let appended_at = newest.map_or(now, |newest| newest.max(now));
        for event in batch.iter().cloned() {
            state.bounds.head = state.bounds.head.plus(1);
            state.bounds.bytes += event.size() as u64;
            state.kept.push_back(Kept { event, appended_at });
        }
        Ok(first)
    }

    async fn read(&self, after: Position, limit: PageLimit) -> Result<Page, LogError> {
        let state = self.open()?;
        let floor = state.bounds.floor;
        let skip = usize::try_from(after.since(floor)).unwrap_or(usize::MAX);
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut position = floor.plus(skip as u64);
        for kept in state.kept.iter().skip(skip).take(limit.events.max(1)) {
            position = position.plus(1);
            bytes += kept.event.size();
            entries.push(Entry {
                position,
                event: kept.event.clone(),
            });
            if bytes >= limit.bytes {
                break;
            }
        }
        Ok(Page { floor, entries })
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, LogError> {
        Ok(self.open()?.position_at(time))
    }

    async fn prune(
        &self,
        retention: &Retention,
        now: Timestamp,
        limit: u64,
    ) -> Result<u64, LogError> {
        let mut state = self.open()?;
        let keep_after = state.keep_after(retention, now);
        let count = keep_after.since(state.bounds.floor).min(limit);
        for _ in 0..count {
            let Some(kept) = state.kept.pop_front() else {
                break;
            };
            state.bounds.floor = state.bounds.floor.plus(1);
            state.bounds.bytes -= kept.event.size() as u64;
            state.bounds.pruned_until = Some(kept.appended_at);
        }
        Ok(count)
    }

    async fn probe(&self, _: usize) -> Result<(), LogError> {
        self.open().map(drop)
    }

    async fn check(&self) -> Result<(), LogError> {
        self.open().map(drop)
    }

    async fn close(&self) -> Result<(), LogError> {
        self.lock().closed = true;
        Ok(())
    }
}

impl State {
    fn at(&self, position: Position) -> &Kept {
        &self.kept[position.since(self.bounds.floor) as usize - 1]
    }

    fn position_at(&self, time: Timestamp) -> Position {
        let Bounds { floor, head, .. } = self.bounds;
        let earlier = |p| Ok::<_, Infallible>(self.at(p).appended_at < time);
        let Ok(position) = last_where(floor, head, earlier);
        position
    }

    /// The newest position that `retention` does not keep.
    fn keep_after(&self, retention: &Retention, now: Timestamp) -> Position {
        let Bounds {
            floor, head, bytes, ..
        } = self.bounds;
        let by_age = retention
            .max_age
            .map(|age| self.position_at(now.before(age)));
        let by_events = retention
            .max_events
            .map(|max| Position(head.0.saturating_sub(max)));
        let by_bytes = retention.max_bytes.map(|max| {
            let (mut left, mut position) = (bytes, floor);
            while left > max && position < head {
                position = position.plus(1);
                left -= self.at(position).event.size() as u64;
            }
            position
        });
        let bounds = [by_age, by_events, by_bytes];
        bounds.into_iter().flatten().fold(floor, Position::max)
    }
}
