//! What every engine promises, as tests that run on any of them.
//!
//! [`contract_tests!`](crate::contract_tests) makes a test of each promise for one engine:
//!
//! ```
//! # #[cfg(test)]
//! notification_log::contract_tests!((notification_log::MemoryLog::new(), ()));
//! ```

#![expect(
    missing_docs,
    reason = "each function is named after the promise it checks"
)]

use std::sync::Arc;
use std::time::Duration;

use notification_event::{Draft, EncodedEvent, Event, Position, Timestamp};
use serde_json::json;

use crate::{Entry, EventLog, LogError, PageLimit, Retention};

/// Makes one `#[tokio::test]` of each promise. `$log` is evaluated anew for each:
/// a new log, and whatever has to live as long as it does.
#[macro_export]
macro_rules! contract_tests {
    ($log:expr) => {
        $crate::contract_tests!($log;
            appended_events_are_read_back_as_they_were,
            positions_are_dense_and_the_bounds_follow,
            pages_keep_to_their_limits_and_always_move_on,
            reading_past_the_end_is_an_empty_page,
            a_time_is_found,
            time_never_runs_backwards,
            retention_by_events_removes_the_oldest,
            retention_by_bytes_removes_the_oldest,
            the_names_in_an_audience_take_space_too,
            retention_by_age_removes_the_oldest,
            retention_works_in_small_steps,
            a_reader_that_retention_passed_is_told_the_floor,
            positions_are_never_given_twice,
            readers_see_whole_batches_in_order,
            a_closed_log_says_so,
        );
    };
    ($log:expr; $($name:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (log, _kept_until_the_end) = $log;
            $crate::contract::$name(std::sync::Arc::new(log)).await;
        }
    )*};
}

type Log = Arc<dyn EventLog>;

const ALL: PageLimit = PageLimit {
    events: usize::MAX,
    bytes: usize::MAX,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1_000)
}

fn event(n: u64) -> EncodedEvent {
    let draft = json!({"type": "notification", "message": format!("message {n}")});
    Event::new(Draft::parse(draft).unwrap(), at(0)).encode()
}

async fn append(log: &Log, count: u64, now: Timestamp) -> (Position, Vec<EncodedEvent>) {
    let events: Vec<_> = (0..count).map(event).collect();
    let first = log.append(events.clone().into(), now).await.unwrap();
    (first, events)
}

async fn positions(log: &Log, after: u64) -> Vec<u64> {
    let page = log.read(Position(after), ALL).await.unwrap();
    page.entries.into_iter().map(|e| e.position.0).collect()
}

/// Prunes until nothing is left to prune.
async fn prune(log: &Log, retention: Retention, now: Timestamp) {
    while log.prune(&retention, now, 2).await.unwrap() > 0 {}
}

pub async fn appended_events_are_read_back_as_they_were(log: Log) {
    let drafts = [
        json!({"type": "notification", "message": "ä\n\u{0}\u{1F600}", "title": "t",
               "notification_type": "error", "data": {"b": 1.5, "a": [null, true]}}),
        json!({"type": "progress", "task_id": "t", "task_name": "T", "step": 1, "total_steps": 3}),
        json!({"type": "event", "name": "incident.created", "topic": "ops/db",
               "audience": {"clients": ["alice", "bob"]}}),
    ];
    let events = drafts.map(|d| Event::new(Draft::parse(d).unwrap(), at(7)).encode());
    log.append(Arc::new(events.clone()), at(7)).await.unwrap();
    let page = log.read(Position::START, ALL).await.unwrap();
    let expected = events.into_iter().zip(1..).map(|(event, position)| Entry {
        position: Position(position),
        event,
    });
    assert_eq!(page.entries, expected.collect::<Vec<_>>());
}

