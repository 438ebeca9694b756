//! Groups: whoever is in one when an event is published gets it.

mod common;

use common::{notification, refused, server};
use notification_testkit::{EventStream, Response, ServerProcess, request};
use serde_json::{Value, json};

fn ask(server: &ServerProcess, method: &str, path: &str) -> Response {
    request(server.address(), method, path, &[], "")
}

fn join(server: &ServerProcess, group: &str, client: &str) -> u16 {
    let path = format!("/v1/groups/{group}/clients/{client}");
    let answer = ask(server, "PUT", &path);
    assert_eq!(answer.json(), json!({"group": group, "client_id": client}));
    answer.status
}

fn leave(server: &ServerProcess, group: &str, client: &str) -> u16 {
    let path = format!("/v1/groups/{group}/clients/{client}");
    ask(server, "DELETE", &path).status
}

/// Publishes for a group; how many open streams it was for.
fn publish(server: &ServerProcess, group: &str, message: &str) -> Value {
    let mut event = notification(message);
    event["audience"] = json!({"groups": [group]});
    let answer = server.post("/v1/events", &event);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["subscribers"].clone()
}

fn connect(server: &ServerProcess, client: &str) -> EventStream {
    let path = format!("/v1/stream?client_id={client}");
    EventStream::open(server.address(), &path, &[])
}

fn messages(events: &[Value]) -> Vec<&str> {
    let messages = events.iter().map(|event| event["message"].as_str());
    messages.map(Option::unwrap).collect()
}

#[test]
fn joining_and_leaving_holds_from_the_next_event_on_for_streams_that_are_open() {
    let server = server(&[]);
    let mut alice = connect(&server, "alice");
    let mut bob = connect(&server, "bob");
    let mut nobody = EventStream::open(server.address(), "/v1/stream", &[]);

    assert_eq!(publish(&server, "ops", "nobody is there"), 0);
    assert_eq!(join(&server, "ops", "alice"), 201);
    assert_eq!(join(&server, "ops", "alice"), 200);
    assert_eq!(publish(&server, "ops", "alice is there"), 1);
    assert_eq!(join(&server, "ops", "bob"), 201);
    assert_eq!(publish(&server, "ops", "both are there"), 2);
    assert_eq!(leave(&server, "ops", "alice"), 204);
    assert_eq!(leave(&server, "ops", "alice"), 404);
    assert_eq!(publish(&server, "ops", "bob is there"), 1);
    server.post("/v1/events", &notification("for all"));

    let of_alice = ["alice is there", "both are there", "for all"];
    assert_eq!(messages(&alice.take(3)), of_alice);
    let of_bob = ["both are there", "bob is there", "for all"];
    assert_eq!(messages(&bob.take(3)), of_bob);
    assert_eq!(messages(&nobody.take(1)), ["for all"]);

    // Who was in it then decides, too, when it is read later.
    let check = |client: &str, expected: &[&str]| {
        let page = server.get(&format!("/v1/events?client_id={client}")).json();
        assert_eq!(messages(page["events"].as_array().unwrap()), expected);
        let path = format!("/v1/stream?since=all&client_id={client}");
        let mut stream = EventStream::open(server.address(), &path, &[]);
        assert_eq!(messages(&stream.take(expected.len())), expected);
    };
    check("alice", &of_alice);
    check("bob", &of_bob);
    check("carol", &["for all"]);
}

#[test]
fn the_groups_are_those_that_have_members_also_after_a_restart() {
    let mut server = server(&[]);
    assert_eq!(server.get("/v1/groups").json(), json!({"groups": []}));
    for (group, client) in [
        ("ops", "bob"),
        ("ops", "alice"),
        ("web", "alice"),
        ("x", "x"),
    ] {
        assert_eq!(join(&server, group, client), 201);
    }
    assert_eq!(leave(&server, "x", "x"), 204);
    let check = |server: &ServerProcess| {
        let groups = json!([{"group": "ops", "clients": 2}, {"group": "web", "clients": 1}]);
        let listed = server.get("/v1/groups").json();
        assert_eq!(listed, json!({"groups": groups}));
        let ops = server.get("/v1/groups/ops").json();
        assert_eq!(ops, json!({"group": "ops", "clients": ["alice", "bob"]}));
        assert!(refused(&server.get("/v1/groups/x"), 404).is_empty());
    };
    check(&server);
    server.kill();
    server.restart();
    check(&server);
}

#[test]
fn a_member_that_is_not_connected_gets_it_when_it_comes() {
    let server = server(&[]);
    join(&server, "ops", "alice");
    let path = "/v1/stream?client_id=alice&durable=true";
    let mut stream = EventStream::open(server.address(), path, &[]);
    assert_eq!(publish(&server, "ops", "one"), 1);
    assert_eq!(messages(&stream.take(1)), ["one"]);
    stream.close();
    notification_testkit::eventually("she has left", || {
        server.metric("notification_connections") == 0.0
    });
    let mut event = notification("two");
    event["audience"] = json!({"groups": ["ops"], "clients": ["bob"]});
    let answer = server.post("/v1/events", &event).json();
    assert_eq!(
        (&answer["subscribers"], &answer["clients_away"]),
        (&json!(0), &json!(1))
    );
    let mut stream = EventStream::open(server.address(), path, &[]);
    loop {
        let event = stream.next().expect("another event").data;
        if event["message"] == "two" {
            break;
        }
        assert_eq!(
            event["message"], "one",
            "what was not confirmed comes again"
        );
    }
}

#[test]
fn names_that_are_none_are_refused_by_name() {
    let server = server(&[]);
    let check = |method: &str, path: &str, status: u16, fields: &[&str]| {
        assert_eq!(
            refused(&ask(&server, method, path), status),
            fields,
            "{path}"
        );
    };
    for method in ["PUT", "DELETE"] {
        check(method, "/v1/groups/a%20b/clients/c", 422, &["group"]);
        check(method, "/v1/groups/a/clients/b%20c", 422, &["client_id"]);
        check(
            method,
            "/v1/groups/%2F/clients/%0A",
            422,
            &["group", "client_id"],
        );
        check(
            method,
            "/v1/groups/../clients/%2e",
            422,
            &["group", "client_id"],
        );
        check(method, "/v1/groups/a/clients/b?force=1", 400, &["force"]);
    }
    check("GET", "/v1/groups/a%20b", 422, &["group"]);
    check("GET", "/v1/groups/a?limit=1", 400, &["limit"]);
    check("GET", "/v1/groups?limit=1", 400, &["limit"]);
    check("POST", "/v1/groups", 405, &[]);
    check("GET", "/v1/groups/a/clients/b", 405, &[]);
    check("PUT", "/v1/groups/a/clients", 404, &[]);
    assert_eq!(server.get("/v1/groups").json(), json!({"groups": []}));
}
