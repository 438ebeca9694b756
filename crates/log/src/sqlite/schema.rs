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

#[cfg(test)]
mod tests {
    use super::*;

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
}
