use rusqlite::{Connection, Transaction};

/// Marks a file as a notification log (`PRAGMA application_id`): "ntfl".
pub(super) const APPLICATION_ID: i32 = 0x6e74_666c;

/// Each step takes a file from the version before it to its own, which is its
/// place in this list counted from 1 (`PRAGMA user_version`). Steps that have
/// been released never change; a change of schema is a new one.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE events (
        position      INTEGER PRIMARY KEY, -- dense: 1, 2, 3, …
        appended_at   INTEGER NOT NULL,    -- milliseconds since 1970, never decreasing
        bytes_through INTEGER NOT NULL,    -- sizes of all events, from the log's first through this one
        event_id      TEXT    NOT NULL,
        timestamp     INTEGER NOT NULL,    -- milliseconds since 1970
        type          TEXT    NOT NULL,
        name          TEXT,
        topic         TEXT    NOT NULL,
        audience      TEXT,                -- json; null is everyone
        json          TEXT    NOT NULL     -- the event, as receivers get it
    ) STRICT;

    CREATE TABLE log (
        id             INTEGER PRIMARY KEY CHECK (id = 1),
        epoch          TEXT    NOT NULL,
        pruned_through INTEGER NOT NULL DEFAULT 0, -- position of the newest event that retention removed
        pruned_bytes   INTEGER NOT NULL DEFAULT 0, -- its bytes_through
        pruned_until   INTEGER,                    -- its appended_at
        unsynced_boot  TEXT                        -- the boot under which appends were not synced, until they are
    ) STRICT;

    -- Written and emptied again to see whether the disk takes as much.
    CREATE TABLE probe (
        id     INTEGER PRIMARY KEY CHECK (id = 1),
        filler BLOB NOT NULL
    ) STRICT;
    INSERT INTO probe VALUES (1, x'');
