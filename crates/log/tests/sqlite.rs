//! The log in SQLite keeps the contract, and what it holds survives.

use std::fs;
use std::path::Path;

use notification_event::{Draft, EncodedEvent, Event, Position, Timestamp};
use notification_log::{EventLog, LogError, OpenError, PageLimit, Retention, SqliteLog, Sync};
use serde_json::json;
use tempfile::TempDir;

notification_log::contract_tests!({
    let dir = TempDir::new().unwrap();
    (open(dir.path()), dir)
});

fn open(dir: &Path) -> SqliteLog {
    SqliteLog::open(dir, Sync::EachAppend).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_millis(0)
}

fn events(count: usize) -> Vec<EncodedEvent> {
    let draft = Draft::parse(json!({"type": "notification", "message": "m".repeat(500)}));
    vec![Event::new(draft.unwrap(), now()).encode(); count]
}

async fn positions(log: &SqliteLog) -> Vec<u64> {
    let all = PageLimit {
        events: usize::MAX,
        bytes: usize::MAX,
    };
    let page = log.read(Position::START, all).await.unwrap();
    page.entries.into_iter().map(|e| e.position.0).collect()
}

/// A directory with a log of ten events that was closed.
async fn closed_log() -> TempDir {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.append(events(10).into(), now()).await.unwrap();
    log.close().await.unwrap();
    dir
}

fn execute(dir: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(dir.join("notifications.db")).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_log_is_the_same_after_it_was_killed_or_closed() {
    for sync in [Sync::EachAppend, Sync::Eventually] {
        let dir = TempDir::new().unwrap();
        let log = SqliteLog::open(dir.path(), sync).unwrap();
        log.append(events(3).into(), now()).await.unwrap();
        let retention = Retention {
            max_events: Some(2),
            ..Retention::default()
        };
        log.prune(&retention, now(), 10).await.unwrap();
        let bounds = log.bounds();

        // What a kill leaves behind: a WAL that is not in the main file.
        let killed = TempDir::new().unwrap();
        for file in ["notifications.db", "notifications.db-wal"] {
            fs::copy(dir.path().join(file), killed.path().join(file)).unwrap();
        }
        drop(log);
        assert!(!killed.path().join("notifications.db-shm").exists());
        let dir = killed;

        let log = SqliteLog::open(dir.path(), sync).unwrap();
        assert_eq!(log.bounds(), bounds);
        assert_eq!(positions(&log).await, [2, 3]);
        log.close().await.unwrap();
        drop(log);

        let log = SqliteLog::open(dir.path(), sync).unwrap();
        assert_eq!(log.bounds(), bounds);
        let next = log.append(events(1).into(), now()).await.unwrap();
        assert_eq!(next, Position(4));
    }
}

#[tokio::test]
async fn a_second_server_is_kept_out_until_the_first_is_gone() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path());
    let refused = SqliteLog::open(dir.path(), Sync::EachAppend).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Locked { holder, .. } if *holder == Some(std::process::id())),
        "{refused}"
    );
    drop(first);
    open(dir.path());
}

/// Opening is refused as `expected`, and leaves every byte as it was.
fn refused_and_untouched(dir: &Path, expected: impl Fn(&OpenError) -> bool) {
    let path = dir.join("notifications.db");
    let before = fs::read(&path).unwrap();
    let refused = SqliteLog::open(dir, Sync::EachAppend).unwrap_err();
    assert!(expected(&refused), "{refused:?}");
    assert!(!refused.to_string().contains('\n'), "{refused}");
    assert!(
        refused.to_string().contains(path.to_str().unwrap()),
        "{refused}"
    );
    assert!(before == fs::read(&path).unwrap(), "the file was changed");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = closed_log().await;
    execute(dir.path(), "PRAGMA user_version = 99");
    // Also with a WAL that waits to be moved into the file.
    let path = dir.path().join("notifications.db");
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.execute_batch("UPDATE log SET epoch = epoch").unwrap();
    let wal = path.with_extension("db-wal");
    let left_behind = fs::read(&wal).unwrap();
    drop(newer);
    fs::write(&wal, left_behind).unwrap();
    refused_and_untouched(dir.path(), |e| {
        matches!(e, OpenError::FutureVersion { found: 99, .. })
    });
}

