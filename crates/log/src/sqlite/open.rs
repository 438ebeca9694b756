use std::path::{Path, PathBuf};
use std::time::Duration;

use notification_event::Epoch;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema::{APPLICATION_ID, MIGRATIONS, migrate, version};

/// Why a log was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the data directory {} is in use by {}; stop that server or choose another directory",
        data_dir.display(), describe(*holder)
    )]
    Locked {
        /// The directory.
        data_dir: PathBuf,
        /// The process that has it, as far as it said.
        holder: Option<u32>,
    },
    /// A newer version of this program wrote it.
    #[error(
        "{} has schema version {found}, and this program knows versions up to {supported}; \
         run the newer program that wrote it, or choose another data directory",
        path.display()
    )]
    FutureVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this program reads.
        supported: u32,
    },
    /// It is an SQLite database of something else.
    #[error(
        "{} is a database, but not a notification log; choose another data directory",
        path.display()
    )]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// Its contents are not sound.
    #[error(
        "{} is damaged ({detail}); nothing was changed. Restore a copy of it, save what it \
         still holds with `sqlite3 {} .recover`, or move it away to begin a new log",
        path.display(), path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The operating system refuses.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// SQLite refuses.
    #[error("cannot open {}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

fn describe(holder: Option<u32>) -> String {
    holder.map_or("another process".into(), |pid| format!("process {pid}"))
}

impl OpenError {
    pub(super) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged {
                path,
                detail: source.to_string(),
            },
            _ => Self::Sqlite { path, source },
        }
    }
}

/// Opens the file for writing: checks whose it is and that it is sound, brings
/// it to the newest schema, or makes it a log.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |error| OpenError::from_sqlite(path, error);
    let mut connection = connect(path).map_err(sqlite)?;
    // Until it is known to be ours, not even what is ready to be is written into it.
    let checkpoint_on_close = |connection: &Connection, on: bool| {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !on)
    };
    checkpoint_on_close(&connection, false).map_err(sqlite)?;
    let is_new = is_new(&connection).map_err(sqlite)?;
    if !is_new {
        check(&connection, path)?;
    }
    checkpoint_on_close(&connection, true).map_err(sqlite)?;
    prepare(&mut connection, is_new).map_err(sqlite)?;
    Ok(connection)
}

/// A connection to the file, in the settings that all of ours share.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // People may look at the file with other tools while the server runs.
    connection.busy_timeout(Duration::from_secs(5))?;
    // As many as there are statements, about.
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Whether there is nothing in it: it was just made, or making it a log was interrupted.
fn is_new(connection: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0 && application_id(connection)? == 0 && version(connection)? == 0)
}

fn application_id(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::from_sqlite(path, error);
    let path = path.to_owned();
    if application_id(connection).map_err(sqlite)? != APPLICATION_ID {
        return Err(OpenError::NotALog { path });
    }
    let (found, supported) = (
        version(connection).map_err(sqlite)?,
        MIGRATIONS.len() as u32,
    );
    if found > supported {
        return Err(OpenError::FutureVersion {
            path,
            found,
            supported,
        });
    }
    let detail: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(sqlite)?;
    match detail.as_str() {
        "ok" => Ok(()),
        _ => Err(OpenError::Damaged {
            path,
            detail: detail.replace('\n', " "),
        }),
    }
}

fn prepare(connection: &mut Connection, is_new: bool) -> rusqlite::Result<()> {
    if is_new {
        // Before the first table; so that what retention frees goes back to the disk.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The writer does it, at moments when nobody reads.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // What one burst made large does not stay large.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    migrate(connection, MIGRATIONS, |transaction| {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        let epoch = Epoch::generate();
        transaction.execute(
            "INSERT INTO log (id, epoch) VALUES (1, ?1)",
            [epoch.as_str()],
        )?;
        Ok(())
    })
}
