//! Receipts: who has got, and who has acknowledged, an event.

mod common;

use common::{notification, refused, server};
use notification_testkit::{EventStream, ServerProcess, eventually, request};
use serde_json::{Value, json};

fn publish(server: &ServerProcess, event: Value) -> Value {
    let answer = server.post("/v1/events", &event);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

fn asking(id: &str) -> Value {
    let mut event = notification("m");
    event["event_id"] = id.into();
    event["require_ack"] = true.into();
    event
}

fn connect(server: &ServerProcess, client: &str) -> EventStream {
    let path = format!("/v1/stream?client_id={client}");
    EventStream::open(server.address(), &path, &[])
}

fn acknowledge(server: &ServerProcess, client: &str, what: Value) -> Value {
    let answer = server.post(&format!("/v1/clients/{client}/acks"), &what);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Who is listed, whether it got the event, and whether it acknowledged it.
fn receipts(server: &ServerProcess, id: &str) -> Vec<(String, bool, bool)> {
    let answer = server.get(&format!("/v1/events/{id}/receipts")).json();
    assert_eq!(answer["event_id"], id);
    assert_eq!(answer["require_ack"], true, "{answer}");
    let receipts = answer["receipts"].as_array().unwrap().iter();
    let receipts = receipts.map(|receipt| {
        let client = receipt["client_id"].as_str().unwrap().to_owned();
        let has = |time: &str| receipt.get(time).expect("a time or null").is_string();
        (client, has("delivered_at"), has("acknowledged_at"))
    });
    receipts.collect()
}

fn receipt(client: &str, delivered: bool, acknowledged: bool) -> (String, bool, bool) {
    (client.to_owned(), delivered, acknowledged)
}

#[test]
fn receipts_are_shown_and_told_live() {
    let server = server(&[]);
    request(
        server.address(),
        "PUT",
        "/v1/groups/ops/clients/carol",
        &[],
        "",
    );
    let mut watch = EventStream::open(server.address(), "/v1/stream?topic=$receipts/fire", &[]);
    let mut event = asking("fire");
    event["audience"] = json!({"clients": ["alice", "bob"], "groups": ["ops"]});
    publish(&server, event);
    let all = ["alice", "bob", "carol"];
    assert_eq!(
        receipts(&server, "fire"),
        all.map(|c| receipt(c, false, false))
    );

    let mut told = |name: &str, client: &str| {
        let event = watch.next().unwrap().data;
        assert_eq!(event["topic"], "$receipts/fire");
        assert_eq!(event["name"], name);
        assert_eq!(
            event["data"],
            json!({"event_id": "fire", "client_id": client})
        );
    };
    let path = "/v1/stream?client_id=carol&since=all";
    let mut carol = EventStream::open(server.address(), path, &[]);
    assert_eq!(carol.take(1)[0]["require_ack"], true);
    told("receipt.delivered", "carol");
    assert_eq!(receipts(&server, "fire")[2], receipt("carol", true, false));

    let fire = json!({"event_ids": ["fire"]});
    assert_eq!(
        acknowledge(&server, "carol", fire.clone()),
        json!({"receipts": 1})
    );
    told("receipt.acknowledged", "carol");
    assert_eq!(receipts(&server, "fire")[2], receipt("carol", true, true));
    assert_eq!(
        acknowledge(&server, "carol", fire.clone()),
        json!({"receipts": 0})
    );

    // Whoever acknowledges may have heard of it otherwise.
    assert_eq!(acknowledge(&server, "alice", fire)["receipts"], 1);
    told("receipt.acknowledged", "alice");
    let expected = [
        receipt("alice", false, true),
        receipt("bob", false, false),
        receipt("carol", true, true),
    ];
    assert_eq!(receipts(&server, "fire"), expected);
}

#[test]
fn an_event_for_everyone_lists_those_who_got_it() {
    let server = server(&[]);
    let mut alice = connect(&server, "alice");
    let mut nameless = EventStream::open(server.address(), "/v1/stream", &[]);
    publish(&server, asking("news"));
    alice.take(1);
    nameless.take(1);
    eventually("alice is listed", || {
        receipts(&server, "news") == [receipt("alice", true, false)]
    });
}

#[test]
fn a_cursor_acknowledges_all_up_to_it() {
    let server = server(&[]);
    let [first, second, third] = ["a", "b", "c"].map(|id| {
        let mut event = asking(id);
        event["audience"] = json!({"clients": ["alice"]});
        publish(&server, event)
    });
    publish(&server, notification("asks for nothing"));
    let through = |answer: &Value| json!({"cursor": answer["cursor"]});
    assert_eq!(
        acknowledge(&server, "alice", through(&first))["receipts"],
        1
    );
    assert_eq!(
        acknowledge(&server, "alice", through(&third))["receipts"],
        2
    );
    assert_eq!(
        acknowledge(&server, "alice", through(&second))["receipts"],
        0
    );
    for id in ["a", "b", "c"] {
        assert_eq!(receipts(&server, id), [receipt("alice", false, true)]);
    }
}

#[test]
fn an_event_that_is_named_twice_is_acknowledged_once() {
    let server = server(&[]);
    publish(&server, asking("a"));
    let twice = json!({"event_ids": ["a", "a"]});
    assert_eq!(acknowledge(&server, "alice", twice)["receipts"], 1);
    let told = server.get("/v1/events?topic=$receipts/a").json();
    assert_eq!(told["events"].as_array().unwrap().len(), 1, "{told}");
}

#[test]
fn an_event_that_asks_for_nothing_has_no_receipts() {
    let server = server(&[]);
    let mut alice = connect(&server, "alice");
    let answer = publish(&server, notification("m"));
    alice.take(1);
    let id = answer["event_id"].as_str().unwrap();
    let shown = server.get(&format!("/v1/events/{id}/receipts")).json();
    assert_eq!(
        shown,
        json!({"event_id": id, "require_ack": false, "receipts": []})
    );
    let ack = server.post("/v1/clients/alice/acks", &json!({"event_ids": [id]}));
    assert_eq!(refused(&ack, 422), ["event_ids[0]"]);
}

#[test]
fn events_that_are_none_are_refused() {
    let server = server(&[]);
    let check = |path: &str, status: u16, fields: &[&str]| {
        assert_eq!(refused(&server.get(path), status), fields, "{path}");
    };
    check("/v1/events/unknown/receipts", 404, &[]);
    check("/v1/events/a%20b/receipts", 422, &["event_id"]);
    check("/v1/events/a/receipts?x=1", 400, &["x"]);
    check("/v1/events//receipts", 422, &["event_id"]);
    check("/v1/events/a", 404, &[]);
}
