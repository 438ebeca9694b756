//! MCP clients that want to hear what has changed: sessions on their stream,
//! others by `subscriptions/listen`.

#[path = "common/mod.rs"]
mod common;
#[path = "common/modern.rs"]
mod modern;
#[path = "common/secured.rs"]
mod secured;
#[path = "common/session.rs"]
mod session;

use common::{notification, server};
use modern::Modern;
use notification_testkit::{EventStream, ServerProcess, eventually};
use secured::{Credential, Secured};
use serde_json::{Value, json};
use session::Client;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

fn publish(server: &ServerProcess, topic: &str) {
    let event = json!({"type": "event", "name": "n", "topic": topic});
    assert_eq!(server.post("/v1/events", &event).status, 201);
}

fn listen(wanted: Value) -> Modern {
    Modern::new("subscriptions/listen", json!({"notifications": wanted}))
}

/// An open `subscriptions/listen`, and what was agreed on.
fn listening(server: &ServerProcess, request: &Modern) -> (EventStream, Value) {
    let mut stream = EventStream::answered_on(request.send(server));
    let first = stream.next().unwrap().data;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["_meta"][SUBSCRIPTION], 7);
    (stream, first["params"]["notifications"].clone())
}

/// What a message says has changed.
fn changed(message: &Value) -> String {
    let method = message["method"].as_str().unwrap();
    match method.strip_prefix("notifications/resources/").unwrap() {
        "updated" => message["params"]["uri"].as_str().unwrap().to_owned(),
        other => other.to_owned(),
    }
}

/// The next message of a session's stream that is not an event's.
fn aside(stream: &mut EventStream) -> Value {
    loop {
        let event = stream.next().expect("another message");
        if event.data["method"] != "notifications/message" {
            assert_eq!(event.id, None);
            return event.data;
        }
    }
}

fn subscribe(client: &Client<'_>, uri: &str) -> Value {
    client
        .ask("resources/subscribe", json!({"uri": uri}))
        .json()
}

#[test]
fn a_session_is_told_of_what_it_subscribes_to_and_of_new_topics() {
    let server = server(&[]);
    publish(&server, "ops/db");
    for version in ["2025-03-26", "2025-11-25"] {
        let client = Client::connect(&server, version);
        let mut stream = client.stream();
        let event_id = format!("e:{version}");
        let event_uri = format!("notification://events/{event_id}");
        for uri in [
            "notification://topics/ops%2Fdb",
            "notification://tasks",
            "notification://tasks/t",
            &event_uri,
        ] {
            assert_eq!(subscribe(&client, uri)["result"], json!({}));
        }
        publish(&server, "ops/db");
        // As the client spelled it.
        let told = aside(&mut stream);
        assert_eq!(changed(&told), "notification://topics/ops%2Fdb");
        publish(&server, &format!("new/{version}"));
        assert_eq!(changed(&aside(&mut stream)), "list_changed");

        let task = json!({"type": "progress", "task_id": "t", "task_name": "T", "topic": "ops/db"});
        assert_eq!(server.post("/v1/events", &task).status, 201);
        let mut told: Vec<_> = (0..3).map(|_| changed(&aside(&mut stream))).collect();
        told.sort();
        let expected = [
            "notification://tasks",
            "notification://tasks/t",
            "notification://topics/ops%2Fdb",
        ];
        assert_eq!(told, expected);

        let unsubscribed = json!({"uri": "notification://topics/ops%2Fdb"});
        let answer = client.ask("resources/unsubscribe", unsubscribed).json();
        assert_eq!(answer["result"], json!({}));
        let event = json!({"type": "event", "name": "n", "topic": "ops/db", "event_id": event_id});
        assert_eq!(server.post("/v1/events", &event).status, 201);
        publish(&server, &format!("newer/{version}"));
        let mut told: Vec<_> = (0..2).map(|_| changed(&aside(&mut stream))).collect();
        told.sort();
        assert_eq!(told, ["list_changed".to_owned(), event_uri]);
    }
}

