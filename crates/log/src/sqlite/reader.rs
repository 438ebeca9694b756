use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use notification_event::{EventId, Position, Timestamp};
use rusqlite::{Connection, OptionalExtension, Rows};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bounds::read_bounds;
use super::entry::{entry, select_entries};
use super::value::{int, position};
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

const PAGE: &str = select_entries!(
    "FROM events LEFT JOIN newest ON newest.position = events.position
     WHERE events.position > ?1 ORDER BY events.position LIMIT ?2"
);

// CROSS JOIN: SQLite reads the left table first.
const NEWEST_PAGE: &str = select_entries!(
    "FROM newest CROSS JOIN events ON events.position = newest.position
     WHERE newest.position > ?1 AND newest.position <= ?2 ORDER BY newest.position LIMIT ?3"
);

const FIND: &str = select_entries!(
    "FROM events LEFT JOIN newest ON newest.position = events.position WHERE event_id = ?1"
);

pub(super) fn page(
    connection: &Connection,
    after: Position,
    limit: PageLimit,
) -> rusqlite::Result<Page> {
    let mut statement = connection.prepare_cached(PAGE)?;
    let rows = statement.query([int(after.0), most(limit)])?;
    fill(connection, rows, limit)
}

pub(super) fn newest_page(
    connection: &Connection,
    after: Position,
    through: Position,
    limit: PageLimit,
) -> rusqlite::Result<Page> {
    let mut statement = connection.prepare_cached(NEWEST_PAGE)?;
    let rows = statement.query([int(after.0), int(through.0), most(limit)])?;
    fill(connection, rows, limit)
}

fn most(limit: PageLimit) -> i64 {
    int(limit.events.max(1) as u64)
}

fn fill(connection: &Connection, mut rows: Rows<'_>, limit: PageLimit) -> rusqlite::Result<Page> {
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

pub(super) fn find(
    connection: &Connection,
    ids: &[EventId],
) -> rusqlite::Result<Vec<Option<Entry>>> {
    let mut statement = connection.prepare_cached(FIND)?;
    let found = ids.iter().map(|id| {
        let found = statement.query_row([id.as_str()], entry);
        found.optional()
    });
    found.collect()
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

#[cfg(test)]
mod tests {
    use super::super::schema::plan;
    use super::*;

    #[test]
    fn every_page_is_a_range_of_a_key() {
        let check = |query: &str, expected: &[&str]| assert_eq!(plan(query), expected, "{query}");
        check(
            PAGE,
            &[
                "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)",
                "SEARCH newest USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN",
            ],
        );
        check(
            NEWEST_PAGE,
            &[
                "SEARCH newest USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
                "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)",
            ],
        );
        check(
            FIND,
            &[
                "SEARCH events USING INDEX events_by_id (event_id=?)",
                "SEARCH newest USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN",
            ],
        );
    }
}
