use std::time::Duration;

use notification_event::{Epoch, Position, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::bounds::{Newest, read_bounds};
use super::reader::position_at;
use super::value::int;
use super::wal::Wal;
use super::{Sync, entry, records};
use crate::search::last_where;
use crate::{Bounds, Commit, Retention};

/// The one connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    wal: Wal,
}

impl Writer {
    /// Takes over a connection whose schema is up to date.
    pub(super) fn new(mut connection: Connection, sync: Sync) -> rusqlite::Result<(Self, Bounds)> {
        let boot = boot_id();
        begin_epoch_after_power_cut(&connection, &boot)?;
        let (synchronous, unsynced_boot) = match sync {
            Sync::EachAppend => ("FULL", None),
            Sync::Eventually => ("NORMAL", Some(boot)),
        };
        // Synced itself, which also syncs whatever an earlier run left unsynced.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute("UPDATE log SET unsynced_boot = ?1", [unsynced_boot])?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        let bounds = read_bounds(&connection)?;
        let wal = Wal::of(&mut connection)?;
        let writer = Self { connection, wal };
        Ok((writer, bounds))
    }

    pub(super) fn append(
        &mut self,
        bounds: &mut Bounds,
        commit: &Commit,
        now: Timestamp,
    ) -> rusqlite::Result<Position> {
        let transaction = self.begin()?;
        // Read again and not taken from memory: a commit that failed may have succeeded all the same.
        let mut newest = Newest::read(&transaction)?;
        let head = newest.position;
        newest.appended_at = newest.appended_at.max(now);
        for event in &commit.events {
            newest.position = newest.position.plus(1);
            newest.bytes_through += event.size() as u64;
            entry::insert(&transaction, &newest, event)?;
        }
        for change in &commit.changes {
            records::make(&transaction, change, head)?;
        }
        transaction.commit()?;
        bounds.head = newest.position;
        let events = commit.events.iter();
        bounds.bytes += events.map(|event| event.size() as u64).sum::<u64>();
        Ok(head.plus(1))
    }

    pub(super) fn prune(
        &mut self,
        bounds: &mut Bounds,
        retention: &Retention,
        now: Timestamp,
        limit: u64,
    ) -> rusqlite::Result<u64> {
        // Read again, because an earlier step may have ended between its commit and this.
        *bounds = read_bounds(&self.connection)?;
        let keep_after = keep_after(&self.connection, bounds, retention, now)?;
        let count = keep_after.since(bounds.floor).min(limit);
        if count == 0 {
            self.give_back_pages()?;
            return Ok(0);
        }
        let through = bounds.floor.plus(count);
        let transaction = self.begin()?;
        transaction
            .prepare_cached(
                "UPDATE log SET (pruned_through, pruned_bytes, pruned_until) =
                 (SELECT position, bytes_through, appended_at FROM events WHERE position = ?1)",
            )?
            .execute([int(through.0)])?;
        transaction
            .prepare_cached("DELETE FROM events WHERE position <= ?1")?
            .execute([int(through.0)])?;
        records::prune(&transaction, through)?;
        transaction.commit()?;
        *bounds = read_bounds(&self.connection)?;
        self.give_back_pages()?;
        Ok(count)
    }

