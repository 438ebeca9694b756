//! Not too much: streams that are held to a rate, events that take each
//! other's place, and events that are not worth delivering any more.

mod common;

use common::{notification, server, server_with};
use notification_testkit::{EventStream, eventually};
use serde_json::{Value, json};

fn state(key: &str, message: &str) -> Value {
    let mut event = notification(message);
    event["collapse_key"] = key.into();
    event
}

fn step(step: u64) -> Value {
    json!({"type": "progress", "task_id": "t", "task_name": "T", "step": step, "total_steps": 100})
}

#[test]
fn a_stream_that_was_away_gets_the_newest_of_each_key() {
    let server = server(&[]);
    let events = json!([
        state("cpu", "1"),
        state("disk", "2"),
        notification("3"),
        state("cpu", "4")
    ]);
    server.post("/v1/events", &events);
    let mut stream = EventStream::open(server.address(), "/v1/stream?since=all", &[]);
    let events = stream.take(4);
    let messages: Vec<_> = events[..3]
        .iter()
        .map(|e| e["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["2", "3", "4"]);
    assert_eq!(
        (&events[3]["status"], &events[3]["events"]),
        (&json!("conflated"), &json!(1))
    );
    // What has been sent is not taken back.
    server.post("/v1/events", &state("cpu", "5"));
    assert_eq!(stream.take(1)[0]["message"], "5");
    assert_eq!(
        server.metric("notification_events_conflated_total{reason=\"key\"}"),
        1.0
    );
}

#[test]
fn progress_is_conflated_above_the_rate_but_its_end_always_comes() {
    let server = server(&[]);
    let address = server.address();
    let mut held = EventStream::open(address, "/v1/stream?max_rate=2", &[]);
    let mut free = EventStream::open(address, "/v1/stream", &[]);
    for n in 1..=100 {
        server.post("/v1/events", &step(n));
    }
    assert_eq!(free.take(100).last().unwrap()["state"], "completed");
    let mut steps = Vec::new();
    let mut conflated = 0;
    loop {
        let event = held.take(1).remove(0);
        match event["type"].as_str().unwrap() {
            "progress" => steps.push(event["step"].as_u64().unwrap()),
            _ => conflated += event["events"].as_u64().unwrap(),
        }
        if steps.last() == Some(&100) && steps.len() as u64 + conflated == 100 {
            break;
        }
    }
    assert!(steps.is_sorted() && steps.len() < 100, "{steps:?}");
    let connections = server.get("/v1/connections").json();
    let list = connections["connections"].as_array().unwrap();
    let shown = list.iter().find(|c| c["max_rate"] == 2.0).unwrap();
    assert_eq!(
        (shown["conflated"].as_u64(), shown["sent"].as_u64()),
        (Some(conflated), Some(steps.len() as u64))
    );
}

#[test]
fn other_events_wait_their_turn() {
    let server = server_with("[stream]\nmax_rate = 50");
    let mut stream = EventStream::open(server.address(), "/v1/stream?max_rate=1000", &[]);
    let events: Vec<_> = (0..120).map(|n| notification(&n.to_string())).collect();
    server.post("/v1/events", &Value::Array(events));
    let events = stream.take(120);
    let messages: Vec<_> = events
        .iter()
        .map(|e| e["message"].as_str().unwrap())
        .collect();
    let expected: Vec<_> = (0..120).map(|n| n.to_string()).collect();
    assert_eq!(messages, expected);
}

#[test]
fn what_has_expired_is_neither_delivered_nor_replayed() {
    let server = server(&[]);
    let mut short = notification("short");
    short["expires_in"] = 1.into();
    let mut past = notification("past");
    past["expires_at"] = "2020-01-01T00:00:00Z".into();
    let refused = server.post("/v1/events", &json!([short, past]));
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["field"]),
        (422, &json!("[1].expires_at"))
    );
    server.post("/v1/events", &json!([short, notification("long")]));
    eventually("the event expires", || {
        server.get("/v1/events").json()["events"]
            .as_array()
            .unwrap()
            .len()
            == 1
    });
    let mut stream = EventStream::open(server.address(), "/v1/stream?since=all", &[]);
    assert_eq!(stream.take(1)[0]["message"], "long");
    assert_eq!(server.metric("notification_events_expired_total"), 1.0);
}
