use std::time::Duration;

use notification_event::Position;
use serde_json::json;

use super::{ALL, Log, append, at, commit, encoded, event, keep, positions, prune};
use crate::Retention;

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
    prune(&log, keep(0), at(0)).await;
    append(&log, 1, at(10)).await;
    assert_eq!(log.position_at(at(20)).await.unwrap(), Position(2));
    assert_eq!(log.position_at(at(21)).await.unwrap(), Position(3));
}

pub async fn retention_by_events_removes_the_oldest(log: Log) {
    append(&log, 10, at(0)).await;
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
    let event = encoded(draft);
    commit(&log, [], vec![event]).await;
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
    let keep = keep(5);
    for (pruned, floor) in [(3, 3), (2, 5), (0, 5)] {
        assert_eq!(log.prune(&keep, at(0), 3).await.unwrap(), pruned);
        assert_eq!(log.bounds().floor, Position(floor));
    }
}

pub async fn a_reader_that_retention_passed_is_told_the_floor(log: Log) {
    append(&log, 10, at(0)).await;
    let keep = keep(4);
    prune(&log, keep, at(0)).await;
    let page = log.read(Position(2), ALL).await.unwrap();
    assert_eq!(page.floor, Position(6));
    assert_eq!(page.entries[0].position, Position(7));
    let page = log.read(Position(8), ALL).await.unwrap();
    assert_eq!((page.floor, page.entries.len()), (Position(6), 2));
}

pub async fn positions_are_never_given_twice(log: Log) {
    append(&log, 5, at(0)).await;
    prune(&log, keep(0), at(0)).await;
    assert_eq!(log.bounds().head, Position(5));
    let (first, events) = append(&log, 1, at(0)).await;
    assert_eq!(first, Position(6));
    assert_eq!(log.bounds().bytes, events[0].size() as u64);
    assert_eq!(positions(&log, 0).await, [6]);
}