    /// Gives pages that hold nothing any more back to the disk, a step at a
    /// time. Some stay, for the events that come next.
    fn give_back_pages(&mut self) -> rusqlite::Result<()> {
        const STAY: i64 = 1_000;
        const STEP: i64 = 1_000;
        let free: i64 = self
            .connection
            .pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        let pages = (free - STAY).min(STEP);
        if pages <= 0 {
            return Ok(());
        }
        let vacuum = format!("PRAGMA incremental_vacuum({pages})");
        let mut statement = self.connection.prepare(&vacuum)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    pub(super) fn probe(&mut self, bytes: usize) -> rusqlite::Result<()> {
        let mut fill = |bytes: usize| {
            let transaction = self.begin()?;
            transaction.execute(
                "UPDATE probe SET filler = zeroblob(?1)",
                [int(bytes as u64)],
            )?;
            transaction.commit()
        };
        let filled = fill(bytes);
        // Also when that failed: an earlier probe may have been left behind.
        fill(0).and(filled)
    }

    /// Whether enough was written for a checkpoint.
    pub(super) fn is_checkpoint_due(&mut self) -> bool {
        self.wal.is_checkpoint_due()
    }

    /// Moves what is in the WAL into the main file. If nobody reads meanwhile,
    /// that is all of it, and the WAL begins anew instead of growing.
    pub(super) fn checkpoint(&mut self) -> rusqlite::Result<()> {
        self.wal.checkpoint();
        self.connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    /// Puts everything into the main file, synced.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        let connection = self.connection;
        // Somebody who looks at the file from outside is not waited for.
        connection.busy_timeout(Duration::from_millis(500))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute("UPDATE log SET unsynced_boot = NULL", [])?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)
    }

    fn begin(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
    }
}

/// The newest position that `retention` does not keep.
fn keep_after(
    connection: &Connection,
    bounds: &Bounds,
    retention: &Retention,
    now: Timestamp,
) -> rusqlite::Result<Position> {
    let (floor, head) = (bounds.floor, bounds.head);
    let mut keep_after = floor;
    if let Some(age) = retention.max_age {
        keep_after = keep_after.max(position_at(connection, now.before(age))?);
    }
    if let Some(max) = retention.max_events {
        keep_after = keep_after.max(Position(head.0.saturating_sub(max)));
    }
    if let Some(max) = retention.max_bytes
        && bounds.bytes > max
    {
        let newest = Newest::read(connection)?.bytes_through;
        let mut statement =
            connection.prepare_cached("SELECT bytes_through FROM events WHERE position = ?1")?;
        // Kept must be at most `max`, so this removes one more than the last that is over it.
        let over = last_where(floor, head, |p| {
            let through = statement.query_row([int(p.0)], |row| row.get::<_, i64>(0))?;
            Ok::<_, rusqlite::Error>(newest - through.cast_unsigned() > max)
        })?;
        keep_after = keep_after.max(over.plus(1).min(head));
    }
    Ok(keep_after)
}

/// A power cut under [`Sync::Eventually`] may have taken events whose cursors
/// are out there, and whose positions will be given again. A new epoch makes
/// those cursors a gap that is noticed, and no membership is left to reach into
/// those positions.
fn begin_epoch_after_power_cut(connection: &Connection, boot: &str) -> rusqlite::Result<()> {
    let unsynced: Option<String> =
        connection.query_row("SELECT unsynced_boot FROM log", [], |row| row.get(0))?;
    if unsynced.is_some_and(|unsynced| unsynced != boot) {
        tracing::warn!(
            "this machine stopped while events were not yet synced to its disk, so the newest may \
             be gone; a new epoch begins, and every cursor given out before is reported as a gap"
        );
        let epoch = Epoch::generate();
        connection.execute("UPDATE log SET epoch = ?1", [epoch.as_str()])?;
        records::cut_off(connection, Newest::read(connection)?.position)?;
    }
    Ok(())
}

/// What changes when the machine starts again; the same everywhere if the
/// platform does not say.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or("unknown".to_owned(), |id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::open;

    #[test]
    fn each_setting_syncs_as_it_says() {
        for (sync, expected) in [(Sync::EachAppend, 2), (Sync::Eventually, 1)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log.db");
            std::fs::File::create(&path).unwrap();
            let (writer, _) = Writer::new(open::open(&path).unwrap(), sync).unwrap();
            let synchronous: i64 = writer
                .connection
                .pragma_query_value(None, "synchronous", |row| row.get(0))
                .unwrap();
            assert_eq!(synchronous, expected, "{sync:?}; 2 is FULL, 1 is NORMAL");
        }
    }
}
