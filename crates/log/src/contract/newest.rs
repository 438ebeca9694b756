use notification_event::{EncodedEvent, Position};
use serde_json::{Value, json};

use super::{ALL, Log, at, commit, encoded, event, keep, places, prune};
use crate::PageLimit;

/// An application's event with these fields, too.
fn with(fields: Value) -> EncodedEvent {
    let mut draft = json!({"type": "event", "name": "n"});
    draft
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    encoded(draft)
}

/// A value of the state `key`.
fn keyed(key: &str) -> EncodedEvent {
    with(json!({"collapse_key": key}))
}

fn progress(task: &str, step: u64) -> EncodedEvent {
    encoded(
        json!({"type": "progress", "task_id": task, "task_name": "T",
                   "step": step, "total_steps": 3}),
    )
}

async fn newest(log: &Log, after: u64, through: u64) -> Vec<u64> {
    let page = log.read_newest(Position(after), Position(through), ALL);
    let entries = page.await.unwrap().entries;
    assert!(entries.iter().all(|entry| !entry.is_superseded));
    places(&entries)
}

pub async fn a_newer_event_of_the_same_state_supersedes(log: Log) {
    let first = || {
        let audience = json!({"clients": ["x"]});
        with(json!({"collapse_key": "cpu", "topic": "a", "audience": audience}))
    };
    let other = |fields: Value| (with(fields), false);
    let events = vec![
        (first(), true),
        (keyed("cpu"), true),
        (progress("cpu", 1), true),
        (event(0), false),
        other(json!({"collapse_key": "cpu", "topic": "b", "audience": {"clients": ["x"]}})),
        other(json!({"collapse_key": "cpu", "topic": "a", "audience": {"clients": ["x", "y"]}})),
        other(json!({"collapse_key": "cpu", "topic": "a", "audience": {"groups": ["x"]}})),
        other(json!({"collapse_key": "cpu", "topic": "a"})),
        other(json!({"collapse_key": "ram", "topic": "a", "audience": {"clients": ["x"]}})),
        other(json!({"topic": "a", "audience": {"clients": ["x"]}})),
        // Within one commit, and in the one that follows.
        (progress("cpu", 2), true),
        (progress("cpu", 3), false),
        (event(0), false),
    ];
    let ids: Vec<_> = events.iter().map(|(e, _)| e.head.id.clone()).collect();
    let (events, expected): (Vec<_>, Vec<bool>) = events.into_iter().unzip();
    commit(&log, [], events).await;
    commit(&log, [], vec![first(), keyed("cpu")]).await;

    let read = log.read(Position::START, ALL).await.unwrap().entries;
    let flags = read.iter().map(|entry| entry.is_superseded);
    assert_eq!(flags.take(expected.len()).collect::<Vec<_>>(), expected);
    let found = log.find(ids).await.unwrap();
    let flags = found.iter().flatten().map(|entry| entry.is_superseded);
    assert_eq!(flags.collect::<Vec<_>>(), expected);
}

pub async fn only_the_newest_of_each_state_are_read(log: Log) {
    let events = vec![
        keyed("a"),
        keyed("b"),
        event(0),
        progress("a", 1),
        keyed("a"),
    ];
    commit(&log, [], events).await;
    for (after, through, expected) in [
        (0, 5, &[2, 4, 5][..]),
        (0, u64::MAX, &[2, 4, 5]),
        (2, 5, &[4, 5]),
        (0, 4, &[2, 4]),
        (2, 3, &[]),
        (5, 5, &[]),
        (4, 2, &[]),
        (u64::MAX, u64::MAX, &[]),
    ] {
        let found = newest(&log, after, through).await;
        assert_eq!(found, expected, "after {after} through {through}");
    }
    let all = log.read(Position::START, ALL).await.unwrap().entries;
    let page = log.read_newest(Position::START, Position(5), ALL);
    let expected = [1, 3, 4].map(|index| all[index].clone());
    assert_eq!(page.await.unwrap().entries, expected);

    // The newest of all, and not only of those that are asked for.
    commit(&log, [], vec![keyed("b")]).await;
    assert_eq!(newest(&log, 0, 5).await, [4, 5]);
    assert_eq!(newest(&log, 0, 6).await, [4, 5, 6]);
}

pub async fn pages_of_the_newest_keep_to_their_limits_and_always_move_on(log: Log) {
    let keys: Vec<String> = (0..6).map(|n| format!("key-{n}")).collect();
    let events = keys.iter().flat_map(|key| [keyed(key), event(0)]).collect();
    commit(&log, [], events).await;
    let one = keyed(&keys[0]).size();
    for (after, events, bytes, expected) in [
        (0, 3, usize::MAX, &[1, 3, 5][..]),
        (5, 2, usize::MAX, &[7, 9]),
        (9, 2, usize::MAX, &[11]),
        (1, 10, one + 1, &[3, 5]),
        (1, 10, 0, &[3]),
        (1, 0, usize::MAX, &[3]),
    ] {
        let limit = PageLimit { events, bytes };
        let page = log.read_newest(Position(after), Position(100), limit);
        let found = places(&page.await.unwrap().entries);
        assert_eq!(
            found, expected,
            "after {after}, {events} events, {bytes} bytes"
        );
    }
}

pub async fn pruning_takes_the_newest_out(log: Log) {
    let events = vec![keyed("a"), keyed("b"), keyed("a"), keyed("c")];
    commit(&log, [], events).await;
    prune(&log, keep(2), at(0)).await;
    assert_eq!(newest(&log, 0, 4).await, [3, 4]);
    let page = log.read_newest(Position(0), Position(4), ALL).await;
    assert_eq!(page.unwrap().floor, Position(2));

    prune(&log, keep(0), at(0)).await;
    assert_eq!(newest(&log, 0, 4).await, [0; 0]);
    commit(&log, [], vec![keyed("a"), keyed("b"), keyed("a")]).await;
    assert_eq!(newest(&log, 0, 7).await, [6, 7]);
}
