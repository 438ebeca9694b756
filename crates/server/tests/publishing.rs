//! Publishing and reading over HTTP.

mod common;

use common::{notification, server};
use notification_testkit::{EventStream, curl, request};
use serde_json::{Value, json};

#[test]
fn one_event_is_answered_as_one_and_an_array_as_an_array() {
    let server = server(&[]);
    let mut stream = EventStream::open(server.address(), "/mcp", &[]);
    let answer = server.post("/v1/events", &notification("one"));
    assert_eq!(answer.status, 201);
    let one = answer.json();
    assert_eq!(one["subscribers"], 1);
    let event = stream.next().unwrap();
    assert_eq!(event.id.as_deref(), one["cursor"].as_str());
    assert_eq!(event.data["event_id"], one["event_id"]);
    assert_eq!(event.data["timestamp"], one["timestamp"]);

    let answer = server.post(
        "/v1/events",
        &json!([
            {"type": "progress", "task_id": "t", "task_name": "T", "step": 1, "total_steps": 8},
            {"type": "event", "name": "incident.created", "topic": "ops", "data": {"n": 1}},
        ]),
    );
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json().as_array().unwrap().len(), 2);
    let events = stream.take(2);
    assert_eq!(events[0]["progress"], 12.5);
    assert_eq!(
        (&events[1]["name"], &events[1]["data"]["n"]),
        (&json!("incident.created"), &json!(1))
    );
}

#[test]
fn a_line_of_curl_is_a_notification_on_a_topic() {
    let server = server(&[]);
    let url = server.url("/v1/topics/ops/backups");
    curl(&["-d", "Backup done", &url]);
    curl(&[
        "-d",
        "Disk füll",
        "-H",
        "Title: Hällo",
        "-H",
        "Type: error",
        &url,
    ]);
    let events = server.get("/v1/events?topic=ops/backups").json()["events"].clone();
    assert_eq!(events[0]["message"], "Backup done");
    assert_eq!(events[0]["notification_type"], "info");
    assert_eq!(events[1]["message"], "Disk füll");
    assert_eq!(
        (&events[1]["title"], &events[1]["notification_type"]),
        (&json!("Hällo"), &json!("error"))
    );
}

#[test]
fn json_from_plain_curl_is_taken_as_what_it_is() {
    let server = server(&[]);
    let event = notification("m").to_string();
    let answer: Value =
        serde_json::from_str(&curl(&["-d", &event, &server.url("/v1/events")])).unwrap();
    assert!(answer["cursor"].is_string(), "{answer}");
}

