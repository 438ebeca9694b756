//! Durable clients, as they are shown and forgotten over HTTP.

mod common;

use common::{notification, refused, server};
use notification_testkit::{EventStream, Response, ServerProcess, eventually, request};
use serde_json::{Value, json};

fn connect(server: &ServerProcess, client: &str, more: &str) -> EventStream {
    let path = format!("/v1/stream?client_id={client}&durable=true{more}");
    EventStream::open(server.address(), &path, &[])
}

fn shown(server: &ServerProcess, client: &str) -> Value {
    let answer = server.get(&format!("/v1/clients/{client}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn forget(server: &ServerProcess, client: &str) -> Response {
    let path = format!("/v1/clients/{client}");
    request(server.address(), "DELETE", &path, &[], "")
}

#[test]
fn a_client_is_shown_with_what_is_left_to_it() {
    let server = server(&[]);
    assert_eq!(server.get("/v1/clients").json(), json!({"clients": []}));
    let mut alice = connect(&server, "alice", "&ack=manual&topic=ops/**");
    connect(&server, "bob", "").close();
    request(
        server.address(),
        "PUT",
        "/v1/groups/ops/clients/alice",
        &[],
        "",
    );
    let events: Vec<_> = ["ops/db", "ops", "web"]
        .iter()
        .map(|topic| json!({"type": "notification", "message": "m", "topic": topic}))
        .collect();
    let answers = server.post("/v1/events", &Value::Array(events)).json();
    let ids: Vec<_> = alice
        .take(2)
        .iter()
        .map(|e| e["event_id"].clone())
        .collect();

    let status = shown(&server, "alice");
    assert_eq!(status["ack"], "manual");
    assert_eq!(status["filter"], json!({"topics": ["ops/**"]}));
    assert_eq!(
        (&status["unacknowledged"], &status["has_more"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(status["groups"], json!(["ops"]));
    let connections = server.get("/v1/connections?client_id=alice").json();
    let open = &connections["connections"][0]["connection_id"];
    assert_eq!(status["connections"], json!([open]));
    assert!(status["created_at"].as_str() <= status["seen_at"].as_str());

    server.post("/v1/clients/alice/acks", &json!({"event_ids": [ids[1]]}));
    assert_eq!(shown(&server, "alice")["unacknowledged"], 1);
    server.post(
        "/v1/clients/alice/acks",
        &json!({"cursor": answers[2]["cursor"]}),
    );
    let status = shown(&server, "alice");
    assert_eq!(
        (&status["unacknowledged"], &status["cursor"]),
        (&json!(0), &answers[2]["cursor"])
    );

    let clients = server.get("/v1/clients").json();
    let [alice, bob] = clients["clients"].as_array().unwrap().as_slice() else {
        panic!("{clients}");
    };
    assert_eq!(
        (&alice["client_id"], &bob["client_id"]),
        (&json!("alice"), &json!("bob"))
    );
    assert_eq!(
        (&alice["groups"], &bob["groups"]),
        (&json!(["ops"]), &json!([]))
    );
    assert_eq!((&bob["ack"], &bob["filter"]), (&json!("auto"), &json!({})));
    for absent in ["unacknowledged", "has_more"] {
        assert!(alice.get(absent).is_none(), "{alice}");
    }
}

#[test]
fn a_client_that_is_forgotten_is_told_and_begins_anew() {
    let mut server = server(&[]);
    let mut durable = connect(&server, "alice", "&ack=manual");
    let mut plain = EventStream::open(server.address(), "/v1/stream?client_id=alice", &[]);
    server.post("/v1/events", &notification("one"));
    durable.take(1);
    assert_eq!(forget(&server, "alice").status, 204);
    assert_eq!(durable.next().unwrap().data["status"], "closing");
    assert_eq!(durable.next(), None);
    // A stream whose place is not kept has nothing to do with it.
    assert_eq!(plain.take(1)[0]["message"], "one");

    assert!(refused(&forget(&server, "alice"), 404).is_empty());
    assert!(refused(&server.get("/v1/clients/alice"), 404).is_empty());
    let away = server.post("/v1/events", &notification("two")).json();
    assert_eq!(away["clients_away"], 0);
    server.kill();
    server.restart();
    assert_eq!(server.get("/v1/clients").json(), json!({"clients": []}));

    let mut anew = connect(&server, "alice", "");
    server.post("/v1/events", &notification("three"));
    assert_eq!(anew.take(1)[0]["message"], "three");
}

#[test]
fn a_client_that_is_away_is_counted_and_shown() {
    let server = server(&[]);
    connect(&server, "alice", "&topic=ops").close();
    eventually("she is away", || {
        shown(&server, "alice")["connections"] == json!([])
    });
    let publish = |topic: &str| {
        let event = json!({"type": "notification", "message": "m", "topic": topic});
        server.post("/v1/events", &event).json()["clients_away"].clone()
    };
    assert_eq!(publish("ops"), 1);
    assert_eq!(publish("web"), 0);
    assert_eq!(shown(&server, "alice")["unacknowledged"], 1);
}

#[test]
fn what_cannot_be_acknowledged_is_refused_by_name_and_changes_nothing() {
    let server = server(&[]);
    let mut alice = connect(&server, "alice", "&ack=manual");
    let mut for_bob = notification("secret");
    for_bob["audience"] = json!({"clients": ["bob"]});
    let answers = server
        .post("/v1/events", &json!([notification("m"), for_bob]))
        .json();
    let [own, of_bob] = [0, 1].map(|n| answers[n]["event_id"].clone());
    alice.take(1);
    let check = |body: Value, status: u16, fields: &[&str]| {
        let answer = server.post("/v1/clients/alice/acks", &body);
        assert_eq!(refused(&answer, status), fields, "{body}");
        assert_eq!(shown(&server, "alice")["unacknowledged"], 1);
    };
    check(json!({}), 422, &["event_ids"]);
    check(json!([]), 422, &[""]);
    check(json!({"event_ids": []}), 422, &["event_ids"]);
    check(json!({"event_ids": ["a b"]}), 422, &["event_ids"]);
    check(
        json!({"event_ids": [own, "unknown"]}),
        422,
        &["event_ids[1]"],
    );
    check(json!({"event_ids": [of_bob, own]}), 422, &["event_ids[0]"]);
    check(json!({"event_ids": vec!["x"; 1_001]}), 422, &["event_ids"]);
    check(json!({"cursor": "0123abcd-1"}), 422, &["cursor"]);
    check(json!({"cursor": 1}), 422, &["cursor"]);
    check(
        json!({"cursor": "0123abcd-1", "event_ids": [own]}),
        422,
        &["cursor"],
    );
    check(json!({"event_ids": [own], "all": true}), 422, &["all"]);

    let ask = |path: &str, content_type: &str, body: &str| {
        let headers = [("Content-Type", content_type)];
        request(server.address(), "POST", path, &headers, body)
    };
    let answer = ask("/v1/clients/alice/acks?all=1", "application/json", "{}");
    assert_eq!(refused(&answer, 400), ["all"]);
    let answer = ask("/v1/clients/a%20b/acks", "application/json", "{}");
    assert_eq!(refused(&answer, 422), ["client_id"]);
    assert!(refused(&ask("/v1/clients/alice/acks", "application/json", "{"), 400).is_empty());
    assert!(refused(&ask("/v1/clients/alice/acks", "text/plain", "{}"), 415).is_empty());
    assert_eq!(refused(&forget(&server, "a%20b"), 422), ["client_id"]);
    assert_eq!(
        refused(&server.get("/v1/clients/a%20b"), 422),
        ["client_id"]
    );
    assert_eq!(refused(&server.get("/v1/clients?limit=1"), 400), ["limit"]);
}
