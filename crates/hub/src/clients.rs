use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use notification_event::{ClientId, Cursor, Epoch, Filter, Position, Timestamp};
use notification_log::{AckMode, Change, ClientRecord};
use uuid::Uuid;

/// The most durable clients that are known at once.
const MAX_CLIENTS: usize = 100_000;

/// How many events a client may acknowledge beyond the oldest that it has not,
/// unless its window is larger: each is kept, and stored with each of the others.
const MAX_AHEAD: usize = 10_000;

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

#[derive(Clone, Debug)]
struct Durable {
    record: ClientRecord,
    /// What it acknowledged beyond its cursor.
    acknowledged: BTreeSet<Position>,
    /// Its connections.
    open: HashMap<Uuid, Open>,
}

/// A connection of a durable client.
#[derive(Clone, Debug)]
struct Open {
    /// How far it has got.
    position: Position,
    /// What was given on it and is not acknowledged, if it is to be. When it
    /// closes, that is given again on the next, unless that has it by then.
    owed: BTreeSet<Position>,
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
    /// Where the client was kept when that was decided, if it was known.
    pub(crate) kept: Option<Cursor>,
    pub(crate) now: Timestamp,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Attached {
    /// The client is new, and has to be saved before it can count on being known.
    New(ClientRecord),
    /// It was known, with this filter, and was away if this is its first connection.
    Back { former: Filter, was_away: bool },
    /// It has become known, moved on, or was forgotten meanwhile: begin again.
    Changed,
}

/// What a client is done with.
#[derive(Clone, Debug)]
pub(crate) enum Settle {
    /// Events.
    Events(Vec<Position>),
    /// Everything up to here.
    Through(Position),
}

/// More would be acknowledged beyond the oldest event that is not than is kept.
#[derive(Debug)]
pub(crate) struct TooFarAhead(pub(crate) usize);

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
            kept,
            now,
        } = attach;
        let mut state = self.state();
        let count = state.known.len();
        let Some(durable) = state.known.get_mut(client) else {
            if kept.is_some() {
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
            durable.open.insert(connection, Open::at(position));
            state.known.insert(client.clone(), durable);
            return Ok(Attached::New(record));
        };
        if kept != Some(durable.record.cursor) {
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
        }
        durable.open.insert(connection, Open::at(position));
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
        open.position = position;
        if durable.move_on(self.epoch) {
            state.changed.insert(client.clone());
        }
    }

    /// Events are given to the client that it is to acknowledge: on this
    /// connection, which has come as far as `through`.
    pub(crate) fn given(
        &self,
        client: &ClientId,
        connection: Uuid,
        positions: impl Iterator<Item = Position>,
        through: Position,
    ) {
        let mut state = self.state();
        let Some(durable) = state.known.get_mut(client) else {
            return;
        };
        let Some(open) = durable.open.get_mut(&connection) else {
            return;
        };
        // Another connection may have been given them before, and they may be done with.
        let cursor = durable.record.cursor.position;
        let acknowledged = &durable.acknowledged;
        let owed = positions.filter(|p| *p > cursor && !acknowledged.contains(p));
        open.owed.extend(owed);
        open.position = open.position.max(through);
        if durable.move_on(self.epoch) {
            state.changed.insert(client.clone());
        }
    }

    /// How many more events the client may be given on a connection before it
    /// acknowledges some.
    pub(crate) fn room(&self, client: &ClientId, connection: Uuid) -> usize {
        let state = self.state();
        let durable = state.known.get(client);
        let open = durable.and_then(|durable| Some((durable, durable.open.get(&connection)?)));
        open.map_or(self.window, |(durable, open)| {
            durable.room(open, self.window)
        })
    }

    /// The most events beyond the oldest that is not acknowledged.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// What is to be stored if the client is done with this; none if it is not known.
    pub(crate) fn preview(
        &self,
        client: &ClientId,
        what: &Settle,
        now: Timestamp,
    ) -> Result<Option<ClientRecord>, TooFarAhead> {
        let state = self.state();
        let Some(mut durable) = state.known.get(client).cloned() else {
            return Ok(None);
        };
        durable.settle(what, self.epoch, now);
        let most = self.window.max(MAX_AHEAD);
        match durable.acknowledged.len() > most {
            true => Err(TooFarAhead(most)),
            false => Ok(Some(durable.record())),
        }
    }

    /// The client is done with this, which is stored. The connections that may
    /// have waited for it.
    pub(crate) fn settle(&self, client: &ClientId, what: &Settle, now: Timestamp) -> Vec<Uuid> {
        let mut state = self.state();
        let Some(durable) = state.known.get_mut(client) else {
            return Vec::new();
        };
        let waiting = durable.waiting(self.window);
        durable.settle(what, self.epoch, now);
        // It may have moved on since the preview.
        state.changed.insert(client.clone());
        waiting
    }

    /// Events up to `floor` are gone, and cannot be acknowledged any more. The
    /// connections that may have waited for it.
    pub(crate) fn prune(&self, floor: Position) -> Vec<Uuid> {
        let mut state = self.state();
        let State { known, changed } = &mut *state;
        let mut waiting = Vec::new();
        for (client, durable) in known {
            if durable.oldest_owed().is_none_or(|oldest| oldest > floor) {
                continue;
            }
            waiting.extend(durable.waiting(self.window));
            durable.let_go(&Settle::Through(floor));
            if durable.move_on(self.epoch) {
                changed.insert(client.clone());
            }
        }
        waiting
    }

    /// The client is not given this any more, so that nothing waits until it is
    /// acknowledged by who was given it before. The connections that may have
    /// waited for it.
    pub(crate) fn let_go(&self, client: &ClientId, what: &Settle) -> Vec<Uuid> {
        let mut state = self.state();
        let Some(durable) = state.known.get_mut(client) else {
            return Vec::new();
        };
        let waiting = durable.waiting(self.window);
        durable.let_go(what);
        if durable.move_on(self.epoch) {
            state.changed.insert(client.clone());
        }
        waiting
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
            open: HashMap::new(),
        }
    }

    /// Moves the cursor as far as nothing is left to be done before it.
    fn move_on(&mut self, epoch: Epoch) -> bool {
        let done = match self.record.ack {
            // What has reached all of the connections.
            AckMode::Auto => self.open.values().map(|open| open.position).min(),
            // What was acknowledged of what was given on any of them.
            AckMode::Manual => {
                let before = self.oldest_owed().map(|oldest| Position(oldest.0 - 1));
                let given = self.open.values().map(|open| open.position).max();
                given.map(|given| before.map_or(given, |before| before.min(given)))
            }
        };
        let Some(done) = done else {
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

    /// How many more events it may be given on a connection: beyond the oldest
    /// that is not acknowledged, and that one in any case.
    fn room(&self, open: &Open, window: usize) -> usize {
        let room = window.saturating_sub(open.owed.len() + self.acknowledged.len());
        match open.owed.is_empty() {
            true => room.max(1),
            false => room,
        }
    }

    /// The connections on which it has to acknowledge something before it is given more.
    fn waiting(&self, window: usize) -> Vec<Uuid> {
        let open = self.open.iter();
        let waiting = open.filter(|(_, open)| self.room(open, window) == 0);
        waiting.map(|(connection, _)| *connection).collect()
    }

    fn oldest_owed(&self) -> Option<Position> {
        let open = self.open.values();
        open.filter_map(|open| open.owed.first()).min().copied()
    }

    /// This is not owed on any connection.
    fn let_go(&mut self, what: &Settle) {
        for open in self.open.values_mut() {
            match what {
                Settle::Events(positions) => positions.iter().for_each(|p| {
                    open.owed.remove(p);
                }),
                Settle::Through(position) => open.owed = open.owed.split_off(&position.plus(1)),
            }
        }
    }

    fn settle(&mut self, what: &Settle, epoch: Epoch, now: Timestamp) {
        self.record.seen_at = now;
        match what {
            // Its place follows what is written to it.
            Settle::Events(_) if self.record.ack == AckMode::Auto => {}
            Settle::Events(positions) => {
                self.let_go(what);
                let cursor = self.record.cursor.position;
                let beyond = positions.iter().filter(|p| **p > cursor);
                self.acknowledged.extend(beyond);
                self.move_on(epoch);
            }
            Settle::Through(position) => {
                let position = *position;
                self.let_go(what);
                self.acknowledged = self.acknowledged.split_off(&position.plus(1));
                if position > self.record.cursor.position || self.record.cursor.epoch != epoch {
                    self.record.cursor = Cursor { epoch, position };
                }
                self.move_on(epoch);
            }
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

impl Open {
    fn at(position: Position) -> Self {
        Self {
            position,
            owed: BTreeSet::new(),
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
            let kept = self.clients.cursor(&self.alice);
            let attached = self.clients.attach(Attach {
                client: &self.alice,
                filter: &Filter::default(),
                ack,
                connection,
                position: Position(position),
                kept,
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

        fn give(&self, connection: Uuid, positions: &[u64]) {
            let through = Position(positions[positions.len() - 1]);
            let positions = positions.iter().map(|p| Position(*p));
            self.clients
                .given(&self.alice, connection, positions, through);
        }

        fn room(&self, connection: Uuid) -> usize {
            self.clients.room(&self.alice, connection)
        }

        fn acknowledge(&self, positions: &[u64]) -> (u64, Vec<u64>) {
            let positions = positions.iter().map(|p| Position(*p)).collect();
            let record = self.settle(&Settle::Events(positions));
            let beyond = record.acknowledged.iter().map(|p| p.0).collect();
            (record.cursor.position.0, beyond)
        }

        fn settle(&self, what: &Settle) -> ClientRecord {
            let now = Timestamp::from_millis(0);
            let record = self.clients.preview(&self.alice, what, now).unwrap();
            self.clients.settle(&self.alice, what, now);
            record.unwrap()
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
        story.give(connection, &[2, 4, 6]);
        assert_eq!(story.confirm(connection, 7), 1);
        assert_eq!(story.acknowledge(&[4]), (1, vec![4]));
        assert_eq!(story.acknowledge(&[2]), (5, vec![]));
        assert_eq!(story.room(connection), 9);
        assert_eq!(story.detach(connection), 5);
        assert_eq!(story.acknowledge(&[6]), (5, vec![6]));
        let again = story.attach(AckMode::Manual, 5);
        assert_eq!(story.confirm(again, 8), 8);
    }

    #[test]
    fn what_comes_again_takes_no_room_twice() {
        let story = Story::new();
        let first = story.attach(AckMode::Manual, 0);
        story.give(first, &[1, 2, 3, 4]);
        let second = story.attach(AckMode::Manual, 0);
        assert_eq!((story.room(first), story.room(second)), (6, 10));
        assert_eq!(story.acknowledge(&[1, 2, 4]), (2, vec![4]));
        assert_eq!(story.room(first), 8);
        // The second is given them late, and the first goes.
        story.give(second, &[1, 2, 3, 4]);
        assert_eq!(story.room(second), 8);
        story.detach(first);
        assert_eq!(story.acknowledge(&[3]), (4, vec![]));
        assert_eq!(story.room(second), 10);
        story.give(second, &[5]);
        story.detach(second);
        let third = story.attach(AckMode::Manual, 4);
        assert_eq!(story.room(third), 10, "it was not given this time");
    }

    #[test]
    fn acknowledging_a_cursor_settles_all_before_it() {
        let story = Story::new();
        let connection = story.attach(AckMode::Manual, 0);
        story.give(connection, &[2, 4, 6]);
        story.confirm(connection, 7);
        let record = story.settle(&Settle::Through(Position(4)));
        assert_eq!(
            record.cursor.position,
            Position(5),
            "nothing is owed before 6"
        );
        assert_eq!(story.confirm(connection, 8), 5);
    }

    #[test]
    fn what_is_kept_beyond_the_oldest_that_is_owed_is_bounded() {
        let story = Story::new();
        let connection = story.attach(AckMode::Manual, 0);
        story.detach(connection);
        let ahead: Vec<_> = (2..MAX_AHEAD as u64 + 2).collect();
        assert_eq!(story.acknowledge(&ahead), (0, ahead));
        let now = Timestamp::from_millis(0);
        let more = Settle::Events(vec![Position(MAX_AHEAD as u64 + 2)]);
        assert!(story.clients.preview(&story.alice, &more, now).is_err());
    }

    #[test]
    fn acknowledging_does_not_move_a_place_that_follows_what_is_written() {
        let story = Story::new();
        let connection = story.attach(AckMode::Auto, 0);
        assert_eq!(story.acknowledge(&[1, 2]), (0, vec![]));
        assert_eq!(story.confirm(connection, 1), 1);
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
                kept: story.clients.cursor(&story.alice),
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
    fn a_client_that_moves_on_while_a_stream_is_opened_begins_again() {
        let story = Story::new();
        let connection = story.attach(AckMode::Auto, 0);
        let kept = story.clients.cursor(&story.alice);
        story.confirm(connection, 5);
        let attached = story.clients.attach(Attach {
            client: &story.alice,
            filter: &Filter::default(),
            ack: AckMode::Auto,
            connection: Uuid::new_v4(),
            position: Position(0),
            kept,
            now: Timestamp::from_millis(0),
        });
        assert!(matches!(attached, Ok(Attached::Changed)));
        assert_eq!(story.cursor(), 5);
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
