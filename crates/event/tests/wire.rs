//! What publishers may write, and what receivers then read.

use notification_event::{Draft, Event, Filter, Head, Invalid, Priority, Timestamp};
use serde_json::{Value, json};

fn publish(input: Value) -> (Head, Value) {
    let event = Event::new(Draft::parse(input).unwrap(), Timestamp::from_millis(0));
    let encoded = event.encode();
    let json = serde_json::from_slice(&encoded.json).unwrap();
    (encoded.head, json)
}

fn refused(input: Value) -> Vec<String> {
    let Invalid { errors, .. } = Draft::parse(input).unwrap_err();
    errors.into_iter().map(|e| e.field).collect()
}

#[test]
fn a_notification_has_the_fields_that_its_clients_know_first() {
    let (head, json) = publish(json!({
        "type": "notification", "message": "System maintenance starting",
        "notification_type": "warning", "data": {"z": 1, "a": {"b": [1.5, 12, "x"]}}
    }));
    assert_eq!(
        json,
        json!({
            "type": "notification", "notification_id": head.id.as_str(),
            "notification_type": "warning", "message": "System maintenance starting",
            "timestamp": "1970-01-01T00:00:00.000Z",
            "data": {"z": 1, "a": {"b": [1.5, 12, "x"]}},
            "event_id": head.id.as_str(), "topic": "default"
        })
    );
    let keys: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "type",
            "notification_id",
            "notification_type",
            "message",
            "timestamp",
            "data",
            "event_id",
            "topic"
        ]
    );
    assert_eq!(
        json["data"].as_object().unwrap().keys().next().unwrap(),
        "z"
    );
}

