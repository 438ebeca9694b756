//! The log in one SQLite file, in WAL mode: one connection writes, a few read.

mod bounds;
mod data_dir;
mod entry;
mod log_file;
mod open;
mod reader;
mod records;
mod schema;
mod value;
mod wal;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use notification_event::{ClientId, EventId, Position, Timestamp};
use rusqlite::ErrorCode;

use self::data_dir::DataDirLock;
use self::log_file::LogFile;
pub use self::open::OpenError;
use self::reader::Readers;
use self::writer::Writer;
use crate::{
    Bounds, Commit, Entry, EventLog, LogError, Page, PageLimit, Receipt, Records, Retention,
};

/// When an append is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it returns: it survives a power cut.
    EachAppend,
    /// When the operating system gets to it: it survives the end of the
    /// process, however violent. After a power cut the newest events may be
    /// gone; the log then begins a new epoch, so that this is noticed.
    Eventually,
}

/// A log in the file `notifications.db` of a data directory.
#[derive(Clone, Debug)]
pub struct SqliteLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    // A std mutex, held across file accesses: only blocking threads take it.
    writer: Mutex<Option<Writer>>,
    readers: Readers,
    // Apart from the writer, so that reading the bounds never waits for a disk.
    bounds: Mutex<Bounds>,
    file: LogFile,
    wal: LogFile,
    /// None once the log is closed: then another may open it.
    lock: Mutex<Option<DataDirLock>>,
}

impl SqliteLog {
    /// Opens the log in `data_dir`, and creates both as needed. Blocks while it
    /// reads the whole file once to see that it is sound.
    pub fn open(data_dir: &Path, sync: Sync) -> Result<Self, OpenError> {
        let lock = DataDirLock::acquire(data_dir)?;
        let path = data_dir.join("notifications.db");
        let file = LogFile::create(&path)?;
        let connection = open::open(&path)?;
        let (writer, bounds) =
            Writer::new(connection, sync).map_err(|error| OpenError::from_sqlite(&path, error))?;
        let wal = LogFile::open(&data_dir.join("notifications.db-wal"))?;
        Ok(Self {
            shared: Arc::new(Shared {
                writer: Mutex::new(Some(writer)),
                readers: Readers::new(path),
                bounds: Mutex::new(bounds),
                file,
                wal,
                lock: Mutex::new(Some(lock)),
            }),
        })
    }

    /// Runs `work` like [`write`](Self::write), and then a checkpoint if one is due.
    async fn write_and_checkpoint<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer, &mut Bounds) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let work = |writer: &mut Writer, bounds: &mut Bounds| {
            let result = work(writer, bounds)?;
            Ok((result, writer.is_checkpoint_due()))
        };
        let (result, is_checkpoint_due) = self.write(work).await?;
        if is_checkpoint_due {
            self.checkpoint().await;
        }
        Ok(result)
    }

    /// Moves the WAL into the main file while no reader is at work: one that is
    /// would keep a part of it where it is, and four that never rest would keep
    /// all of it for ever. What was appended is committed whatever comes of this.
    async fn checkpoint(&self) {
        let readers_rest = self.shared.readers.rest().await;
        if let Err(error) = self.write(|writer, _| writer.checkpoint()).await {
            tracing::warn!(%error, "the log's WAL could not be moved into its file");
        }
        drop(readers_rest);
    }

    /// Runs `work` with the writing connection on a thread that may block.
    /// Whatever it did to the bounds is seen once it has succeeded.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer, &mut Bounds) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let shared = self.shared.clone();
        blocking(move || {
            let mut guard = shared.writer.lock().expect("no holder panics");
            let writer = guard.as_mut().ok_or(LogError::Closed)?;
            shared.check_files()?;
            let mut bounds = shared.bounds();
            let result = work(writer, &mut bounds)?;
            *shared.bounds.lock().expect("no holder panics") = bounds;
            Ok(result)
        })
        .await
    }
}

impl Shared {
    fn check_files(&self) -> Result<(), LogError> {
        self.file.check()?;
        self.wal.check()
    }

    fn bounds(&self) -> Bounds {
        *self.bounds.lock().expect("no holder panics")
    }
}

#[async_trait]
impl EventLog for SqliteLog {
    fn bounds(&self) -> Bounds {
        self.shared.bounds()
    }

    async fn append(&self, commit: Arc<Commit>, now: Timestamp) -> Result<Position, LogError> {
        self.write_and_checkpoint(move |writer, bounds| writer.append(bounds, &commit, now))
            .await
    }

    async fn read(&self, after: Position, limit: PageLimit) -> Result<Page, LogError> {
        self.shared
            .readers
            .read(move |connection| reader::page(connection, after, limit))
            .await
    }

    async fn read_newest(
        &self,
        after: Position,
        through: Position,
        limit: PageLimit,
    ) -> Result<Page, LogError> {
        self.shared
            .readers
            .read(move |connection| reader::newest_page(connection, after, through, limit))
            .await
    }

    async fn find(&self, ids: Vec<EventId>) -> Result<Vec<Option<Entry>>, LogError> {
        self.shared
            .readers
            .read(move |connection| reader::find(connection, &ids))
            .await
    }

    async fn records(&self) -> Result<Records, LogError> {
        self.shared.readers.read(records::records).await
    }

    async fn receipts(&self, event: EventId) -> Result<Vec<Receipt>, LogError> {
        self.shared
            .readers
            .read(move |connection| records::receipts(connection, &event))
            .await
    }

    async fn unacknowledged(
        &self,
        client: ClientId,
        through: Position,
    ) -> Result<Vec<EventId>, LogError> {
        self.shared
            .readers
            .read(move |connection| records::unacknowledged(connection, &client, through))
            .await
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, LogError> {
        self.shared
            .readers
            .read(move |connection| reader::position_at(connection, time))
            .await
    }

    async fn prune(
        &self,
        retention: &Retention,
        now: Timestamp,
        limit: u64,
    ) -> Result<u64, LogError> {
        let retention = retention.clone();
        self.write_and_checkpoint(move |writer, bounds| {
            writer.prune(bounds, &retention, now, limit)
        })
        .await
    }

    async fn probe(&self, bytes: usize) -> Result<(), LogError> {
        // On a full disk this makes room: what is in the WAL mostly has a place
        // in the main file already, and the WAL can then be written anew.
        self.checkpoint().await;
        self.write(move |writer, _| writer.probe(bytes)).await
    }

    async fn check(&self) -> Result<(), LogError> {
        self.shared.check_files()
    }

    async fn close(&self) -> Result<(), LogError> {
        self.shared.readers.close();
        let shared = self.shared.clone();
        blocking(move || {
            let writer = shared.writer.lock().expect("no holder panics").take();
            writer.ok_or(LogError::Closed)?.close()?;
            shared.lock.lock().expect("no holder panics").take();
            Ok(())
        })
        .await
    }
}

/// Runs file accesses where they hold up no task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(LogError::Closed),
    }
}

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> Self {
        let damaged = match &error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::QueryReturnedNoRows => true,
            other => matches!(
                other.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
        };
        match damaged {
            true => Self::Damaged(error.to_string()),
            false => Self::Unavailable(error.to_string()),
        }
    }
}