#[test]
fn what_changes_while_no_stream_is_open_is_said_once_on_the_next() {
    let server = server(&[]);
    publish(&server, "a");
    let client = Client::connect(&server, "2025-11-25");
    subscribe(&client, "notification://topics/a");
    for _ in 0..3 {
        publish(&server, "a");
        // Longer than what changes is put together.
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let mut stream = client.stream();
    assert_eq!(changed(&aside(&mut stream)), "notification://topics/a");
    publish(&server, "b");
    assert_eq!(changed(&aside(&mut stream)), "list_changed");
}

#[test]
fn a_subscription_that_cannot_be_is_refused() {
    let server = server(&[]);
    let client = Client::connect(&server, "2025-11-25");
    let check = |params: Value, says: &str| {
        let answer = client.ask("resources/subscribe", params).json();
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{answer}");
    };
    check(json!({}), "uri: expected a string");
    check(json!({"uri": 5}), "uri: expected a string");
    check(json!({"uri": "notification://topics/**"}), "no resource");
    check(json!({"uri": "http://example.com"}), "no resource");
    for number in 0..100 {
        let uri = format!("notification://topics/t{number}");
        assert_eq!(subscribe(&client, &uri)["result"], json!({}));
    }
    // One that there is, and one too many.
    assert_eq!(
        subscribe(&client, "notification://topics/t7")["result"],
        json!({})
    );
    let full = client.ask(
        "resources/subscribe",
        json!({"uri": "notification://tasks"}),
    );
    assert_eq!(full.status, 429);
    assert_eq!(full.json()["error"]["data"]["max"], 100);
    // Without a session there is nothing to be told on.
    let plain = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe",
        "params": {"uri": "notification://tasks"}});
    let answer = server.post("/mcp", &plain).json();
    assert_eq!(answer["error"]["code"], -32601);
}

#[test]
fn a_client_without_a_session_listens_to_what_it_asks_for() {
    let server = server(&[]);
    publish(&server, "a");
    let wanted = json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": ["notification://topics/a", "notification://topics/*", "x"],
    });
    let (mut stream, honoured) = listening(&server, &listen(wanted));
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    // Tools and prompts never change, and the others are no resources.
    let expected = json!({
        "resourcesListChanged": true, "resourceSubscriptions": ["notification://topics/a"],
    });
    assert_eq!(honoured, expected);

    // Nothing that was not asked for.
    let (mut quiet, honoured) = listening(&server, &listen(json!({})));
    assert_eq!(honoured, json!({}));

    publish(&server, "a");
    let told = stream.next().unwrap().data;
    assert_eq!(changed(&told), "notification://topics/a");
    assert_eq!(told["params"]["_meta"][SUBSCRIPTION], 7);
    publish(&server, "b");
    assert_eq!(changed(&stream.next().unwrap().data), "list_changed");
    // A topic that there was before.
    publish(&server, "b");
    publish(&server, "a");
    assert_eq!(
        changed(&stream.next().unwrap().data),
        "notification://topics/a"
    );

    eventually("both are counted", || {
        server.metric("notification_mcp_subscriptions") == 2.0
    });
    stream.close();
    eventually("one has gone", || {
        server.metric("notification_mcp_subscriptions") == 1.0
    });
    quiet.comment();
}

#[test]
fn a_listening_client_is_told_when_the_server_stops() {
    let mut server = server(&[]);
    let (mut stream, _) = listening(&server, &listen(json!({"resourcesListChanged": true})));
    let (status, _) = server.stop();
    assert!(status.success());
    let last = stream.next().unwrap().data;
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&json!(7), &json!("complete"))
    );
    assert_eq!(last["result"]["_meta"][SUBSCRIPTION], 7);
    assert!(stream.next().is_none());
}

