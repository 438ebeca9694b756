use notification_event::{Position, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use super::value::{optional_timestamp, parsed, position};
use crate::Bounds;

/// What the file holds.
pub(super) fn read_bounds(connection: &Connection) -> rusqlite::Result<Bounds> {
    let newest = Newest::read(connection)?;
    connection.query_row(
        "SELECT epoch, pruned_through, pruned_bytes, pruned_until FROM log",
        [],
        |row| {
            let pruned_bytes = row.get::<_, i64>(2)?.cast_unsigned();
            Ok(Bounds {
                epoch: parsed(row, 0)?,
                floor: position(row, 1)?,
                head: newest.position,
                bytes: newest.bytes_through.saturating_sub(pruned_bytes),
                pruned_until: optional_timestamp(row, 3)?,
            })
        },
    )
}

/// What the newest event says about those before it.
pub(super) struct Newest {
    pub(super) position: Position,
    pub(super) appended_at: Timestamp,
    pub(super) bytes_through: u64,
}

impl Newest {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let newest = connection
            .prepare_cached(
                "SELECT position, appended_at, bytes_through FROM events
                 ORDER BY position DESC LIMIT 1",
            )?
            .query_row([], Self::from_row)
            .optional()?;
        match newest {
            Some(newest) => Ok(newest),
            None => connection
                .prepare_cached("SELECT pruned_through, pruned_until, pruned_bytes FROM log")?
                .query_row([], Self::from_row),
        }
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let appended_at: Option<i64> = row.get(1)?;
        Ok(Self {
            position: position(row, 0)?,
            appended_at: Timestamp::from_millis(appended_at.unwrap_or(i64::MIN)),
            bytes_through: row.get::<_, i64>(2)?.cast_unsigned(),
        })
    }
}
