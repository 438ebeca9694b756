//! Tasks: what jobs say of themselves, over HTTP.

mod common;

use common::{refused, server, server_with};
use notification_testkit::{EventStream, Response, ServerProcess, request};
use serde_json::{Value, json};

fn put(server: &ServerProcess, task: &str, report: &Value) -> Response {
    let headers = [("Content-Type", "application/json")];
    let path = format!("/v1/tasks/{task}");
    request(
        server.address(),
        "PUT",
        &path,
        &headers,
        &report.to_string(),
    )
}

fn report(server: &ServerProcess, task: &str, report: Value) -> u16 {
    let answer = put(server, task, &report);
    let published = answer.json();
    assert!(published["cursor"].is_string(), "{answer:?}");
    assert!(published["event_id"].is_string(), "{answer:?}");
    answer.status
}

fn ids(server: &ServerProcess, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/v1/tasks{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let tasks = answer.json()["tasks"].as_array().unwrap().clone();
    let ids = tasks.iter().map(|task| task["task_id"].as_str());
    ids.map(|id| id.unwrap().to_owned()).collect()
}

#[test]
fn a_job_reports_and_everyone_sees_how_far_it_is() {
    let server = server(&[]);
    let path = "/v1/stream?topic=jobs/*";
    let mut stream = EventStream::open(server.address(), path, &[]);
    let first =
        json!({"task_name": "Import", "step": 3, "total_steps": 10, "topic": "jobs/import"});
    assert_eq!(report(&server, "import-7", first), 201);
    assert_eq!(
        report(
            &server,
            "import-7",
            json!({"step": 4, "message": "people.csv"})
        ),
        200
    );
    let [first, second] = stream.take(2).try_into().unwrap();
    assert_eq!(
        (&first["type"], &first["task_id"]),
        (&json!("progress"), &json!("import-7"))
    );
    assert_eq!(
        (&first["progress"], &first["state"]),
        (&json!(30), &json!("running"))
    );
    assert_eq!(first["started_at"], first["timestamp"]);
    assert_eq!(
        (&second["progress"], &second["message"]),
        (&json!(40), &json!("people.csv"))
    );
    assert_eq!(second["started_at"], first["timestamp"]);

    let shown = server.get("/v1/tasks/import-7").json();
    let newest = server.get("/v1/events?topic=jobs/*").json()["cursor"].clone();
    assert_eq!(
        shown,
        json!({
            "task_id": "import-7", "task_name": "Import", "state": "running", "progress": 40,
            "step": 4, "total_steps": 10, "message": "people.csv", "topic": "jobs/import",
            "started_at": first["timestamp"], "updated_at": second["timestamp"],
            "cursor": newest, "event_id": second["event_id"],
        })
    );
    assert_eq!(report(&server, "import-7", json!({"step": 10})), 200);
    assert_eq!(
        server.get("/v1/tasks/import-7").json()["state"],
        "completed"
    );
}

#[test]
fn tasks_are_listed_newest_first_and_only_to_those_they_are_for() {
    let server = server(&[]);
    request(
        server.address(),
        "PUT",
        "/v1/groups/ops/clients/bob",
        &[],
        "",
    );
    report(&server, "a", json!({"task_name": "A", "topic": "jobs/a"}));
    report(
        &server,
        "b",
        json!({"task_name": "B", "topic": "jobs/b", "progress": 100}),
    );
    let audience = json!({"clients": ["alice"], "groups": ["ops"]});
    let private = json!({"task_name": "C", "audience": audience});
    assert_eq!(report(&server, "c", private), 201);
    assert_eq!(report(&server, "c", json!({"progress": 10})), 200);
    report(&server, "a", json!({"progress": 5}));
    let check =
        |query: &str, expected: &[&str]| assert_eq!(ids(&server, query), expected, "{query}");
    check("", &["a", "b"]);
    check("?client_id=alice", &["a", "c", "b"]);
    check("?client_id=bob", &["a", "c", "b"]);
    check("?client_id=carol", &["a", "b"]);
    check("?topic=jobs/*", &["a", "b"]);
    check("?topic=jobs/b&topic=none", &["b"]);
    check("?state=completed", &["b"]);
    check("?state=running&state=failed&client_id=alice", &["a", "c"]);
    check("?topic=jobs/b&state=running", &[]);

    assert!(refused(&server.get("/v1/tasks/c"), 404).is_empty());
    assert!(refused(&server.get("/v1/tasks/c?client_id=carol"), 404).is_empty());
    for client in ["alice", "bob"] {
        let task = server
            .get(&format!("/v1/tasks/c?client_id={client}"))
            .json();
        assert_eq!(
            (&task["task_name"], &task["progress"]),
            (&json!("C"), &json!(10))
        );
    }
}

#[test]
fn progress_never_goes_backwards() {
    let server = server(&[]);
    report(
        &server,
        "t",
        json!({"task_name": "T", "step": 5, "total_steps": 10, "topic": "jobs"}),
    );
    let check = |json: Value, status: u16, fields: &[&str]| {
        assert_eq!(refused(&put(&server, "t", &json), status), fields, "{json}");
    };
    check(json!({"step": 4}), 409, &["step"]);
    check(json!({"progress": 49.5}), 409, &["progress"]);
    check(
        json!({"step": 6, "total_steps": 20, "progress": 30}),
        409,
        &["progress"],
    );
    check(json!({"step": 11}), 409, &["step"]);
    check(json!({"total_steps": 4}), 409, &["total_steps"]);
    check(json!({"topic": "other"}), 409, &["topic"]);
    check(
        json!({"audience": {"clients": ["alice"]}}),
        409,
        &["audience"],
    );
    assert_eq!(server.get("/v1/tasks/t").json()["step"], 5);
    assert_eq!(
        report(
            &server,
            "t",
            json!({"state": "failed", "message": "disk full"})
        ),
        200
    );
    check(json!({"step": 6}), 409, &["task_id"]);
    check(json!({"state": "failed"}), 409, &["task_id"]);
    let events = server.get("/v1/events?topic=jobs").json();
    assert_eq!(events["events"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_no_report_is_refused_by_name() {
    let server = server(&[]);
    let check = |json: Value, fields: &[&str]| {
        assert_eq!(refused(&put(&server, "t", &json), 422), fields, "{json}");
    };
    check(json!({}), &["task_name"]);
    check(json!({"step": 1}), &["task_name"]);
    check(json!([]), &[""]);
    check(json!({"task_name": ""}), &["task_name"]);
    check(json!({"task_name": "T", "task_id": "t"}), &["task_id"]);
    check(json!({"task_name": "T", "state": "stalled"}), &["state"]);
    check(json!({"task_name": "T", "topic": "$presence"}), &["topic"]);
    check(
        json!({"task_name": "T", "progress": 101, "step": -1}),
        &["progress", "step"],
    );
    check(
        json!({"task_name": "T", "step": 2, "total_steps": 1}),
        &["step"],
    );
    check(json!({"task_name": "T", "colour": "red"}), &["colour"]);

    let check = |method: &str, path: &str, body: &str, status: u16, fields: &[&str]| {
        let headers = [("Content-Type", "application/json")];
        let answer = request(server.address(), method, path, &headers, body);
        assert_eq!(refused(&answer, status), fields, "{method} {path}");
    };
    check("PUT", "/v1/tasks/t", "{", 400, &[]);
    check("PUT", "/v1/tasks/t?dry=1", "{}", 400, &["dry"]);
    check(
        "PUT",
        "/v1/tasks/a%20b",
        r#"{"task_name": "T"}"#,
        422,
        &["task_id"],
    );
    check("POST", "/v1/tasks/t", "{}", 405, &[]);
    check("GET", "/v1/tasks/t", "", 404, &[]);
    check("GET", "/v1/tasks/a%20b", "", 422, &["task_id"]);
    check("GET", "/v1/tasks/t?client_id=", "", 400, &["client_id"]);
    check("GET", "/v1/tasks?state=done", "", 400, &["state"]);
    check(
        "GET",
        "/v1/tasks?topic=a%20b&limit=0&page=1",
        "",
        400,
        &["topic", "limit", "page"],
    );
    let plain = [("Content-Type", "text/plain")];
    let answer = request(server.address(), "PUT", "/v1/tasks/t", &plain, "{}");
    assert!(refused(&answer, 415).is_empty());
    assert_eq!(ids(&server, ""), [""; 0]);
}

#[test]
fn a_stream_that_is_opened_late_first_gets_what_is_going_on() {
    let mut server = server(&[]);
    report(&server, "ended", json!({"task_name": "E", "progress": 100}));
    report(
        &server,
        "going-on",
        json!({"task_name": "G", "step": 1, "total_steps": 3}),
    );
    report(&server, "going-on", json!({"step": 2}));
    report(&server, "begun", json!({"task_name": "B"}));
    let check = |server: &ServerProcess| {
        let path = "/v1/stream?snapshot=true";
        let mut stream = EventStream::open(server.address(), path, &[]);
        let states: Vec<_> = (0..2).map(|_| stream.next().unwrap()).collect();
        assert!(states.iter().all(|event| event.id.is_none()), "{states:?}");
        let tasks = [&states[0].data, &states[1].data].map(|data| &data["task_id"]);
        assert_eq!(tasks, ["going-on", "begun"]);
        assert_eq!(states[0].data["step"], 2);
        let complete = stream.next().unwrap().data;
        assert_eq!(
            (&complete["status"], &complete["events"]),
            (&json!("snapshot_complete"), &json!(2))
        );
        stream
    };
    let mut stream = check(&server);
    report(&server, "begun", json!({"progress": 50}));
    let live = stream.next().unwrap();
    assert!(live.id.is_some());
    assert_eq!(
        (&live.data["task_id"], &live.data["progress"]),
        (&json!("begun"), &json!(50))
    );

    // What is known of tasks survives whatever happens to the server.
    server.kill();
    server.restart();
    assert_eq!(
        refused(&put(&server, "going-on", &json!({"step": 1})), 409),
        ["step"]
    );
    assert_eq!(
        report(&server, "going-on", json!({"step": 2, "message": "again"})),
        200
    );
    assert_eq!(ids(&server, "?state=running"), ["going-on", "begun"]);
}

#[test]
fn a_task_that_falls_silent_is_said_to_be_stalled_and_may_go_on() {
    let server = server_with("[tasks]\nstalled_after_seconds = 1");
    let mut stream = EventStream::open(server.address(), "/v1/stream", &[]);
    assert_eq!(
        report(&server, "t", json!({"task_name": "T", "progress": 10})),
        201
    );
    let states: Vec<_> = stream.take(2).iter().map(|e| e["state"].clone()).collect();
    assert_eq!(states, ["running", "stalled"]);
    assert_eq!(ids(&server, "?state=stalled"), ["t"]);
    assert_eq!(report(&server, "t", json!({"progress": 20})), 200);
    assert_eq!(stream.take(1)[0]["state"], "running");
}