#[test]
fn whole_percents_have_no_fraction() {
    let at = |step: u64, total: u64| {
        let (_, json) = publish(json!({
            "type": "progress", "task_id": "t", "task_name": "T", "step": step, "total_steps": total
        }));
        (
            json["progress"].to_string(),
            json["state"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(at(1, 10), ("10".into(), "running".into()));
    assert_eq!(at(1, 3), ("33.33".into(), "running".into()));
    assert_eq!(at(3, 3), ("100".into(), "completed".into()));
    assert_eq!(at(0, 3), ("0".into(), "running".into()));
}

#[test]
fn an_application_event_has_its_name_and_data() {
    let (head, json) = publish(json!({
        "type": "event", "name": "incident.created", "topic": "ops/db",
        "data": {"severity": 2}, "audience": {"clients": ["alice"]}
    }));
    assert_eq!(head.name.unwrap().as_str(), "incident.created");
    assert!(head.audience.is_some());
    assert_eq!(
        json,
        json!({
            "type": "event", "name": "incident.created",
            "timestamp": "1970-01-01T00:00:00.000Z", "data": {"severity": 2},
            "event_id": head.id.as_str(), "topic": "ops/db"
        })
    );
}

#[test]
fn json_is_one_line_whatever_is_in_it() {
    let hostile = "a\r\n\ndata: {}\n\nid: 7\u{0}\u{2028}\u{2029}\u{85}";
    let event = Draft::parse(json!({"type": "notification", "message": hostile})).unwrap();
    let encoded = Event::new(event, Timestamp::from_millis(0)).encode();
    assert!(!encoded.json.iter().any(|b| b.is_ascii_control()));
    let read: Value = serde_json::from_slice(&encoded.json).unwrap();
    assert_eq!(read["message"], hostile);
}

#[test]
fn everything_wrong_is_named_at_once() {
    assert_eq!(refused(json!([])), [""]);
    assert_eq!(refused(json!("hello")), [""]);
    assert_eq!(refused(json!({"message": "hi"})), ["type"]);
    assert_eq!(refused(json!({"type": "status", "x": 1})), ["type"]);
    assert_eq!(refused(json!({"type": "notification"})), ["message"]);
    assert_eq!(
        refused(json!({
            "type": "notification", "message": "", "notification_type": "loud",
            "topic": "a b", "data": [], "title": 1, "colour": "red",
            "audience": {"clients": ["a b"]}
        })),
        [
            "notification_type",
            "message",
            "topic",
            "audience.clients",
            "title",
            "data",
            "colour"
        ]
    );
    assert_eq!(
        refused(json!({
            "type": "progress", "task_id": "a b", "task_name": "", "progress": 101, "step": -1,
            "total_steps": 0, "message": 5, "state": "done"
        })),
        [
            "task_id",
            "task_name",
            "progress",
            "step",
            "total_steps",
            "message",
            "state"
        ]
    );
    assert_eq!(
        refused(json!({
            "type": "progress", "task_id": "t", "task_name": "T", "step": 3, "total_steps": 2
        })),
        ["step"]
    );
    assert_eq!(refused(json!({"type": "event", "data": {}})), ["name"]);
    assert_eq!(
        refused(json!({
            "type": "event", "name": "n", "topic": "$presence", "priority": 6, "tags": ["a b"],
            "expires_in": 0, "expires_at": "soon", "collapse_key": "", "require_ack": "yes"
        })),
        [
            "topic",
            "priority",
            "tags",
            "expires_in",
            "expires_at",
            "collapse_key",
            "require_ack"
        ]
    );
    assert_eq!(
        refused(json!({
            "type": "progress", "task_id": "t", "task_name": "T", "collapse_key": "k",
            "expires_in": 5, "expires_at": "2030-01-01T00:00:00Z"
        })),
        ["expires_in", "collapse_key"]
    );
    assert_eq!(
        refused(json!({"type": "event", "name": "n", "event_id": "a b", "timestamp": "now"})),
        ["event_id", "timestamp"]
    );
}

#[test]
fn bounds_are_inclusive() {
    let message = |n: usize| json!({"type": "notification", "message": "ä".repeat(n)});
    assert!(Draft::parse(message(4096)).is_ok());
    assert_eq!(refused(message(4097)), ["message"]);
    // {"d":"…"} is 8 bytes of JSON around its text.
    let data = |n: usize| json!({"type": "event", "name": "n", "data": {"d": "x".repeat(n - 8)}});
    assert!(Draft::parse(data(64 * 1024)).is_ok());
    assert_eq!(refused(data(64 * 1024 + 1)), ["data"]);
}

#[test]
fn a_batch_is_all_or_nothing_and_names_the_element() {
    let event = json!({"type": "notification", "message": "hi"});
    assert_eq!(Draft::parse_batch(event.clone()).unwrap().len(), 1);
    assert_eq!(Draft::parse_batch(json!([event, event])).unwrap().len(), 2);
    let refused = Draft::parse_batch(json!([event, {"type": "notification"}, 5])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "[1].message: expected this field, which is required; [2]: expected an object"
    );
    assert!(Draft::parse_batch(json!([])).is_err());
    assert!(Draft::parse_batch(Value::Array(vec![event; 1001])).is_err());
}

#[test]
fn filters_join_lists_by_and_and_entries_by_or() {
    let (head, _) = publish(json!({"type": "notification", "message": "m", "topic": "ops/db"}));
    let check = |topics: &[&str], types: &[&str], expected: bool| {
        let filter = Filter {
            topics: topics.iter().map(|t| t.parse().unwrap()).collect(),
            types: types.iter().map(|t| t.parse().unwrap()).collect(),
            ..Filter::default()
        };
        assert_eq!(filter.matches(&head), expected, "{topics:?} {types:?}");
        assert_eq!(filter.clone().normalized().matches(&head), expected);
    };
    check(&[], &[], true);
    check(&["ops/*"], &[], true);
    check(&["web", "ops/**"], &["progress", "notification"], true);
    check(&["web"], &["notification"], false);
    check(&["ops/*"], &["progress"], false);
}

#[test]
fn what_was_added_since_follows_and_only_if_it_says_something() {
    let (head, json) = publish(json!({
        "type": "notification", "message": "Disk full", "event_id": "disk-7", "priority": "urgent",
        "title": "Disk", "tags": ["disk", "eu"], "expires_in": 60, "collapse_key": "disk",
        "require_ack": true, "audience": {"groups": ["ops"]}
    }));
    let added = json!({
        "type": "notification", "notification_id": "disk-7", "notification_type": "info",
        "message": "Disk full", "timestamp": "1970-01-01T00:00:00.000Z", "event_id": "disk-7",
        "topic": "default", "title": "Disk", "priority": 5, "tags": ["disk", "eu"],
        "expires_at": "1970-01-01T00:01:00.000Z", "collapse_key": "disk", "require_ack": true
    });
    assert_eq!(json, added);
    assert!(head.require_ack && head.priority == Priority::Urgent);
    assert!(!head.is_expired(Timestamp::from_millis(59_999)));
    assert!(head.is_expired(Timestamp::from_millis(60_000)));
    assert_eq!(head.collapse.unwrap().to_string(), "key/disk");
}

#[test]
fn the_same_event_again_is_known_by_its_fingerprint() {
    let fingerprint = |input: Value, second: i64| {
        let time = Timestamp::from_millis(second * 1_000);
        let event = Event::new(Draft::parse(input).unwrap(), time);
        event.started_at(time).encode().fingerprint
    };
    let event = json!({"type": "progress", "task_id": "t", "task_name": "T", "step": 1,
                       "event_id": "e", "expires_in": 60, "audience": {"clients": ["a"]}});
    assert_eq!(fingerprint(event.clone(), 1), fingerprint(event.clone(), 2));
    let data = |data: Value| {
        let mut event = event.clone();
        event["data"] = data;
        fingerprint(event, 1)
    };
    let turned = json!({"b": [{"d": 1, "c": 2}], "a": 3});
    assert_eq!(data(json!({"a": 3, "b": [{"c": 2, "d": 1}]})), data(turned));
    for (field, value) in [
        ("step", json!(2)),
        ("expires_in", json!(61)),
        ("audience", json!({"groups": ["a"]})),
        ("event_id", json!("f")),
        ("data", json!({})),
    ] {
        let mut other = event.clone();
        other[field] = value;
        assert_ne!(
            fingerprint(other, 1),
            fingerprint(event.clone(), 1),
            "{field}"
        );
    }
    let mut without = event;
    without.as_object_mut().unwrap().remove("event_id");
    assert_eq!(fingerprint(without, 1), None);
}

#[test]
fn filters_ask_for_names_priorities_and_tags() {
    let (head, _) = publish(json!({
        "type": "event", "name": "disk.full", "priority": 4, "tags": ["eu", "db"]
    }));
    let check = |filter: Filter, expected: bool| {
        assert_eq!(filter.matches(&head), expected, "{filter:?}");
        assert_eq!(filter.clone().normalized().matches(&head), expected);
    };
    let names = |names: &[&str]| Filter {
        names: names.iter().map(|n| n.parse().unwrap()).collect(),
        ..Filter::default()
    };
    let tags = |tags: &[&str]| Filter {
        tags: tags.iter().map(|t| t.parse().unwrap()).collect(),
        ..Filter::default()
    };
    let at_least = |min: Priority| Filter {
        min_priority: Some(min),
        ..Filter::default()
    };
    check(names(&["disk.full", "other"]), true);
    check(names(&["other"]), false);
    check(tags(&["us", "db"]), true);
    check(tags(&["us"]), false);
    check(at_least(Priority::Min), true);
    check(at_least(Priority::High), true);
    check(at_least(Priority::Urgent), false);
}