pub async fn positions_are_dense_and_the_bounds_follow(log: Log) {
    assert_eq!(log.bounds().events(), 0);
    let (first, three) = append(&log, 3, at(0)).await;
    assert_eq!(first, Position(1));
    let (next, two) = append(&log, 2, at(0)).await;
    assert_eq!(next, Position(4));
    assert_eq!(positions(&log, 0).await, [1, 2, 3, 4, 5]);
    assert_eq!(positions(&log, 3).await, [4, 5]);
    let bytes: usize = three.iter().chain(&two).map(|e| e.size()).sum();
    let bounds = log.bounds();
    assert_eq!((bounds.floor, bounds.head), (Position(0), Position(5)));
    assert_eq!((bounds.events(), bounds.bytes), (5, bytes as u64));
    assert_eq!(bounds.pruned_until, None);
}

pub async fn pages_keep_to_their_limits_and_always_move_on(log: Log) {
    append(&log, 10, at(0)).await;
    let check = async |after: u64, events: usize, bytes: usize, expected: &[u64]| {
        let page = log.read(Position(after), PageLimit { events, bytes });
        let entries = page.await.unwrap().entries;
        let positions: Vec<u64> = entries.iter().map(|e| e.position.0).collect();
        assert_eq!(
            positions, expected,
            "after {after}, {events} events, {bytes} bytes"
        );
    };
    let one = event(0).size();
    check(0, 3, usize::MAX, &[1, 2, 3]).await;
    check(8, 3, usize::MAX, &[9, 10]).await;
    check(2, 10, one + 1, &[3, 4]).await;
    check(2, 10, 0, &[3]).await;
}

pub async fn reading_past_the_end_is_an_empty_page(log: Log) {
    append(&log, 1, at(0)).await;
    for after in [1, 2, i64::MAX as u64, u64::MAX] {
        assert_eq!(positions(&log, after).await, [0; 0], "after {after}");
    }
}

pub async fn a_time_is_found(log: Log) {
    assert_eq!(log.position_at(at(0)).await.unwrap(), Position(0));
    for second in [10, 20, 20, 30] {
        append(&log, 2, at(second)).await;
    }
    for (second, expected) in [(0, 0), (10, 0), (11, 2), (20, 2), (21, 6), (30, 6), (31, 8)] {
        let found = log.position_at(at(second)).await.unwrap();
        assert_eq!(found, Position(expected), "second {second}");
    }
}

pub async fn time_never_runs_backwards(log: Log) {
    append(&log, 1, at(20)).await;
    append(&log, 1, at(10)).await;
    assert_eq!(log.position_at(at(20)).await.unwrap(), Position(0));
    assert_eq!(log.position_at(at(21)).await.unwrap(), Position(2));
    let nothing = Retention {
        max_events: Some(0),
        ..Retention::default()
    };
    prune(&log, nothing, at(0)).await;
    append(&log, 1, at(10)).await;
    assert_eq!(log.position_at(at(20)).await.unwrap(), Position(2));
    assert_eq!(log.position_at(at(21)).await.unwrap(), Position(3));
}

pub async fn retention_by_events_removes_the_oldest(log: Log) {
    append(&log, 10, at(0)).await;
    let keep = |max| Retention {
        max_events: Some(max),
        ..Retention::default()
    };
    prune(&log, keep(10), at(0)).await;
    assert_eq!(log.bounds().events(), 10);
    prune(&log, keep(3), at(0)).await;
    assert_eq!(positions(&log, 0).await, [8, 9, 10]);
    assert_eq!(log.bounds().floor, Position(7));
    prune(&log, keep(0), at(0)).await;
    assert_eq!(positions(&log, 0).await, [0; 0]);
}

pub async fn retention_by_bytes_removes_the_oldest(log: Log) {
    append(&log, 10, at(0)).await;
    let one = event(0).size() as u64;
    let keep = |max_bytes| Retention {
        max_bytes: Some(max_bytes),
        ..Retention::default()
    };
    prune(&log, keep(10 * one), at(0)).await;
    assert_eq!(log.bounds().events(), 10);
    prune(&log, keep(4 * one - 1), at(0)).await;
    assert_eq!(positions(&log, 0).await, [8, 9, 10]);
    assert_eq!(log.bounds().bytes, 3 * one);
    prune(&log, keep(0), at(0)).await;
    assert_eq!((log.bounds().events(), log.bounds().bytes), (0, 0));
}

