use notification_event::{Epoch, Position, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::Bounds;

/// What the file holds.
pub(super) fn read_bounds(connection: &Connection) -> rusqlite::Result<Bounds> {
    let head = Head::read(connection)?;
    connection.query_row(
        "SELECT epoch, pruned_through, pruned_bytes, pruned_until FROM log",
        [],
        |row| {
            let epoch: String = row.get(0)?;
            let pruned_bytes = row.get::<_, i64>(2)?.cast_unsigned();
            Ok(Bounds {
                epoch: epoch.parse::<Epoch>().map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
                })?,
                floor: position(row, 1)?,
                head: head.position,
                bytes: head.bytes_through.saturating_sub(pruned_bytes),
                pruned_until: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
            })
        },
    )
}

/// What the newest event says about those before it.
pub(super) struct Head {
    pub(super) position: Position,
    pub(super) appended_at: Timestamp,
    pub(super) bytes_through: u64,
}

impl Head {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let newest = connection
            .prepare_cached(
                "SELECT position, appended_at, bytes_through FROM events
                 ORDER BY position DESC LIMIT 1",
            )?
            .query_row([], Self::from_row)
            .optional()?;
        match newest {
            Some(head) => Ok(head),
            None => connection
                .prepare_cached("SELECT pruned_through, pruned_until, pruned_bytes FROM log")?
                .query_row([], Self::from_row),
        }
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let appended_at: Option<i64> = row.get(1)?;
        Ok(Self {
            position: position(row, 0)?,
            appended_at: Timestamp::from_millis(appended_at.unwrap_or(i64::MIN)),
            bytes_through: row.get::<_, i64>(2)?.cast_unsigned(),
        })
    }
}

pub(super) fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<Position> {
    Ok(Position(row.get::<_, i64>(column)?.cast_unsigned()))
}

/// SQLite's integers are signed; what is beyond them is beyond every position.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
