//! Who gets what: filters of streams and pages, and the server's own topics.

mod common;

use common::{notification, server};
use notification_testkit::{EventStream, curl};
use serde_json::{Value, json};

#[test]
fn a_stream_gets_what_it_asks_for() {
    let server = server(&[]);
    let address = server.address();
    let open = |query: &str| EventStream::open(address, &format!("/v1/stream?{query}"), &[]);
    let mut streams = [
        open("topic=ops/**"),
        open("type=event&type=progress"),
        open("name=incident.created"),
        open("min_priority=high"),
        open("tag=eu&tag=us"),
        open("topic=ops/*&min_priority=5&tag=eu"),
    ];
    let events = json!([
        {"type": "event", "name": "incident.created", "topic": "ops/db", "priority": 5, "tags": ["eu"]},
        {"type": "event", "name": "incident.closed", "topic": "ops/web", "priority": "high"},
        {"type": "notification", "message": "m", "topic": "web", "tags": ["us", "x"]},
        {"type": "progress", "task_id": "t", "task_name": "T", "topic": "ops/jobs"},
        {"type": "notification", "message": "the end", "topic": "ops/end", "priority": 5, "tags": ["eu"]},
    ]);
    let answers = server.post("/v1/events", &events).json();
    let ids: Vec<&Value> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["event_id"])
        .collect();
    for (stream, expected) in streams.iter_mut().zip([
        vec![0, 1, 3, 4],
        vec![0, 1, 3],
        vec![0],
        vec![0, 1, 4],
        vec![0, 2, 4],
        vec![0, 4],
    ]) {
        let got = stream.take(expected.len());
        let got: Vec<&Value> = got.iter().map(|event| &event["event_id"]).collect();
        let expected: Vec<&Value> = expected.into_iter().map(|n| ids[n]).collect();
        assert_eq!(got, expected);
    }
    let page = server
        .get("/v1/events?topic=ops/**&min_priority=5&tag=eu")
        .json();
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
}

#[test]
fn a_line_of_curl_says_who_it_is_for_and_how_urgent() {
    let server = server(&[]);
    let url = server.url("/v1/topics/ops");
    let answer = curl(&[
        "-d",
        "Disk full",
        "-H",
        "Title: Disk",
        "-H",
        "Type: error",
        "-H",
        "Priority: urgent",
        "-H",
        "Tags: disk, eu",
        "-H",
        "Audience: clients=alice; groups=ops",
        &url,
    ]);
    assert!(answer.contains("cursor"), "{answer}");
    assert_eq!(server.get("/v1/events").json()["events"], json!([]));
    let event = server.get("/v1/events?client_id=alice").json()["events"][0].clone();
    assert_eq!(
        (
            &event["title"],
            &event["priority"],
            &event["tags"],
            &event["notification_type"]
        ),
        (
            &json!("Disk"),
            &json!(5),
            &json!(["disk", "eu"]),
            &json!("error")
        )
    );
    assert_eq!(
        event.get("audience"),
        None,
        "who else gets it is nobody's business"
    );
}

#[test]
fn the_servers_own_topics_are_found_by_name_only() {
    let server = server(&[]);
    let mut presence = EventStream::open(server.address(), "/v1/stream?topic=$presence", &[]);
    let mut all = EventStream::open(server.address(), "/v1/stream?topic=**", &[]);
    let alice = EventStream::open(server.address(), "/v1/stream?client_id=alice", &[]);
    let joined = presence.take(1).remove(0);
    assert_eq!(
        (&joined["name"], &joined["data"]),
        (&json!("client.joined"), &json!({"client_id": "alice"}))
    );
    server.post("/v1/events", &notification("m"));
    assert_eq!(all.take(1)[0]["message"], "m");
    alice.close();

    let mut forged = notification("m");
    forged["topic"] = "$presence".into();
    let refused = server.post("/v1/events", &forged);
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["field"]),
        (422, &json!("topic"))
    );
    let refused = curl(&["-d", "m", &server.url("/v1/topics/$presence")]);
    assert!(refused.contains("422"), "{refused}");
}
