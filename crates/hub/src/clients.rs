use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use notification_event::{ClientId, Cursor, Epoch, Filter, Position, Timestamp};
use notification_log::{AckMode, Change, ClientRecord};
use uuid::Uuid;

/// The most durable clients that are known at once.
const MAX_CLIENTS: usize = 100_000;

/// The durable clients: named subscribers whose place in the log the server keeps.
#[derive(Debug)]
pub(crate) struct Clients {
    // A std mutex, held for lookups; never across an await.
    state: Mutex<State>,
    epoch: Epoch,
    /// How many events a client may have been given beyond the oldest that it
    /// has not acknowledged.
    window: usize,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<ClientId, Durable>,
    /// Those whose record is not what is stored.
    changed: HashSet<ClientId>,
}

#[derive(Debug)]
struct Durable {
    record: ClientRecord,
    /// What it was given and has not acknowledged, if it is to.
    unacknowledged: BTreeSet<Position>,
    /// What it acknowledged beyond its cursor.
    acknowledged: BTreeSet<Position>,
    /// How far each of its connections has got.
    open: HashMap<Uuid, Position>,
}

/// Why a durable stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurableError {
    /// The client has another stream, which asks for something else. It has one
    /// place in the log, and that can follow only one of them.
    #[error(
        "client {0} has a durable stream open with another filter or ack; close that one, or use another client_id"
    )]
    Differs(ClientId),
    /// There are too many.
    #[error("there are {MAX_CLIENTS} durable clients, which is the most; forget some")]
    TooMany,
}

/// A connection of a durable client that is being opened.
#[derive(Debug)]
pub(crate) struct Attach<'a> {
    pub(crate) client: &'a ClientId,
    pub(crate) filter: &'a Filter,
    pub(crate) ack: AckMode,
    pub(crate) connection: Uuid,
    /// Where it begins.
    pub(crate) position: Position,
    /// Whether the client was known when that was decided.
    pub(crate) was_known: bool,
    pub(crate) now: Timestamp,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Attached {
    /// The client is new, and has to be saved before it can count on being known.
    New(ClientRecord),
    /// It was known, with this filter, and was away if this is its first connection.
    Back { former: Filter, was_away: bool },
    /// It has become known, or was forgotten, meanwhile: begin again.
    Changed,
}

/// What is known of a durable client.
#[derive(Clone, Debug)]
pub struct ClientStatus {
    /// What is stored of it.
    pub record: ClientRecord,
    /// Its open durable streams.
    pub connections: Vec<Uuid>,
}

impl Clients {
    pub(crate) fn load(records: Vec<ClientRecord>, epoch: Epoch, window: usize) -> Self {
        let known = records.into_iter().map(|record| {
            let client = record.client.clone();
            (client, Durable::new(record))
        });
        Self {
            state: Mutex::new(State {
                known: known.collect(),
                changed: HashSet::new(),
            }),
            epoch,
            window,
        }
    }

    /// Where a client goes on, if it is known.
    pub(crate) fn cursor(&self, client: &ClientId) -> Option<Cursor> {
        let state = self.state();
        state.known.get(client).map(|durable| durable.record.cursor)
    }

    /// Adds a connection.
    pub(crate) fn attach(&self, attach: Attach<'_>) -> Result<Attached, DurableError> {
        let Attach {
            client,
            filter,
            ack,
            connection,
            position,
            was_known,
            now,
        } = attach;
        let mut state = self.state();
        let count = state.known.len();
        let Some(durable) = state.known.get_mut(client) else {
            if was_known {
                return Ok(Attached::Changed);
            }
            if count >= MAX_CLIENTS {
                return Err(DurableError::TooMany);
            }
            let record = ClientRecord {
                client: client.clone(),
                filter: filter.clone(),
                ack,
                cursor: self.cursor_at(position),
                acknowledged: Vec::new(),
                created_at: now,
                seen_at: now,
            };
            let mut durable = Durable::new(record.clone());
            durable.open.insert(connection, position);
            state.known.insert(client.clone(), durable);
            return Ok(Attached::New(record));
        };
        if !was_known {
            return Ok(Attached::Changed);
        }
        let was_away = durable.open.is_empty();
        let record = &mut durable.record;
        if !was_away && (record.filter != *filter || record.ack != ack) {
            return Err(DurableError::Differs(client.clone()));
        }
        let former = std::mem::replace(&mut record.filter, filter.clone());
        record.ack = ack;
        record.seen_at = now;
        // It may say itself that it has got less than what was written to it.
        // In another log than that of its cursor it begins anew.
        if record.cursor.epoch != self.epoch || position < record.cursor.position {
            record.cursor = self.cursor_at(position);
            durable.acknowledged.clear();
            durable.unacknowledged.clear();
        }
        durable.open.insert(connection, position);
        state.changed.insert(client.clone());
        Ok(Attached::Back { former, was_away })
    }

