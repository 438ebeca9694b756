use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;

/// How many pages are written, about, before they are moved from the WAL into
/// the main file: 8 MiB.
const CHECKPOINT: u32 = 2_048;

/// How much is in the WAL, as SQLite counts it.
#[derive(Debug)]
pub(super) struct Wal {
    /// Its pages after the newest commit.
    pages: Arc<AtomicU32>,
    /// How many of them there were when the newest checkpoint began.
    seen: u32,
}

impl Wal {
    /// Counts what `connection` writes from now on.
    pub(super) fn of(connection: &mut Connection) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicU32::new(0));
        let count = pages.clone();
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, in_wal| {
            count.store(u32::try_from(in_wal).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { pages, seen: 0 })
    }

    /// Whether enough was written for a checkpoint since the last. One that
    /// failed, or that a reader kept from its end, is not tried again at once.
    pub(super) fn is_checkpoint_due(&mut self) -> bool {
        let pages = self.pages();
        if pages < self.seen {
            // It has begun anew.
            self.seen = 0;
        }
        pages - self.seen >= CHECKPOINT
    }

    /// A checkpoint begins.
    pub(super) fn checkpoint(&mut self) {
        self.seen = self.pages();
    }

    fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }
}
