//! Event streams: what they say, how they resume, and how they are refused.

mod common;

use std::collections::BTreeSet;

use common::{notification, server, server_with};
use notification_testkit::{EventStream, Response, ServerProcess, eventually, request};
use serde_json::{Value, json};

fn publish(server: &ServerProcess, message: &str) -> String {
    let answer = server.post("/v1/events", &notification(message));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["cursor"].as_str().unwrap().to_owned()
}

fn messages(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["message"].as_str().unwrap())
        .collect()
}

fn refused(server: &ServerProcess, path: &str, headers: &[(&str, &str)]) -> Response {
    request(server.address(), "GET", path, headers, "")
}

#[test]
fn a_stream_says_what_proxies_and_browsers_need() {
    let server = server(&[]);
    for path in ["/mcp", "/v1/stream"] {
        let stream = EventStream::open(server.address(), path, &[]);
        assert_eq!(stream.header("content-type"), Some("text/event-stream"));
        assert_eq!(stream.header("cache-control"), Some("no-store"));
        assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    }
}

#[test]
fn clients_are_told_to_come_back_at_different_times() {
    let server = server(&[]);
    let retry = |_| {
        EventStream::open(server.address(), "/mcp", &[])
            .retry()
            .unwrap()
    };
    let retries: BTreeSet<u64> = (0..20).map(retry).collect();
    assert!(retries.len() > 1, "all were told the same: {retries:?}");
    assert!(
        retries.iter().all(|ms| (1_000..=5_000).contains(ms)),
        "{retries:?}"
    );
}

#[test]
fn a_stream_resumes_after_a_cursor() {
    let server = server(&[]);
    let first = publish(&server, "one");
    publish(&server, "two");
    let by_header = ("/mcp".to_owned(), vec![("Last-Event-ID", first.as_str())]);
    let by_query = (format!("/v1/stream?last_event_id={first}"), vec![]);
    let since = (format!("/v1/stream?since={first}"), vec![]);
    let header_knows_better = (
        "/v1/stream?since=all".to_owned(),
        vec![("Last-Event-ID", first.as_str())],
    );
    for (path, headers) in [by_header, by_query, since, header_knows_better] {
        let mut stream = EventStream::open(server.address(), &path, &headers);
        assert_eq!(messages(&stream.take(1)), ["two"], "{path}");
    }
}

#[test]
fn a_stream_that_has_seen_nothing_yet_misses_nothing() {
    let mut server = server(&[]);
    let mut stream = EventStream::open_unread(server.address(), "/mcp", &[]);
    while stream.last_id().is_none() {
        stream.read();
    }
    let resume = stream.last_id().unwrap().to_owned();
    server.kill();
    server.restart();
    publish(&server, "while it was away");
    let headers = [("Last-Event-ID", resume.as_str())];
    let mut stream = EventStream::open(server.address(), "/mcp", &headers);
    assert_eq!(messages(&stream.take(1)), ["while it was away"]);
}

#[test]
fn a_gap_is_told_once() {
    let server = server(&[]);
    let other = [("Last-Event-ID", "0123abcd-7")];
    let mut stream = EventStream::open(server.address(), "/mcp", &other);
    assert_eq!(
        stream.last_id(),
        None,
        "resuming now has to tell the gap again"
    );
    assert_eq!(stream.next().unwrap().data["status"], "gap");
    while stream.last_id().is_none() {
        stream.read();
    }
    let resume = [("Last-Event-ID", stream.last_id().unwrap())];
    let mut stream = EventStream::open(server.address(), "/mcp", &resume);
    publish(&server, "live");
    assert_eq!(messages(&stream.take(1)), ["live"]);
}

#[test]
fn a_stream_begins_where_it_is_asked_to() {
    let server = server(&[]);
    publish(&server, "one");
    publish(&server, "two");
    for since in ["all", "10m", "1h%2030m", "2024-01-15T10:30:00Z"] {
        let path = format!("/v1/stream?since={since}");
        let mut stream = EventStream::open(server.address(), &path, &[]);
        assert_eq!(messages(&stream.take(2)), ["one", "two"], "{since}");
    }
    for since in ["0s", "2999-01-01T00:00:00Z"] {
        let path = format!("/v1/stream?since={since}");
        let mut stream = EventStream::open(server.address(), &path, &[]);
        publish(&server, "new");
        assert_eq!(messages(&stream.take(1)), ["new"], "{since}");
    }
}

#[test]
fn a_cursor_of_another_log_is_a_gap_and_then_all_there_is() {
    let server = server(&[]);
    publish(&server, "one");
    let path = "/v1/stream?last_event_id=0123abcd-7";
    let mut stream = EventStream::open(server.address(), path, &[]);
    let gap = stream.next().unwrap();
    assert_eq!((&gap.id, &gap.data["type"]), (&None, &"status".into()));
    assert_eq!(gap.data["status"], "gap");
    assert_eq!(gap.data["reason"], "epoch");
    assert!(gap.data["cursor"].is_string());
    assert_eq!(messages(&stream.take(1)), ["one"]);
}

#[test]
fn a_cursor_that_retention_has_passed_is_a_gap() {
    let server = server_with("[retention]\nmax_events = 2");
    let first = publish(&server, "one");
    for message in ["two", "three", "four", "five"] {
        publish(&server, message);
    }
    eventually("retention leaves two events", || {
        server.metric("notification_log_events") == 2.0
    });
    let headers = [("Last-Event-ID", first.as_str())];
    let mut stream = EventStream::open(server.address(), "/mcp", &headers);
    let gap = stream.next().unwrap();
    assert_eq!(gap.data["status"], "gap");
    assert_eq!(gap.data["reason"], "retention");
    assert_eq!(messages(&stream.take(2)), ["four", "five"]);
    assert_eq!(
        server.metric("notification_gaps_total{reason=\"retention\"}"),
        1.0
    );
    let page = server.get(&format!("/v1/events?since={first}")).json();
    assert_eq!(
        (&page["truncated"], &page["has_more"]),
        (&true.into(), &false.into())
    );
}