#[tokio::test]
async fn making_a_log_may_be_interrupted_at_any_time() {
    let steps = [
        "",
        "PRAGMA auto_vacuum = INCREMENTAL; VACUUM",
        "PRAGMA journal_mode = WAL",
    ];
    for step in steps {
        let dir = TempDir::new().unwrap();
        execute(dir.path(), step);
        let log = open(dir.path());
        log.append(events(1).into(), now()).await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_that_was_thought_to_have_failed_keeps_its_place() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.append(events(1).into(), now()).await.unwrap();
    // As a commit does that succeeded after all.
    execute(
        dir.path(),
        "INSERT INTO events SELECT 2, appended_at, bytes_through * 2, event_id,
        timestamp, type, name, topic, audience, json FROM events",
    );
    let next = log.append(events(1).into(), now()).await.unwrap();
    assert_eq!(next, Position(3));
    assert_eq!(positions(&log).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wal_stays_small_however_much_is_read() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.append(events(1_000).into(), now()).await.unwrap();
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move {
                loop {
                    let page = PageLimit {
                        events: 500,
                        bytes: usize::MAX,
                    };
                    log.read(Position::START, page).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..200 {
        log.append(events(500).into(), now()).await.unwrap();
    }
    readers.iter().for_each(|reader| reader.abort());
    let wal = fs::metadata(dir.path().join("notifications.db-wal"))
        .unwrap()
        .len();
    assert!(
        wal < 16 << 20,
        "the WAL has {wal} bytes after 100 MB of events"
    );
}

#[tokio::test]
async fn a_database_of_something_else_is_refused() {
    let dir = TempDir::new().unwrap();
    execute(dir.path(), "CREATE TABLE accounts (id)");
    refused_and_untouched(dir.path(), |e| matches!(e, OpenError::NotALog { .. }));
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let damage: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[..16].fill(b'x'),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes[4096..].fill(0xff),
        |bytes| *bytes = b"these are my holiday notes".to_vec(),
    ];
    for damage in damage {
        let dir = closed_log().await;
        let path = dir.path().join("notifications.db");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        refused_and_untouched(dir.path(), |e| matches!(e, OpenError::Damaged { .. }));
    }
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_damage_and_not_a_crash() {
    let dir = closed_log().await;
    execute(
        dir.path(),
        "UPDATE events SET topic = 'no topic!' WHERE position = 5",
    );
    let log = open(dir.path());
    let all = PageLimit {
        events: 100,
        bytes: usize::MAX,
    };
    let read = log.read(Position::START, all).await;
    assert!(matches!(read, Err(LogError::Damaged(_))), "{read:?}");
    let before = PageLimit { events: 4, ..all };
    assert_eq!(
        log.read(Position::START, before)
            .await
            .unwrap()
            .entries
            .len(),
        4
    );
}

#[tokio::test]
async fn a_power_cut_with_unsynced_appends_begins_a_new_epoch() {
    let dir = TempDir::new().unwrap();
    let log = SqliteLog::open(dir.path(), Sync::Eventually).unwrap();
    let epoch = log.bounds().epoch;
    drop(log);
    let log = SqliteLog::open(dir.path(), Sync::Eventually).unwrap();
    assert_eq!(
        log.bounds().epoch,
        epoch,
        "the process ended, not the machine"
    );
    drop(log);

    execute(
        dir.path(),
        "UPDATE log SET unsynced_boot = 'the boot before'",
    );
    let log = SqliteLog::open(dir.path(), Sync::Eventually).unwrap();
    let after_power_cut = log.bounds().epoch;
    assert_ne!(after_power_cut, epoch);
    log.close().await.unwrap();
    drop(log);

    let log = open(dir.path());
    assert_eq!(
        log.bounds().epoch,
        after_power_cut,
        "it was closed in order"
    );
}

#[tokio::test]
async fn what_retention_frees_goes_back_to_the_disk() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    for _ in 0..40 {
        log.append(events(1_000).into(), now()).await.unwrap();
    }
    let path = dir.path().join("notifications.db");
    let retention = Retention {
        max_events: Some(10),
        ..Retention::default()
    };
    while log.prune(&retention, now(), 10_000).await.unwrap() > 0 {}
    for _ in 0..20 {
        // Nothing is left to prune, but pages are left to give back.
        log.prune(&retention, now(), 10_000).await.unwrap();
    }
    log.close().await.unwrap();
    let size = fs::metadata(path).unwrap().len();
    assert!(
        size < 5_000_000,
        "{size} bytes for ten events, after 28 million"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_taken_away_is_noticed_and_not_written_to() {
    let take_away: [fn(&Path); 4] = [
        |path| fs::remove_file(path.with_extension("db-wal")).unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| fs::rename(path, path.with_extension("old")).unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            fs::write(path, "another file").unwrap();
        },
    ];
    for take_away in take_away {
        let dir = TempDir::new().unwrap();
        let log = open(dir.path());
        log.append(events(1).into(), now()).await.unwrap();
        log.check().await.unwrap();
        take_away(&dir.path().join("notifications.db"));
        let checked = log.check().await;
        assert!(matches!(checked, Err(LogError::Damaged(_))), "{checked:?}");
        let appended = log.append(events(1).into(), now()).await;
        assert!(
            matches!(appended, Err(LogError::Damaged(_))),
            "{appended:?}"
        );
        let probed = log.probe(0).await;
        assert!(matches!(probed, Err(LogError::Damaged(_))), "{probed:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_their_owners_alone_in_any_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let log = open(dir.path());
    log.append(events(1).into(), now()).await.unwrap();
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_data_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("deep/er");
    open(&data);
    let mode = fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