#[test]
fn what_cannot_be_listened_to_is_refused() {
    let server = server(&[]);
    let check = |request: &Modern, status: u16, code: i64, says: &str| {
        let answer = request.ask(&server);
        assert_eq!(answer.status, status, "{answer:?}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
    };
    let no_notifications = Modern::new("subscriptions/listen", json!({}));
    check(
        &no_notifications,
        200,
        -32602,
        "notifications: expected an object",
    );
    check(&listen(json!(5)), 200, -32602, "notifications: ");
    let wrong = listen(json!({"resourceSubscriptions": "notification://tasks"}));
    check(&wrong, 200, -32602, "notifications: ");
    let uris: Vec<_> = (0..101)
        .map(|n| format!("notification://topics/{n}"))
        .collect();
    let many = listen(json!({"resourceSubscriptions": uris}));
    check(
        &many,
        200,
        -32602,
        "resourceSubscriptions: expected at most 100, got 101",
    );
    let json_only = listen(json!({})).with_header("Accept", "application/json");
    check(&json_only, 406, -32600, "text/event-stream");
    // Revisions with sessions have other means.
    let client = Client::connect(&server, "2025-11-25");
    let answer = client.ask("subscriptions/listen", json!({"notifications": {}}));
    assert_eq!(answer.json()["error"]["code"], -32601);
}

#[test]
fn a_busy_resource_is_said_to_change_a_few_times() {
    let server = server(&[]);
    let uri = "notification://topics/busy";
    publish(&server, "busy");
    let wanted = json!({"resourcesListChanged": true, "resourceSubscriptions": [uri]});
    let (mut stream, _) = listening(&server, &listen(wanted));
    let event = json!({"type": "event", "name": "n", "topic": "busy"}).to_string() + "\n";
    let events = event.repeat(500);
    let headers = [("Content-Type", "application/x-ndjson")];
    for _ in 0..4 {
        let published = server.request("POST", "/v1/events", &headers, &events);
        assert_eq!(published.status, 200);
    }
    // What changes at once is said at once, in no order.
    std::thread::sleep(std::time::Duration::from_millis(600));
    publish(&server, "end");
    let mut told = 0;
    while changed(&stream.next().unwrap().data) == uri {
        told += 1;
    }
    assert!((1..200).contains(&told), "{told} times for 2,000 events");
}

#[test]
fn what_one_may_not_read_does_not_change() {
    let secured = Secured::start("");
    let publisher = secured.allowed("p", &["publish:**", "tasks:**"]);
    let post = |event: Value| {
        let answer = secured.ask(&publisher, "POST", "/v1/events", Some(&event));
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    let (id, reader) = secured.key(&json!({"name": "r", "allow": ["subscribe:open/**"]}));
    let authorization = match &reader {
        Credential::Bearer(text) => format!("Bearer {text}"),
        Credential::Cookie(_) => unreachable!("keys are bearers"),
    };
    let server = &secured.server;
    let authorized = |request: Modern| request.with_header("Authorization", &authorization);

    let uris = json!([
        "notification://topics/open/a",
        "notification://topics/secret",
        "notification://tasks",
        "notification://connections",
    ]);
    let wanted = json!({"resourcesListChanged": true, "resourceSubscriptions": uris});
    let (mut stream, honoured) = listening(server, &authorized(listen(wanted)));
    let expected = json!(["notification://topics/open/a", "notification://tasks"]);
    assert_eq!(honoured["resourceSubscriptions"], expected);

    let client = Client::connect_as(server, "2025-11-25", Some(authorization.clone()));
    let refused = subscribe(&client, "notification://topics/secret");
    assert_eq!(refused["error"]["code"], -32002, "{refused}");
    subscribe(&client, "notification://topics/open/a");
    let mut session = client.stream();
    let private = json!({"clients": ["x"]});
    post(json!({"type": "event", "name": "n", "topic": "secret"}));
    post(json!({"type": "event", "name": "n", "topic": "open/a", "audience": private}));
    post(json!({"type": "progress", "task_id": "s", "task_name": "S", "topic": "secret"}));
    // So that it is not put together with what follows.
    std::thread::sleep(std::time::Duration::from_millis(600));
    post(json!({"type": "event", "name": "n", "topic": "open/b"}));
    assert_eq!(changed(&aside(&mut session)), "list_changed");
    // Of all these only the last concerned it.
    assert_eq!(changed(&stream.next().unwrap().data), "list_changed");

    let revoked = secured.ask(&Secured::admin(), "DELETE", &format!("/v1/keys/{id}"), None);
    assert_eq!(revoked.status, 204, "{revoked:?}");
    post(json!({"type": "event", "name": "n", "topic": "open/a"}));
    let last = stream.next().unwrap().data;
    assert_eq!(
        (&last["id"], &last["error"]["code"]),
        (&json!(7), &json!(-32024))
    );
    assert!(stream.next().is_none());
}

#[test]
fn who_is_connected_can_be_watched() {
    let server = server(&[]);
    let uri = "notification://connections";
    let (mut stream, _) = listening(&server, &listen(json!({"resourceSubscriptions": [uri]})));
    let other = EventStream::open(server.address(), "/mcp", &[]);
    assert_eq!(changed(&stream.next().unwrap().data), uri);
    other.close();
    assert_eq!(changed(&stream.next().unwrap().data), uri);
    assert_eq!(server.post("/v1/events", &notification("m")).status, 201);
}
