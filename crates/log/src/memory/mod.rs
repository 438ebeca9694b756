//! The log in memory.

mod memberships;
mod newest;
mod receipts;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use notification_event::{ClientId, EncodedEvent, Epoch, EventId, Position, Timestamp};

use self::memberships::Memberships;
use self::newest::Newest;
use self::receipts::Receipts;
use crate::search::last_where;
use crate::{
    Bounds, Change, ClientRecord, Commit, Entry, EventLog, LogError, Page, PageLimit, Receipt,
    Record, Records, Retention,
};

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
    /// Where each of them is.
    positions: HashMap<EventId, Position>,
    newest: Newest,
    memberships: Memberships,
    clients: BTreeMap<ClientId, ClientRecord>,
    /// By kind and id.
    records: BTreeMap<(String, String), Record>,
    receipts: Receipts,
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
                positions: HashMap::new(),
                newest: Newest::default(),
                memberships: Memberships::default(),
                clients: BTreeMap::new(),
                records: BTreeMap::new(),
                receipts: Receipts::default(),
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

    async fn append(&self, commit: Arc<Commit>, now: Timestamp) -> Result<Position, LogError> {
        let mut state = self.open()?;
        state.check_ids(&commit.events)?;
        let head = state.bounds.head;
        state.append(&commit.events, now);
        for change in &commit.changes {
            state.make(change, head);
        }
        Ok(head.plus(1))
    }

    async fn read(&self, after: Position, limit: PageLimit) -> Result<Page, LogError> {
        let state = self.open()?;
        let Bounds { floor, head, .. } = state.bounds;
        let first = after.max(floor).0.saturating_add(1);
        let positions = (first..=head.0).map(Position);
        Ok(state.page(positions, limit))
    }

    async fn read_newest(
        &self,
        after: Position,
        through: Position,
        limit: PageLimit,
    ) -> Result<Page, LogError> {
        let state = self.open()?;
        Ok(state.page(state.newest.between(after, through), limit))
    }

    async fn find(&self, ids: Vec<EventId>) -> Result<Vec<Option<Entry>>, LogError> {
        let state = self.open()?;
        let find = |id| state.positions.get(id).map(|p| state.entry(*p));
        Ok(ids.iter().map(find).collect())
    }

    async fn records(&self) -> Result<Records, LogError> {
        let state = self.open()?;
        Ok(Records {
            memberships: state.memberships.all(),
            clients: state.clients.values().cloned().collect(),
            others: state.records.values().cloned().collect(),
        })
    }

    async fn receipts(&self, event: EventId) -> Result<Vec<Receipt>, LogError> {
        let state = self.open()?;
        let position = state.positions.get(&event);
        Ok(position.map_or(Vec::new(), |p| state.receipts.of(*p)))
    }

    async fn unacknowledged(
        &self,
        client: ClientId,
        through: Position,
    ) -> Result<Vec<EventId>, LogError> {
        let state = self.open()?;
        let positions = state.receipts.unacknowledged(&client, through);
        Ok(positions
            .map(|p| state.at(p).event.head.id.clone())
            .collect())
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
            state.remove_oldest();
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
    /// Fails if an id would be there twice: nothing else can fail.
    fn check_ids(&self, events: &[EncodedEvent]) -> Result<(), LogError> {
        let mut new = HashSet::with_capacity(events.len());
        for EncodedEvent { head, .. } in events {
            if self.positions.contains_key(&head.id) || !new.insert(&head.id) {
                return Err(LogError::Unavailable(format!(
                    "the event id {} is there already",
                    head.id
                )));
            }
        }
        Ok(())
    }

    fn append(&mut self, events: &[EncodedEvent], now: Timestamp) {
        let newest = self.kept.back().map(|kept| kept.appended_at);
        let newest = newest.or(self.bounds.pruned_until);
        let appended_at = newest.map_or(now, |newest| newest.max(now));
        for event in events.iter().cloned() {
            let position = self.bounds.head.plus(1);
            self.bounds.head = position;
            self.bounds.bytes += event.size() as u64;
            self.positions.insert(event.head.id.clone(), position);
            self.newest.add(&event.head, position);
            self.kept.push_back(Kept { event, appended_at });
        }
    }

    /// Makes a change of a commit whose events follow `head`. They are there
    /// already, so that their receipts have something to belong to.
    fn make(&mut self, change: &Change, head: Position) {
        match change {
            Change::JoinGroup { group, client } => self.memberships.join(group, client, head),
            Change::LeaveGroup { group, client } => self.memberships.leave(group, client, head),
            Change::SaveClient(record) => {
                self.clients.insert(record.client.clone(), record.clone());
            }
            Change::ForgetClient(client) => {
                self.clients.remove(client);
            }
            Change::SaveRecord(record) => {
                let key = (record.kind.clone(), record.id.clone());
                self.records.insert(key, record.clone());
            }
            Change::RemoveRecord { kind, id } => {
                self.records.remove(&(kind.clone(), id.clone()));
            }
            Change::Expect { event, clients } => {
                if let Some(position) = self.positions.get(event) {
                    for client in clients {
                        self.receipts.expect(*position, client);
                    }
                }
            }
            Change::Delivered { event, client, at } => {
                if let Some(position) = self.positions.get(event) {
                    self.receipts.deliver(*position, client, *at);
                }
            }
            Change::Acknowledged { event, client, at } => {
                if let Some(position) = self.positions.get(event) {
                    self.receipts.acknowledge(*position, client, *at);
                }
            }
        }
    }

    fn page(&self, positions: impl Iterator<Item = Position>, limit: PageLimit) -> Page {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for position in positions.take(limit.events.max(1)) {
            let entry = self.entry(position);
            bytes += entry.event.size();
            entries.push(entry);
            if bytes >= limit.bytes {
                break;
            }
        }
        Page {
            floor: self.bounds.floor,
            entries,
        }
    }

    fn entry(&self, position: Position) -> Entry {
        let event = self.at(position).event.clone();
        Entry {
            position,
            is_superseded: self.newest.has_superseded(&event.head, position),
            event,
        }
    }

    fn remove_oldest(&mut self) {
        let Some(Kept { event, appended_at }) = self.kept.pop_front() else {
            return;
        };
        let position = self.bounds.floor.plus(1);
        self.bounds.floor = position;
        self.bounds.bytes -= event.size() as u64;
        self.bounds.pruned_until = Some(appended_at);
        self.positions.remove(&event.head.id);
        self.newest.remove(&event.head, position);
        self.receipts.remove(position);
        self.memberships.prune(position);
    }

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