",
"
    ALTER TABLE events ADD COLUMN priority     INTEGER NOT NULL DEFAULT 3; -- 1 to 5
    ALTER TABLE events ADD COLUMN tags         TEXT;    -- json; null is none
    ALTER TABLE events ADD COLUMN expires_at   INTEGER; -- milliseconds since 1970
    ALTER TABLE events ADD COLUMN collapse_key TEXT;
    ALTER TABLE events ADD COLUMN task_id      TEXT;
    ALTER TABLE events ADD COLUMN task_phase   TEXT;    -- underway, last_step or ended; null as task_id is
    ALTER TABLE events ADD COLUMN require_ack  INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE events ADD COLUMN fingerprint  INTEGER; -- 64 bits, if the publisher gave the event_id
    CREATE UNIQUE INDEX events_by_id ON events (event_id);

    -- Which event is the newest of each state, of those with a collapse_key or task_id.
    CREATE TABLE newest (
        position INTEGER PRIMARY KEY, -- the event's
        topic    TEXT NOT NULL,       -- the event's
        state    TEXT NOT NULL,       -- key/COLLAPSE_KEY or task/TASK_ID
        audience TEXT NOT NULL,       -- the event's; '' is everyone
        UNIQUE (topic, state, audience)
    ) STRICT;

    CREATE TABLE memberships (
        group_name TEXT    NOT NULL,
        client_id  TEXT    NOT NULL,
        after      INTEGER NOT NULL, -- position of the newest event before it joined
        through    INTEGER,          -- position of the last event before it left; null while it is a member
        PRIMARY KEY (group_name, client_id, after)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX memberships_that_ended ON memberships (through) WHERE through IS NOT NULL;

    CREATE TABLE clients (
        client_id    TEXT    PRIMARY KEY,
        filter       TEXT    NOT NULL, -- json
        ack          TEXT    NOT NULL, -- auto or manual
        cursor       TEXT    NOT NULL, -- everything up to here is done with
        acknowledged TEXT    NOT NULL, -- json: the positions beyond the cursor, in order
        created_at   INTEGER NOT NULL, -- milliseconds since 1970
        seen_at      INTEGER NOT NULL  -- milliseconds since 1970
    ) STRICT, WITHOUT ROWID;

    -- By position, so that pruning them is a range.
    CREATE TABLE receipts (
        position        INTEGER NOT NULL, -- the event's
        client_id       TEXT    NOT NULL,
        delivered_at    INTEGER,          -- milliseconds since 1970
        acknowledged_at INTEGER,          -- milliseconds since 1970
        PRIMARY KEY (position, client_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX receipts_that_wait ON receipts (client_id, position) WHERE acknowledged_at IS NULL;
",
"
    ALTER TABLE events ADD COLUMN published_by TEXT; -- a principal's name; null is nobody in particular

    -- Whatever else the server keeps, such as its keys.
    CREATE TABLE records (
        kind TEXT NOT NULL, -- such as key
        id   TEXT NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
"];

/// Brings the file to the newest version, each step in a transaction of its own.
pub(super) fn migrate(
    connection: &mut Connection,
    migrations: &[&str],
    mut after_creation: impl FnMut(&Transaction<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let version = version(connection)?;
    for (step, makes) in migrations.iter().zip(1..) {
        if makes <= version {
            continue;
        }
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        if makes == 1 {
            after_creation(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", makes)?;
        transaction.commit()?;
    }
    Ok(())
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The steps that SQLite takes to answer `query` on an empty log.
#[cfg(test)]
pub(super) fn plan(query: &str) -> Vec<String> {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, MIGRATIONS, |_| Ok(())).unwrap();
    let query = format!("EXPLAIN QUERY PLAN {query}");
    let mut statement = connection.prepare(&query).unwrap();
    let steps = statement.raw_query().mapped(|row| row.get("detail"));
    steps.collect::<Result<_, _>>().unwrap()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use notification_event::{
        EncodedEvent, EventId, EventType, Head, Position, Priority, Timestamp,
    };

    use super::*;
    use crate::{Entry, EventLog, SqliteLog, Sync};

    #[test]
    fn a_file_is_migrated_from_any_version_forward() {
        let mut connection = Connection::open_in_memory().unwrap();
        let mut created = 0;
        let mut migrate = |connection: &mut Connection, steps: &[&str]| {
            migrate(connection, steps, |_| {
                created += 1;
                Ok(())
            })
            .unwrap();
        };
        let steps = [
            "CREATE TABLE a (x)",
            "ALTER TABLE a ADD y",
            "CREATE TABLE b (z)",
        ];
        migrate(&mut connection, &steps[..1]);
        connection.execute("INSERT INTO a VALUES (1)", []).unwrap();
        migrate(&mut connection, &steps);
        migrate(&mut connection, &steps);
        assert_eq!(version(&connection).unwrap(), 3);
        assert_eq!(created, 1);
        let kept: (i64, Option<i64>) = connection
            .query_row("SELECT x, y FROM a", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(kept, (1, None));
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = [
            "CREATE TABLE a (x)",
            "CREATE TABLE b (x); CREATE TABLE a (x)",
        ];
        assert!(migrate(&mut connection, &steps, |_| Ok(())).is_err());
        assert_eq!(version(&connection).unwrap(), 1);
        assert!(connection.prepare("SELECT * FROM b").is_err());
    }
    #[tokio::test]
    async fn a_log_of_version_1_keeps_its_events() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = Connection::open(dir.path().join("notifications.db")).unwrap();
        migrate(&mut file, &MIGRATIONS[..1], |transaction| {
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.execute_batch("INSERT INTO log (id, epoch) VALUES (1, '0123abcd')")
        })
        .unwrap();
        file.execute_batch(
            r#"INSERT INTO events VALUES
            (1, 7, 2, 'one', 5, 'progress', NULL, 'ops', '{"clients":["alice"]}', '{}'),
            (2, 8, 4, 'two', 6, 'event', 'a.b', 'ops', NULL, '{}')"#,
        )
        .unwrap();
        drop(file);

        let log = SqliteLog::open(dir.path(), Sync::EachAppend).unwrap();
        let bounds = log.bounds();
        assert_eq!(bounds.epoch.as_str(), "0123abcd");
        assert_eq!((bounds.events(), bounds.bytes), (2, 4));
        let ids = ["one", "two"].map(|id| id.parse::<EventId>().unwrap());
        let found = log.find(ids.to_vec()).await.unwrap();
        let head = |id: &EventId| Head {
            id: id.clone(),
            timestamp: Timestamp::from_millis(5),
            event_type: EventType::Progress,
            name: None,
            topic: "ops".parse().unwrap(),
            audience: Some("clients=alice".parse().unwrap()),
            priority: Priority::Default,
            tags: Arc::default(),
            expires_at: None,
            collapse: None,
            require_ack: false,
            published_by: None,
        };
        let heads = [
            head(&ids[0]),
            Head {
                timestamp: Timestamp::from_millis(6),
                event_type: EventType::Application,
                name: Some("a.b".parse().unwrap()),
                audience: None,
                ..head(&ids[1])
            },
        ];
        let expected = heads.into_iter().zip(1..).map(|(head, position)| {
            let event = EncodedEvent {
                head,
                json: "{}".into(),
                fingerprint: None,
            };
            Some(Entry {
                position: Position(position),
                event,
                is_superseded: false,
            })
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
        let next = log.append(Arc::default(), Timestamp::from_millis(0)).await;
        assert_eq!(next, Ok(Position(3)));
    }
}