pub async fn the_names_in_an_audience_take_space_too(log: Log) {
    let names: Vec<_> = (0..1_000).map(|n| format!("client-{n:03}")).collect();
    let draft = json!({"type": "event", "name": "n", "audience": {"clients": names}});
    let event = Event::new(Draft::parse(draft).unwrap(), at(0)).encode();
    log.append(Arc::new([event]), at(0)).await.unwrap();
    assert!(log.bounds().bytes >= 10_000, "{:?}", log.bounds());
    let keep = Retention {
        max_bytes: Some(10_000),
        ..Retention::default()
    };
    prune(&log, keep, at(0)).await;
    assert_eq!((log.bounds().events(), log.bounds().bytes), (0, 0));
}

pub async fn retention_by_age_removes_the_oldest(log: Log) {
    for second in [10, 20, 30] {
        append(&log, 2, at(second)).await;
    }
    let keep = Retention {
        max_age: Some(Duration::from_secs(60)),
        ..Retention::default()
    };
    prune(&log, keep.clone(), at(80)).await;
    assert_eq!(positions(&log, 0).await, [3, 4, 5, 6]);
    assert_eq!(log.bounds().pruned_until, Some(at(10)));
    prune(&log, keep, at(1_000)).await;
    assert_eq!(positions(&log, 0).await, [0; 0]);
    assert_eq!(log.bounds().pruned_until, Some(at(30)));
}

pub async fn retention_works_in_small_steps(log: Log) {
    append(&log, 10, at(0)).await;
    let keep = Retention {
        max_events: Some(5),
        ..Retention::default()
    };
    for (pruned, floor) in [(3, 3), (2, 5), (0, 5)] {
        assert_eq!(log.prune(&keep, at(0), 3).await.unwrap(), pruned);
        assert_eq!(log.bounds().floor, Position(floor));
    }
}

pub async fn a_reader_that_retention_passed_is_told_the_floor(log: Log) {
    append(&log, 10, at(0)).await;
    let keep = Retention {
        max_events: Some(4),
        ..Retention::default()
    };
    prune(&log, keep, at(0)).await;
    let page = log.read(Position(2), ALL).await.unwrap();
    assert_eq!(page.floor, Position(6));
    assert_eq!(page.entries[0].position, Position(7));
    let page = log.read(Position(8), ALL).await.unwrap();
    assert_eq!((page.floor, page.entries.len()), (Position(6), 2));
}

pub async fn positions_are_never_given_twice(log: Log) {
    append(&log, 5, at(0)).await;
    let nothing = Retention {
        max_events: Some(0),
        ..Retention::default()
    };
    prune(&log, nothing, at(0)).await;
    assert_eq!(log.bounds().head, Position(5));
    let (first, events) = append(&log, 1, at(0)).await;
    assert_eq!(first, Position(6));
    assert_eq!(log.bounds().bytes, events[0].size() as u64);
    assert_eq!(positions(&log, 0).await, [6]);
}

pub async fn readers_see_whole_batches_in_order(log: Log) {
    const BATCHES: u64 = 40;
    const SIZE: u64 = 5;
    let reader = tokio::spawn({
        let log = log.clone();
        async move {
            let mut after = 0;
            while after < BATCHES * SIZE {
                let read = positions(&log, after).await;
                let expected: Vec<u64> = (after + 1..=after + read.len() as u64).collect();
                assert_eq!(read, expected);
                assert_eq!(read.len() as u64 % SIZE, 0, "half a batch was seen");
                after += read.len() as u64;
            }
        }
    });
    for _ in 0..BATCHES {
        append(&log, SIZE, at(0)).await;
    }
    reader.await.unwrap();
}

pub async fn a_closed_log_says_so(log: Log) {
    append(&log, 1, at(0)).await;
    log.probe(10_000).await.unwrap();
    log.close().await.unwrap();
    let refused = log.append(Arc::new([event(0)]), at(0)).await;
    assert_eq!(refused, Err(LogError::Closed));
    assert_eq!(log.read(Position(0), ALL).await, Err(LogError::Closed));
    assert_eq!(log.probe(10_000).await, Err(LogError::Closed));
}