#[test]
fn a_filter_and_an_audience_decide_who_gets_what() {
    let server = server(&[]);
    let open = |query: &str| EventStream::open(server.address(), &format!("/mcp?{query}"), &[]);
    let mut ops = open("topic=ops%2F**&topic=web&type=notification");
    let mut alice = open("client_id=alice");
    let publish = |event: Value| server.post("/v1/events", &event).json();
    let event = |topic: &str, message: &str| {
        let mut event = notification(message);
        event["topic"] = topic.into();
        event
    };
    assert_eq!(publish(event("ops/db", "a"))["subscribers"], 2);
    assert_eq!(publish(event("mail", "b"))["subscribers"], 1);
    let mut for_alice = event("ops", "c");
    for_alice["audience"] = serde_json::json!({"clients": ["alice"]});
    assert_eq!(publish(for_alice)["subscribers"], 1);
    assert_eq!(publish(event("web", "d"))["subscribers"], 2);
    assert_eq!(messages(&ops.take(2)), ["a", "d"]);
    assert_eq!(messages(&alice.take(4)), ["a", "b", "c", "d"]);
    let read = |query: &str| server.get(&format!("/v1/events?{query}")).json()["events"].clone();
    assert_eq!(messages(read("topic=ops/**").as_array().unwrap()), ["a"]);
    assert_eq!(
        messages(read("topic=ops&client_id=alice").as_array().unwrap()),
        ["c"]
    );
}

#[test]
fn heartbeats_come_in_silence_and_bring_the_cursor_along() {
    let server = server_with("[stream]\nheartbeat_seconds = 1");
    let mut stream = EventStream::open(server.address(), "/mcp?topic=quiet", &[]);
    stream.comment();
    let before = stream.last_id().unwrap().to_owned();
    let cursor = publish(&server, "not for this stream");
    assert_ne!(cursor, before);
    while stream.last_id() != Some(&cursor) {
        stream.comment();
    }
}

#[test]
fn what_cannot_be_a_stream_is_refused_by_name() {
    let server = server(&[]);
    let check = |path: &str, headers: &[(&str, &str)], status: u16, named: &str| {
        let answer = refused(&server, path, headers);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"].as_str().unwrap().contains(named),
            "{problem}"
        );
    };
    for path in ["/mcp", "/v1/stream"] {
        let with = |query: &str| format!("{path}?{query}");
        check(
            path,
            &[("Last-Event-ID", "yesterday")],
            400,
            "Last-Event-ID",
        );
        check(
            path,
            &[("Accept", "application/json")],
            406,
            "text/event-stream",
        );
        check(&with("last_event_id=7"), &[], 400, "last_event_id");
        check(&with("since=soon"), &[], 400, "since");
        check(
            &with("topics=a"),
            &[],
            400,
            "known are topic, type, name, min_priority, tag, client_id, since, last_event_id",
        );
        check(&with("topic=a//b"), &[], 400, "topic");
    }
    assert_eq!(server.metric("notification_connections"), 0.0);
}

#[test]
fn head_and_options_are_answered() {
    let server = server(&[]);
    for path in ["/mcp", "/v1/stream"] {
        let head = request(server.address(), "HEAD", path, &[], "");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let preflight = [
            ("Origin", "http://localhost:3000"),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "last-event-id"),
        ];
        let options = request(server.address(), "OPTIONS", path, &preflight, "");
        assert_eq!(options.status, 200, "{options:?}");
        let allowed = options.header("access-control-allow-origin");
        assert_eq!(allowed, Some("http://localhost:3000"));
        let headers = options.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("last-event-id"), "{headers}");
    }
    assert_eq!(server.metric("notification_connections"), 0.0);
}

#[test]
fn pages_of_other_sites_and_rebound_names_are_refused_at_every_door() {
    let server = server(&[]);
    let port = server.address().port();
    let rebound = format!("evil.test:{port}");
    let rpc = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":
        {"name":"send_notification","arguments":{"message":"m"}}}"#;
    let event = notification("m").to_string();
    for (method, path, body) in [
        ("GET", "/mcp", ""),
        ("OPTIONS", "/mcp", ""),
        ("POST", "/mcp", rpc),
        ("GET", "/v1/stream", ""),
        ("GET", "/v1/events", ""),
        ("POST", "/v1/events", event.as_str()),
        ("POST", "/v1/topics/ops", "m"),
        ("GET", "/metrics", ""),
        ("GET", "/", ""),
        ("GET", "/nowhere", ""),
    ] {
        for header in [
            ("Origin", "https://evil.test"),
            ("Origin", "null"),
            ("Host", rebound.as_str()),
        ] {
            let headers = [header, ("Content-Type", "application/json")];
            let answer = request(server.address(), method, path, &headers, body);
            assert_eq!(answer.status, 403, "{method} {path} {header:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
            match path {
                "/mcp" => assert_eq!(answer.json()["jsonrpc"], "2.0"),
                _ => assert_eq!(answer.json()["status"], 403),
            }
        }
    }
    assert_eq!(server.get("/v1/events").json()["events"], json!([]));
}
