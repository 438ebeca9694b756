use std::sync::Arc;

use notification_event::{Draft, Event, EventId, Position};
use serde_json::json;

use super::{ALL, Log, append, at, commit, event, keep, parsed, places, positions, prune};
use crate::{Change, Commit, Entry, PageLimit};

pub async fn appended_events_are_read_back_as_they_were(log: Log) {
    let drafts = [
        json!({"type": "notification", "message": "ä\n\u{0}\u{1F600}", "title": "t",
               "notification_type": "error", "data": {"b": 1.5, "a": [null, true]}}),
        json!({"type": "progress", "task_id": "t", "task_name": "T", "step": 1, "total_steps": 3}),
        json!({"type": "progress", "task_id": "t2", "task_name": "T", "step": 3, "total_steps": 3,
               "state": "running"}),
        json!({"type": "progress", "task_id": "t3", "task_name": "T", "state": "failed"}),
        json!({"type": "event", "name": "incident.created", "topic": "ops/db",
               "audience": {"clients": ["alice", "bob"]}}),
        json!({"type": "event", "name": "n", "audience": {"groups": ["ops"]}, "priority": 1,
               "tags": ["b", "a", "b"], "expires_in": 60, "collapse_key": "cpu",
               "require_ack": true, "event_id": "one"}),
        json!({"type": "notification", "message": "m", "event_id": "two", "priority": 5,
               "audience": {"clients": ["a"], "groups": ["b"]},
               "expires_at": "2034-01-15T10:30:00.250Z"}),
    ];
    let events = drafts.map(|d| Event::new(Draft::parse(d).unwrap(), at(7)).encode());
    commit(&log, [], events.to_vec()).await;
    let page = log.read(Position::START, ALL).await.unwrap();
    let expected = events.into_iter().zip(1..).map(|(event, position)| Entry {
        position: Position(position),
        event,
        is_superseded: false,
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
        assert_eq!(
            places(&entries),
            expected,
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

pub async fn events_are_found_by_their_ids(log: Log) {
    let (_, events) = append(&log, 4, at(0)).await;
    let ids: Vec<EventId> = events.iter().map(|e| e.head.id.clone()).collect();
    let read = log.read(Position::START, ALL).await.unwrap().entries;
    let at = |position: usize| Some(read[position - 1].clone());
    let wanted = vec![
        ids[3].clone(),
        parsed("no-event"),
        ids[1].clone(),
        ids[1].clone(),
    ];
    let found = log.find(wanted).await.unwrap();
    assert_eq!(found, [at(4), None, at(2), at(2)]);
    assert_eq!(log.find(Vec::new()).await.unwrap(), []);

    prune(&log, keep(1), super::at(0)).await;
    let found = log.find(ids).await.unwrap();
    assert_eq!(found, [None, None, None, at(4)]);
}

/// Whoever appends has looked for it before; this is for when it has not.
pub async fn an_id_is_taken_once(log: Log) {
    let (first, second) = (event(1), event(2));
    commit(&log, [], vec![first.clone()]).await;
    let before = log.bounds();
    for events in [
        vec![second.clone(), first.clone()],
        vec![second.clone(), second.clone()],
    ] {
        let join = Change::JoinGroup {
            group: parsed("ops"),
            client: parsed("alice"),
        };
        let changes = vec![join];
        let refused = log.append(Arc::new(Commit { changes, events }), at(0));
        assert!(refused.await.is_err());
        assert_eq!(log.bounds(), before);
        assert_eq!(positions(&log, 0).await, [1]);
        assert_eq!(log.records().await.unwrap().memberships, []);
    }
    prune(&log, keep(0), at(0)).await;
    assert_eq!(commit(&log, [], vec![first, second]).await, Position(2));
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