    /// Takes a connection out. Its filter if that was the client's last.
    pub(crate) fn detach(
        &self,
        client: &ClientId,
        connection: Uuid,
        now: Timestamp,
    ) -> Option<Filter> {
        let mut state = self.state();
        let durable = state.known.get_mut(client)?;
        durable.open.remove(&connection)?;
        durable.record.seen_at = now;
        durable.move_on(self.epoch);
        let went_away = durable.open.is_empty();
        let filter = durable.record.filter.clone();
        state.changed.insert(client.clone());
        went_away.then_some(filter)
    }

    /// What the client has acknowledged beyond its cursor, so that it need not come again.
    pub(crate) fn acknowledged(&self, client: &ClientId) -> BTreeSet<Position> {
        let state = self.state();
        let durable = state.known.get(client);
        durable.map(|d| d.acknowledged.clone()).unwrap_or_default()
    }

    /// Everything up to `position` has got to the client on this connection, or
    /// was not for it.
    pub(crate) fn confirm(&self, client: &ClientId, connection: Uuid, position: Position) {
        let mut state = self.state();
        let Some(durable) = state.known.get_mut(client) else {
            return;
        };
        let Some(open) = durable.open.get_mut(&connection) else {
            return;
        };
        *open = position;
        if durable.move_on(self.epoch) {
            state.changed.insert(client.clone());
        }
    }

    /// Events are given to the client that it is to acknowledge.
    pub(crate) fn given(&self, client: &ClientId, positions: impl Iterator<Item = Position>) {
        let mut state = self.state();
        if let Some(durable) = state.known.get_mut(client) {
            let positions = positions.filter(|p| !durable.acknowledged.contains(p));
            durable.unacknowledged.extend(positions);
        }
    }

    /// How many more events the client may be given before it acknowledges some.
    pub(crate) fn room(&self, client: &ClientId) -> usize {
        let state = self.state();
        state.known.get(client).map_or(self.window, |durable| {
            let given = durable.unacknowledged.len() + durable.acknowledged.len();
            self.window.saturating_sub(given)
        })
    }

    /// The most events beyond the oldest that is not acknowledged.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// The client has acknowledged these. What is to be stored, if it is known.
    pub(crate) fn acknowledge(
        &self,
        client: &ClientId,
        positions: impl Iterator<Item = Position>,
        now: Timestamp,
    ) -> Option<ClientRecord> {
        let mut state = self.state();
        let durable = state.known.get_mut(client)?;
        for position in positions {
            durable.unacknowledged.remove(&position);
            if position > durable.record.cursor.position {
                durable.acknowledged.insert(position);
            }
        }
        durable.record.seen_at = now;
        durable.move_on(self.epoch);
        Some(durable.record())
    }

    /// The client has acknowledged everything up to `position`. What is to be
    /// stored, if it is known.
    pub(crate) fn acknowledge_through(
        &self,
        client: &ClientId,
        position: Position,
        now: Timestamp,
    ) -> Option<ClientRecord> {
        let mut state = self.state();
        let durable = state.known.get_mut(client)?;
        let next = position.plus(1);
        durable.unacknowledged = durable.unacknowledged.split_off(&next);
        durable.acknowledged = durable.acknowledged.split_off(&next);
        if position > durable.record.cursor.position || durable.record.cursor.epoch != self.epoch {
            durable.record.cursor = self.cursor_at(position);
        }
        durable.record.seen_at = now;
        Some(durable.record())
    }

    pub(crate) fn get(&self, client: &ClientId) -> Option<ClientStatus> {
        self.state().known.get(client).map(Durable::status)
    }

    pub(crate) fn count(&self) -> usize {
        self.state().known.len()
    }

