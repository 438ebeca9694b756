//! The log in SQLite keeps the contract, and what it holds survives.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use notification_event::{Cursor, Draft, EncodedEvent, Event, Filter, Position, Timestamp};
use notification_log::{
    AckMode, Change, ClientRecord, Commit, EventLog, LogError, Membership, OpenError, PageLimit,
    Receipt, Retention, SqliteLog, Sync,
};
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

const ALL: PageLimit = PageLimit {
    events: usize::MAX,
    bytes: usize::MAX,
};

fn encoded(draft: serde_json::Value) -> EncodedEvent {
    Event::new(Draft::parse(draft).unwrap(), now()).encode()
}

fn commit(changes: Vec<Change>, events: Vec<EncodedEvent>) -> Arc<Commit> {
    Arc::new(Commit { changes, events })
}

/// A commit of this many events.
fn events(count: usize) -> Arc<Commit> {
    let message = "m".repeat(500);
    let event = |_| encoded(json!({"type": "notification", "message": message}));
    commit(Vec::new(), (0..count).map(event).collect())
}

async fn positions(log: &SqliteLog) -> Vec<u64> {
    let page = log.read(Position::START, ALL).await.unwrap();
    page.entries.into_iter().map(|e| e.position.0).collect()
}

/// A directory with a log of ten events that was closed.
async fn closed_log() -> TempDir {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.append(events(10), now()).await.unwrap();
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
        log.append(events(3), now()).await.unwrap();
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
        let next = log.append(events(1), now()).await.unwrap();
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
        log.append(events(1), now()).await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_that_was_thought_to_have_failed_keeps_its_place() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.append(events(1), now()).await.unwrap();
    // As a commit does that succeeded after all.
    execute(
        dir.path(),
        "INSERT INTO events
         (position, appended_at, bytes_through, event_id, timestamp, type, topic, json)
         SELECT 2, appended_at, bytes_through * 2, event_id || '-2', timestamp, type, topic, json
         FROM events",
    );
    let next = log.append(events(1), now()).await.unwrap();
    assert_eq!(next, Position(3));
    assert_eq!(positions(&log).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wal_stays_small_however_much_is_read() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    log.append(events(1_000), now()).await.unwrap();
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
    for _ in 0..80 {
        log.append(events(500), now()).await.unwrap();
    }
    readers.iter().for_each(|reader| reader.abort());
    let wal = wal_len(dir.path());
    assert!(
        wal < 16 << 20,
        "the WAL has {wal} bytes after 40 MB of events"
    );
}

fn wal_len(dir: &Path) -> u64 {
    let wal = fs::metadata(dir.join("notifications.db-wal"));
    wal.unwrap().len()
}

/// Ids and keys in no order touch a page each.
#[tokio::test]
async fn the_wal_stays_small_wherever_rows_go() {
    let dir = TempDir::new().unwrap();
    let log = SqliteLog::open(dir.path(), Sync::Eventually).unwrap();
    let scattered = |n: u64| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let event = |n| {
        encoded(
            json!({"type": "event", "name": "n", "event_id": scattered(n),
                       "collapse_key": scattered(n)}),
        )
    };
    for batch in 0..40 {
        let events = (batch * 500..(batch + 1) * 500).map(event).collect();
        log.append(commit(Vec::new(), events), now()).await.unwrap();
    }
    let wal = wal_len(dir.path());
    assert!(wal < 16 << 20, "the WAL has {wal} bytes after 8 MB of rows");
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
    for (column, damage) in [
        ("event_id", "''"),
        ("type", "'no type'"),
        ("name", "'no name'"),
        ("topic", "'no topic!'"),
        ("audience", "'{'"),
        ("audience", "'{\"clients\": []}'"),
        ("priority", "6"),
        ("tags", "'[\"no tag\"]'"),
        ("tags", "'{}'"),
        ("collapse_key", "'no key'"),
        ("task_id", "'no id'"),
        ("task_phase", "'no phase', task_id = 't'"),
        ("task_phase", "NULL, task_id = 't'"),
        ("json", "CAST(x'ff' AS TEXT)"),
    ] {
        let dir = closed_log().await;
        let sql = format!("UPDATE events SET {column} = {damage} WHERE position = 5");
        execute(dir.path(), &sql);
        let log = open(dir.path());
        let read = log.read(Position::START, ALL).await;
        assert!(matches!(read, Err(LogError::Damaged(_))), "{sql}: {read:?}");
        let before = PageLimit { events: 4, ..ALL };
        let page = log.read(Position::START, before).await.unwrap();
        assert_eq!(page.entries.len(), 4);
    }
}

#[tokio::test]
async fn damage_is_named() {
    let alice = "INSERT INTO clients VALUES ('alice', '{}', 'auto', '00000000-0', '[]', 0, 0)";
    for (damage, name) in [
        ("UPDATE clients SET client_id = 'no id'", "client_id"),
        (
            "UPDATE clients SET filter = '{\"colour\": \"red\"}'",
            "filter",
        ),
        ("UPDATE clients SET ack = 'never'", "ack"),
        ("UPDATE clients SET cursor = '1'", "cursor"),
        ("UPDATE clients SET acknowledged = '[-1]'", "acknowledged"),
        (
            "INSERT INTO memberships VALUES ('no name', 'alice', 0, NULL)",
            "group_name",
        ),
    ] {
        let dir = closed_log().await;
        execute(dir.path(), alice);
        let log = open(dir.path());
        log.records().await.unwrap();
        execute(dir.path(), damage);
        let records = log.records().await;
        let is_named = matches!(&records, Err(LogError::Damaged(said)) if said.contains(name));
        assert!(is_named, "{damage}: {records:?}");
    }
}

#[tokio::test]
async fn all_that_is_recorded_is_there_after_the_log_was_closed() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let draft = json!({"type": "event", "name": "n", "event_id": "one", "tags": ["a"],
                       "collapse_key": "cpu", "audience": {"groups": ["ops"]}, "require_ack": true});
    let (old, new) = (events(1).events[0].clone(), encoded(draft));
    let superseded = encoded(json!({"type": "event", "name": "n", "collapse_key": "cpu",
                                    "audience": {"groups": ["ops"]}}));
    let alice = ClientRecord {
        client: "alice".parse().unwrap(),
        filter: Filter::default(),
        ack: AckMode::Manual,
        cursor: Cursor {
            epoch: log.bounds().epoch,
            position: Position(1),
        },
        acknowledged: vec![Position(3)],
        created_at: now(),
        seen_at: now(),
    };
    let changes = vec![
        Change::JoinGroup {
            group: "ops".parse().unwrap(),
            client: alice.client.clone(),
        },
        Change::SaveClient(alice.clone()),
        Change::Expect {
            event: new.head.id.clone(),
            clients: vec![alice.client.clone()],
        },
    ];
    log.append(commit(Vec::new(), vec![old]), now())
        .await
        .unwrap();
    log.append(commit(changes, vec![superseded, new.clone()]), now())
        .await
        .unwrap();
    let before = log.read(Position::START, ALL).await.unwrap();
    log.close().await.unwrap();
    drop(log);

    let log = open(dir.path());
    let page = log.read(Position::START, ALL).await.unwrap();
    assert_eq!(page, before);
    let is_superseded: Vec<_> = page.entries.iter().map(|e| e.is_superseded).collect();
    assert_eq!(is_superseded, [false, true, false]);
    assert_eq!(page.entries[2].event, new);
    let newest = log
        .read_newest(Position::START, Position(9), ALL)
        .await
        .unwrap();
    assert_eq!(newest.entries, page.entries[2..]);
    let found = log.find(vec![new.head.id.clone()]).await.unwrap();
    assert_eq!(found, [Some(page.entries[2].clone())]);
    let records = log.records().await.unwrap();
    let membership = Membership {
        group: "ops".parse().unwrap(),
        client: alice.client.clone(),
        after: Position(1),
        through: None,
    };
    assert_eq!(records.memberships, [membership]);
    assert_eq!(records.clients, std::slice::from_ref(&alice));
    let receipt = Receipt {
        client: alice.client.clone(),
        delivered_at: None,
        acknowledged_at: None,
    };
    assert_eq!(log.receipts(new.head.id.clone()).await.unwrap(), [receipt]);
    let left = log.unacknowledged(alice.client, Position(9)).await;
    assert_eq!(left.unwrap(), [new.head.id]);
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

/// A group is for those who were in it at an event's position; the next event
/// gets one that a lost one had.
#[tokio::test]
async fn after_a_power_cut_nobody_joins_or_leaves_in_the_future() {
    let dir = TempDir::new().unwrap();
    let log = SqliteLog::open(dir.path(), Sync::Eventually).unwrap();
    log.append(events(4), now()).await.unwrap();
    drop(log);
    execute(
        dir.path(),
        "UPDATE log SET unsynced_boot = 'the boot before';
         INSERT INTO memberships VALUES
         ('ops', 'a', 1, 3), ('ops', 'a', 3, 5), ('ops', 'a', 5, 7), ('ops', 'a', 7, NULL),
         ('ops', 'b', 4, 5), ('ops', 'c', 4, NULL), ('ops', 'd', 2, NULL)",
    );
    let log = open(dir.path());
    let memberships = log.records().await.unwrap().memberships;
    let memberships = memberships.iter().map(|m| {
        (
            m.client.as_str(),
            m.after.0,
            m.through.map(|through| through.0),
        )
    });
    assert_eq!(
        memberships.collect::<Vec<_>>(),
        [
            ("a", 1, Some(3)),
            ("a", 3, Some(4)),
            ("a", 4, None),
            ("c", 4, None),
            ("d", 2, None)
        ]
    );
}

#[tokio::test]
async fn what_retention_frees_goes_back_to_the_disk() {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    for _ in 0..40 {
        log.append(events(1_000), now()).await.unwrap();
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
        log.append(events(1), now()).await.unwrap();
        log.check().await.unwrap();
        take_away(&dir.path().join("notifications.db"));
        let checked = log.check().await;
        assert!(matches!(checked, Err(LogError::Damaged(_))), "{checked:?}");
        let appended = log.append(events(1), now()).await;
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
    log.append(events(1), now()).await.unwrap();
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
