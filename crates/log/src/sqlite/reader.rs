use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use notification_event::{
    Audience, EncodedEvent, EventId, EventName, EventType, Head, ParseError, Position, Timestamp,
    Topic,
};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bounds::{int, position, read_bounds};
use super::{blocking, open};
use crate::search::last_where;
use crate::{Entry, LogError, Page, PageLimit};

/// How many connections read at once. Reads are short and mostly come from the
/// page cache: more would only fight over the processors.
const CONNECTIONS: u32 = 4;

/// The connections that read, opened when they are first needed.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            permits: Arc::new(Semaphore::new(CONNECTIONS as usize)),
            idle: Arc::default(),
        }
    }

    /// Runs `work` in one transaction, so that all it sees is of one moment.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| LogError::Closed)?;
        let (path, idle) = (self.path.clone(), self.idle.clone());
        blocking(move || {
            let pooled = idle.lock().expect("no holder panics").pop();
            let mut connection = match pooled {
                Some(connection) => connection,
                None => open::connect(&path)?,
            };
            let transaction = connection.transaction()?;
            let result = work(&transaction)?;
            transaction.finish()?;
            idle.lock().expect("no holder panics").push(connection);
            drop(permit);
            Ok(result)
        })
        .await
    }

    /// Waits until nobody reads, and keeps it so until the answer is dropped.
    /// None once the readers are closed.
    pub(super) async fn rest(&self) -> Option<OwnedSemaphorePermit> {
        let permits = self.permits.clone();
        permits.acquire_many_owned(CONNECTIONS).await.ok()
    }

    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().expect("no holder panics").clear();
    }
}

const PAGE: &str = "SELECT position, event_id, timestamp, type, name, topic, audience, json
    FROM events WHERE position > ?1 ORDER BY position LIMIT ?2";

pub(super) fn page(
    connection: &Connection,
    after: Position,
    limit: PageLimit,
) -> rusqlite::Result<Page> {
    let mut statement = connection.prepare_cached(PAGE)?;
    let mut rows = statement.query([int(after.0), int(limit.events.max(1) as u64)])?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let entry = entry(row)?;
        bytes += entry.event.size();
        entries.push(entry);
        if bytes >= limit.bytes {
            break;
        }
    }
    let floor = connection
        .prepare_cached("SELECT pruned_through FROM log")?
        .query_row([], |row| position(row, 0))?;
    Ok(Page { floor, entries })
}

/// The last position that was appended before `time`.
pub(super) fn position_at(connection: &Connection, time: Timestamp) -> rusqlite::Result<Position> {
    let bounds = read_bounds(connection)?;
    let mut statement =
        connection.prepare_cached("SELECT appended_at FROM events WHERE position = ?1")?;
    last_where(bounds.floor, bounds.head, |p| {
        let appended_at: i64 = statement.query_row([int(p.0)], |row| row.get(0))?;
        Ok(appended_at < time.as_millis())
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let json: String = row.get(7)?;
    Ok(Entry {
        position: position(row, 0)?,
        event: EncodedEvent {
            head: Head {
                id: parsed::<EventId>(row, 1)?,
                timestamp: Timestamp::from_millis(row.get(2)?),
                event_type: parsed::<EventType>(row, 3)?,
                name: match row.get_ref(4)? {
                    rusqlite::types::ValueRef::Null => None,
                    _ => Some(parsed::<EventName>(row, 4)?),
                },
                topic: parsed::<Topic>(row, 5)?,
                audience: audience(row, 6)?,
            },
            json: json.into(),
        },
    })
}

fn audience(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Audience>> {
    let Some(json) = row.get::<_, Option<String>>(column)? else {
        return Ok(None);
    };
    let parse = || -> Result<Audience, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Audience::parse(serde_json::from_str(&json)?)?)
    };
    parse()
        .map(Some)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error))
}

fn parsed<T: std::str::FromStr<Err = ParseError>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error: ParseError| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

#[cfg(test)]
mod tests {
    use super::super::schema::{MIGRATIONS, migrate};
    use super::*;

    #[test]
    fn a_page_is_a_range_of_the_key() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, MIGRATIONS, |_| Ok(())).unwrap();
        let plan: String = connection
            .query_row(&format!("EXPLAIN QUERY PLAN {PAGE}"), [1, 1], |row| {
                row.get("detail")
            })
            .unwrap();
        assert_eq!(plan, "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)");
    }
}