    /// All of them, in order.
    pub(crate) fn list(&self) -> Vec<ClientStatus> {
        let mut all: Vec<_> = self.state().known.values().map(Durable::status).collect();
        all.sort_by(|a, b| a.record.client.cmp(&b.record.client));
        all
    }

    /// Those that have not been seen since `since`, and have no connection.
    pub(crate) fn unseen_since(&self, since: Timestamp) -> Vec<ClientId> {
        let state = self.state();
        let unseen = state
            .known
            .values()
            .filter(|d| d.open.is_empty() && d.record.seen_at <= since);
        unseen.map(|d| d.record.client.clone()).collect()
    }

    /// Forgets a client. What was known of it; none if nothing was, or if it is
    /// connected and must not be.
    pub(crate) fn forget(&self, client: &ClientId, must_be_away: bool) -> Option<ClientStatus> {
        let mut state = self.state();
        let durable = state.known.get(client)?;
        if must_be_away && !durable.open.is_empty() {
            return None;
        }
        state.changed.remove(client);
        state.known.remove(client).map(|durable| durable.status())
    }

    /// Takes note that what is stored of a client is not what is known of it.
    pub(crate) fn store_again(&self, client: &ClientId) {
        let mut state = self.state();
        if state.known.contains_key(client) {
            state.changed.insert(client.clone());
        }
    }

    /// What has changed since this was asked last, to be stored.
    pub(crate) fn take_changes(&self) -> Vec<Change> {
        let mut state = self.state();
        let changed = std::mem::take(&mut state.changed);
        let records = changed.iter().filter_map(|client| state.known.get(client));
        records.map(|d| Change::SaveClient(d.record())).collect()
    }

    /// Takes note that changes were not stored after all.
    pub(crate) fn give_back_changes(&self, changes: &[Change]) {
        for change in changes {
            if let Change::SaveClient(record) = change {
                self.store_again(&record.client);
            }
        }
    }