#[test]
fn the_log_is_read_page_by_page() {
    let server = server(&[]);
    let events: Vec<_> = (0..25).map(|n| notification(&n.to_string())).collect();
    server.post("/v1/events", &Value::Array(events));
    let mut seen = Vec::new();
    let mut since = "all".to_owned();
    loop {
        let page = server
            .get(&format!("/v1/events?since={since}&limit=10"))
            .json();
        let events = page["events"].as_array().unwrap();
        seen.extend(
            events
                .iter()
                .map(|event| event["message"].as_str().unwrap().to_owned()),
        );
        since = page["cursor"].as_str().unwrap().to_owned();
        assert_eq!(page["truncated"], false);
        if page["has_more"] == false {
            break;
        }
    }
    let expected: Vec<_> = (0..25).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn what_makes_no_sense_is_refused_by_name_and_changes_nothing() {
    let server = server(&[]);
    let check = |method: &str, path: &str, body: &str, status: u16, fields: &[&str]| {
        let headers = [("Content-Type", "application/json")];
        let answer = request(server.address(), method, path, &headers, body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        let problem = answer.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let named: Vec<_> = errors
            .iter()
            .map(|e| e["field"].as_str().unwrap())
            .collect();
        assert_eq!(named, fields, "{problem}");
    };
    let post = |body: &str, status: u16, fields: &[&str]| {
        check("POST", "/v1/events", body, status, fields)
    };
    post("", 400, &[]);
    post("{", 400, &[]);
    post(r#"{"type":"notification","message":"m"} x"#, 400, &[]);
    post(&"[".repeat(100_000), 400, &[]);
    post("5", 422, &[""]);
    post("[]", 422, &[""]);
    post(r#"{"message":"m"}"#, 422, &["type"]);
    post(r#"{"type":"status"}"#, 422, &["type"]);
    post(r#"{"type":"notification","message":""}"#, 422, &["message"]);
    post(
        r#"{"type":"notification","message":"m","colour":1}"#,
        422,
        &["colour"],
    );
    post(
        r#"[{"type":"notification","message":"m"},{"type":"event"}]"#,
        422,
        &["[1].name"],
    );
    post(&notification(&"m".repeat(1 << 20)).to_string(), 413, &[]);
    check(
        "POST",
        "/v1/events?dry=1",
        &notification("m").to_string(),
        400,
        &["dry"],
    );
    check("POST", "/v1/topics/a%20b", "m", 422, &["topic"]);
    check("POST", "/v1/topics/a%ff", "m", 422, &["topic"]);
    check("POST", "/v1/topics/a//b", "m", 422, &["topic"]);
    check("POST", "/v1/topics/a", "", 422, &["message"]);
    check("POST", "/v1/topics/a?x=1", "m", 400, &["x"]);
    check("GET", "/v1/events?limit=0", "", 400, &["limit"]);
    check("GET", "/v1/events?limit=1001", "", 400, &["limit"]);
    check("GET", "/v1/events?since=now", "", 400, &["since"]);
    check("PUT", "/v1/events", "", 405, &[]);
    check("GET", "/v1/nothing", "", 404, &[]);
    let headers = [("Content-Type", "text/csv")];
    let csv = request(server.address(), "POST", "/v1/events", &headers, "a,b");
    assert_eq!(csv.status, 415);
    let headers = [("Type", "loud")];
    let loud = request(server.address(), "POST", "/v1/topics/a", &headers, "m");
    assert_eq!(
        (loud.status, &loud.json()["errors"][0]["field"]),
        (422, &json!("notification_type"))
    );
    assert_eq!(server.get("/v1/events").json()["events"], json!([]));
}

#[test]
fn metrics_say_what_happened() {
    let server = server(&[]);
    let mut stream = EventStream::open(server.address(), "/mcp", &[]);
    server.post("/v1/events", &json!([notification("a"), notification("b")]));
    stream.take(2);
    for (name, expected) in [
        ("notification_connections", 1.0),
        (
            "notification_events_published_total{type=\"notification\"}",
            2.0,
        ),
        ("notification_events_delivered_total", 2.0),
        ("notification_publish_seconds_count", 1.0),
        ("notification_commit_seconds_count", 1.0),
        ("notification_log_events", 2.0),
        ("notification_slow_readers", 0.0),
    ] {
        assert_eq!(server.metric(name), expected, "{name}");
    }
    assert!(server.metric("notification_log_bytes") > 100.0);
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn reading_at_the_head_holds_nobody_up() {
    let server = server(&["--durability", "write"]);
    let server = &server;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..200 {
                    let answer = server.post("/v1/events", &notification(&n.to_string()));
                    assert_eq!(answer.status, 201);
                }
            });
        }
        for _ in 0..8 {
            scope.spawn(|| {
                let mut since = "all".to_owned();
                for _ in 0..200 {
                    let page = server
                        .get(&format!("/v1/events?since={since}&limit=1000"))
                        .json();
                    since = page["cursor"].as_str().unwrap().to_owned();
                }
            });
        }
    });
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn answers_are_bounded_whatever_is_asked() {
    let server = server(&[]);
    let mut large = notification("m");
    large["data"] = json!({"x": "y".repeat(60_000)});
    for _ in 0..4 {
        let answer = server.post("/v1/events", &Value::Array(vec![large.clone(); 15]));
        assert_eq!(answer.status, 201);
    }
    let mut seen = 0;
    let mut since = "all".to_owned();
    loop {
        let answer = server.get(&format!("/v1/events?since={since}&limit=1000"));
        assert!(answer.body.len() < 2 << 20, "{} bytes", answer.body.len());
        let page = answer.json();
        seen += page["events"].as_array().unwrap().len();
        since = page["cursor"].as_str().unwrap().to_owned();
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, 60);

    let unknown: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("f{n}"), json!(1))).collect();
    let answer = server.post("/v1/events", &Value::Array(vec![unknown.into(); 40]));
    assert_eq!(answer.status, 422);
    assert!(answer.body.len() < 20_000, "{} bytes", answer.body.len());
    let query: Vec<_> = (0..1_000).map(|n| format!("p{n}=1")).collect();
    let answer = server.get(&format!("/v1/events?{}", query.join("&")));
    assert_eq!(answer.status, 400);
    assert!(answer.body.len() < 20_000, "{} bytes", answer.body.len());
}

#[test]
fn an_event_under_its_own_id_is_published_once() {
    let server = server(&[]);
    let mut event = notification("m");
    event["event_id"] = "backup-7".into();
    let first = server.post("/v1/events", &event);
    assert_eq!(first.status, 201);
    let again = server.post("/v1/events", &event);
    assert_eq!(
        (again.status, &again.json()["duplicate"]),
        (200, &json!(true))
    );
    assert_eq!(again.json()["cursor"], first.json()["cursor"]);
    let batch = server.post("/v1/events", &json!([notification("n"), event]));
    assert_eq!(
        (batch.status, &batch.json()[1]["duplicate"]),
        (201, &json!(true))
    );

    event["message"] = "another".into();
    let conflict = server.post("/v1/events", &json!([notification("o"), event]));
    assert_eq!(
        (conflict.status, &conflict.json()["errors"][0]["field"]),
        (409, &json!("[1].event_id"))
    );
    let page = server.get("/v1/events").json();
    let messages = page["events"].as_array().unwrap().iter();
    let messages: Vec<_> = messages.map(|e| e["message"].clone()).collect();
    assert_eq!(messages, ["m", "n"]);
}

#[test]
fn lines_are_answered_one_by_one() {
    let server = server(&[]);
    let lines = [
        notification("one").to_string(),
        String::new(),
        "nonsense".to_owned(),
        json!({"type": "notification"}).to_string(),
        notification("two").to_string(),
    ];
    let headers = [("Content-Type", "application/x-ndjson")];
    let answer = request(
        server.address(),
        "POST",
        "/v1/events",
        &headers,
        &lines.join("\n"),
    );
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let answers: Vec<Value> = answer
        .body
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let told: Vec<_> = answers
        .iter()
        .map(|a| (a["line"].as_u64(), a["status"].as_u64()))
        .collect();
    let expected = [(1, 201), (3, 400), (4, 422), (5, 201)];
    assert_eq!(
        told,
        expected.map(|(line, status)| (Some(line), Some(status)))
    );
    assert_eq!(answers[2]["errors"][0]["field"], "message");
    let page = server.get("/v1/events").json();
    assert_eq!(page["events"][1]["event_id"], answers[3]["event_id"]);
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
}

#[test]
fn ten_thousand_lines_are_taken_and_no_more() {
    let server = server(&["--durability", "write"]);
    let line = notification("m").to_string() + "\n";
    let headers = [("Content-Type", "application/x-ndjson")];
    let body = line.repeat(10_003);
    let answer = request(server.address(), "POST", "/v1/events", &headers, &body);
    let answers: Vec<_> = answer.body.lines().collect();
    assert_eq!(answers.len(), 10_001);
    let last: Value = serde_json::from_str(answers[10_000]).unwrap();
    assert_eq!(
        (&last["line"], &last["status"]),
        (&json!(10_001), &json!(413))
    );
    assert_eq!(server.metric("notification_log_events"), 10_000.0);
}