    fn cursor_at(&self, position: Position) -> Cursor {
        Cursor {
            epoch: self.epoch,
            position,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl Durable {
    fn new(record: ClientRecord) -> Self {
        Self {
            acknowledged: record.acknowledged.iter().copied().collect(),
            record,
            unacknowledged: BTreeSet::new(),
            open: HashMap::new(),
        }
    }

    /// Moves the cursor as far as nothing is left to be done before it: to the
    /// slowest of the connections, and not past what is not acknowledged.
    fn move_on(&mut self, epoch: Epoch) -> bool {
        let slowest = self.open.values().min().copied();
        let oldest = match self.record.ack {
            AckMode::Auto => None,
            AckMode::Manual => self.unacknowledged.first().map(|p| Position(p.0 - 1)),
        };
        let Some(done) = slowest.map(|slowest| oldest.map_or(slowest, |o| o.min(slowest))) else {
            return false;
        };
        if epoch == self.record.cursor.epoch && done <= self.record.cursor.position {
            return false;
        }
        self.record.cursor = Cursor {
            epoch,
            position: done,
        };
        self.acknowledged = self.acknowledged.split_off(&done.plus(1));
        true
    }

    fn record(&self) -> ClientRecord {
        ClientRecord {
            acknowledged: self.acknowledged.iter().copied().collect(),
            ..self.record.clone()
        }
    }

    fn status(&self) -> ClientStatus {
        let mut connections: Vec<_> = self.open.keys().copied().collect();
        connections.sort();
        ClientStatus {
            record: self.record(),
            connections,
        }
    }
}

/// How long durable clients are remembered, and how much they may owe.
#[derive(Clone, Debug)]
pub struct ClientsConfig {
    /// After how long without a connection or an acknowledgement a client is forgotten.
    pub forget_after: Duration,
    /// How many events a client may have been given beyond the oldest that it
    /// has not acknowledged.
    pub max_unacknowledged: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Story {
        clients: Clients,
        alice: ClientId,
    }

    impl Story {
        fn new() -> Self {
            Self {
                clients: Clients::load(Vec::new(), Epoch::generate(), 10),
                alice: "alice".parse().unwrap(),
            }
        }

        fn attach(&self, ack: AckMode, position: u64) -> Uuid {
            let connection = Uuid::new_v4();
            let was_known = self.clients.cursor(&self.alice).is_some();
            let attached = self.clients.attach(Attach {
                client: &self.alice,
                filter: &Filter::default(),
                ack,
                connection,
                position: Position(position),
                was_known,
                now: Timestamp::from_millis(0),
            });
            assert!(!matches!(attached.unwrap(), Attached::Changed));
            connection
        }

        fn confirm(&self, connection: Uuid, position: u64) -> u64 {
            self.clients
                .confirm(&self.alice, connection, Position(position));
            self.cursor()
        }

        fn give(&self, positions: &[u64]) {
            self.clients
                .given(&self.alice, positions.iter().map(|p| Position(*p)));
        }

        fn acknowledge(&self, positions: &[u64]) -> (u64, Vec<u64>) {
            let positions = positions.iter().map(|p| Position(*p));
            let now = Timestamp::from_millis(0);
            let record = self
                .clients
                .acknowledge(&self.alice, positions, now)
                .unwrap();
            let beyond = record.acknowledged.iter().map(|p| p.0).collect();
            (record.cursor.position.0, beyond)
        }

        fn detach(&self, connection: Uuid) -> u64 {
            self.clients
                .detach(&self.alice, connection, Timestamp::from_millis(0));
            self.cursor()
        }

        fn cursor(&self) -> u64 {
            self.clients.cursor(&self.alice).unwrap().position.0
        }
    }

    #[test]
    fn the_slowest_connection_holds_the_place() {
        let story = Story::new();
        let fast = story.attach(AckMode::Auto, 0);
        let slow = story.attach(AckMode::Auto, 0);
        assert_eq!(story.confirm(fast, 10), 0);
        assert_eq!(story.confirm(slow, 5), 5);
        assert_eq!(story.detach(slow), 10);
        assert_eq!(story.detach(fast), 10);
    }

    #[test]
    fn what_is_not_acknowledged_holds_the_place() {
        let story = Story::new();
        let connection = story.attach(AckMode::Manual, 0);
        story.give(&[2, 4, 6]);
        assert_eq!(story.confirm(connection, 7), 1);
        assert_eq!(story.acknowledge(&[4]), (1, vec![4]));
        assert_eq!(story.acknowledge(&[2]), (5, vec![]));
        assert_eq!(story.clients.room(&story.alice), 9);
        assert_eq!(story.detach(connection), 5);
        assert_eq!(story.acknowledge(&[6]), (5, vec![6]));
        let again = story.attach(AckMode::Manual, 5);
        assert_eq!(story.confirm(again, 8), 8);
    }

    #[test]
    fn acknowledging_a_cursor_settles_all_before_it() {
        let story = Story::new();
        let connection = story.attach(AckMode::Manual, 0);
        story.give(&[2, 4, 6]);
        story.confirm(connection, 7);
        let now = Timestamp::from_millis(0);
        let record = story
            .clients
            .acknowledge_through(&story.alice, Position(4), now);
        assert_eq!(record.unwrap().cursor.position, Position(4));
        assert_eq!(story.confirm(connection, 8), 5);
    }

    #[test]
    fn one_place_follows_one_filter() {
        let story = Story::new();
        let connection = story.attach(AckMode::Auto, 3);
        let other = Filter {
            tags: vec!["x".parse().unwrap()],
            ..Filter::default()
        };
        let attach = || {
            story.clients.attach(Attach {
                client: &story.alice,
                filter: &other,
                ack: AckMode::Auto,
                connection: Uuid::new_v4(),
                position: Position(3),
                was_known: true,
                now: Timestamp::from_millis(0),
            })
        };
        assert!(matches!(attach(), Err(DurableError::Differs(_))));
        story.detach(connection);
        assert!(matches!(
            attach(),
            Ok(Attached::Back { was_away: true, .. })
        ));
    }

    #[test]
    fn changes_are_stored_once() {
        let story = Story::new();
        let connection = story.attach(AckMode::Auto, 0);
        assert!(
            story.clients.take_changes().is_empty(),
            "the caller saves what is new"
        );
        story.confirm(connection, 3);
        let changes = story.clients.take_changes();
        assert_eq!(changes.len(), 1);
        assert!(story.clients.take_changes().is_empty());
        story.clients.give_back_changes(&changes);
        assert_eq!(story.clients.take_changes().len(), 1);
    }
}
