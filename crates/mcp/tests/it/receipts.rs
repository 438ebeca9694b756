use notification_event::{Draft, Filter};
use notification_hub::{AckMode, Delivery, Subscribe, Subscription};
use serde_json::{Value, json};

use crate::harness::Server;

/// Publishes a notification that asks for acknowledgement, and says its id.
async fn ask_for_receipts(server: &Server, clients: &[&str]) -> Value {
    let arguments = json!({"message": "m", "require_ack": true, "clients": clients});
    let sent = server.ask("send_notification", arguments).await;
    sent["notification_id"].clone()
}

/// The JSON of the next event of a stream.
async fn next(stream: &mut Subscription) -> Value {
    match stream.next().await {
        Delivery::Events(frames) => serde_json::from_slice(frames[0].json()).unwrap(),
        other => panic!("an event, not {other:?}"),
    }
}

#[tokio::test]
async fn who_has_got_and_acknowledged_an_event_is_known() {
    let server = Server::start().await;
    let mut alice = server.stream_of("alice").await;
    let mut news = server
        .hub
        .subscribe(Subscribe {
            filter: Filter {
                topics: vec!["$receipts/*".parse().unwrap()],
                ..Filter::default()
            },
            ..Subscribe::default()
        })
        .await
        .unwrap();
    let event_id = ask_for_receipts(&server, &["bob", "alice"]).await;
    let receipts = async || {
        let answer = server
            .ask("get_receipts", json!({"event_id": event_id}))
            .await;
        assert_eq!(answer["event_id"], event_id);
        assert_eq!(answer["require_ack"], true);
        answer["receipts"].clone()
    };
    let nothing =
        |client: &str| json!({"client_id": client, "delivered_at": null, "acknowledged_at": null});
    assert_eq!(receipts().await, json!([nothing("alice"), nothing("bob")]));

    assert_eq!(next(&mut alice).await["event_id"], event_id);
    alice.confirm(alice.cursor());
    assert_eq!(next(&mut news).await["name"], "receipt.delivered");
    let delivered = receipts().await;
    assert!(delivered[0]["delivered_at"].is_string());
    assert_eq!(delivered[0]["acknowledged_at"], Value::Null);
    assert_eq!(delivered[1], nothing("bob"));

    let arguments = json!({"client_id": "alice", "event_ids": [event_id]});
    let answer = server.ask("acknowledge", arguments.clone()).await;
    assert_eq!(answer, json!({"receipts": 1}));
    let acknowledged = receipts().await;
    assert!(acknowledged[0]["acknowledged_at"].is_string());
    assert_eq!(
        acknowledged[0]["delivered_at"],
        delivered[0]["delivered_at"]
    );
    assert_eq!(acknowledged[1], nothing("bob"));

    let again = server.ask("acknowledge", arguments).await;
    assert_eq!(again, json!({"receipts": 0}));
    assert_eq!(receipts().await, acknowledged);
}

#[tokio::test]
async fn a_cursor_acknowledges_all_before_it_and_moves_a_client_on() {
    let server = Server::start().await;
    let durable = Subscribe {
        client: Some("alice".parse().unwrap()),
        durable: Some(AckMode::Manual),
        ..Subscribe::default()
    };
    let mut stream = server.hub.subscribe(durable).await.unwrap();
    let mut cursors = Vec::new();
    for _ in 0..3 {
        let ask = json!({"message": "m", "require_ack": true, "clients": ["alice"]});
        let sent = server.ask("send_notification", ask).await;
        cursors.push(sent["cursor"].as_str().unwrap().to_owned());
        next(&mut stream).await;
    }
    let check = async |cursor: &str, receipts: u64, goes_on: &str| {
        let arguments = json!({"client_id": "alice", "cursor": cursor});
        let answer = server.ask("acknowledge", arguments).await;
        assert_eq!(answer, json!({"receipts": receipts, "cursor": goes_on}));
    };
    check(&cursors[1], 2, &cursors[1]).await;
    check(&cursors[0], 0, &cursors[1]).await;
    check(&cursors[2], 1, &cursors[2]).await;
}

#[tokio::test]
async fn a_thousand_events_are_acknowledged_at_once() {
    let server = Server::start().await;
    let draft = json!({"type": "notification", "message": "m", "require_ack": true});
    let drafts = vec![Draft::parse(draft).unwrap(); 1_000];
    let published = server.hub.publish(drafts).await.unwrap();
    let event_ids: Vec<_> = published.iter().map(|p| p.event_id.as_str()).collect();
    let arguments = json!({"client_id": "alice", "event_ids": event_ids});
    let answer = server.ask("acknowledge", arguments).await;
    assert_eq!(answer, json!({"receipts": 1_000}));
}

#[tokio::test]
async fn what_cannot_be_acknowledged_is_named() {
    let server = Server::start().await;
    let for_bob = ask_for_receipts(&server, &["bob"]).await;
    let plain = server
        .ask("send_notification", json!({"message": "m"}))
        .await;
    let (plain, cursor) = (&plain["notification_id"], plain["cursor"].as_str().unwrap());
    let published = server.hub.events_published();
    let check = async |mut arguments: Value, says: &str| {
        if arguments["client_id"].is_null() {
            arguments["client_id"] = json!("alice");
        }
        assert_eq!(server.refusal("acknowledge", arguments).await, says);
        assert_eq!(server.hub.events_published(), published);
    };
    let name = "a string of 1 to 128 of the characters A-Z a-z 0-9 . _ : ~ -, not only dots";
    check(
        json!({"client_id": "a b", "event_ids": ["x"]}),
        &format!("nothing was done: client_id: expected {name}, got \"a b\""),
    )
    .await;
    let either = "nothing was done: event_ids, cursor: expected exactly one of the two";
    check(json!({}), either).await;
    check(json!({"event_ids": [plain], "cursor": cursor}), either).await;
    check(
        json!({"event_ids": []}),
        &format!("nothing was done: event_ids: expected an array of 1 to 1000, each {name}, got an array of 0"),
    )
    .await;
    check(
        json!({"event_ids": ["x", 1]}),
        &format!("nothing was done: event_ids[1]: expected {name}, got 1"),
    )
    .await;
    check(
        json!({"cursor": "latest"}),
        "nothing was done: cursor: expected a cursor as this server gave it, unchanged",
    )
    .await;
    check(
        json!({"cursor": 7}),
        "nothing was done: cursor: expected a string, got 7",
    )
    .await;
    check(
        json!({"cursor": "00000000-1"}),
        "nothing was acknowledged: cursor: expected a cursor of this server's log that was given \
         to a client",
    )
    .await;
    check(
        json!({"event_ids": ["nope", for_bob, plain]}),
        "nothing was acknowledged: \
         event_ids[0]: expected the id of an event in the log that is for this client; \
         event_ids[1]: expected the id of an event in the log that is for this client; \
         event_ids[2]: expected an event with require_ack, or a durable client with ack=manual",
    )
    .await;
    let nameless = server
        .refusal("acknowledge", json!({"cursor": cursor}))
        .await;
    assert_eq!(
        nameless,
        format!("nothing was done: client_id: expected {name}, which is required")
    );
}

#[tokio::test]
async fn an_event_that_asks_for_nothing_has_no_receipts() {
    let server = Server::start().await;
    let sent = server
        .ask("send_notification", json!({"message": "m"}))
        .await;
    let event_id = &sent["notification_id"];
    let answer = server
        .ask("get_receipts", json!({"event_id": event_id}))
        .await;
    assert_eq!(
        answer,
        json!({"event_id": event_id, "require_ack": false, "receipts": []})
    );
}

#[tokio::test]
async fn an_event_that_is_not_there_has_no_receipts_either() {
    let server = Server::start().await;
    let check = async |event_id: Value, says: &str| {
        let refusal = server
            .refusal("get_receipts", json!({"event_id": event_id}))
            .await;
        assert!(refusal.starts_with(says), "{refusal}");
    };
    check(json!("nope"), "no event nope is in the log: ").await;
    check(
        json!("a b"),
        "nothing was done: event_id: expected a string of 1 to 128 of ",
    )
    .await;
}

#[tokio::test]
async fn a_log_that_is_closed_is_said_to_be() {
    let server = Server::start().await;
    let event_id = ask_for_receipts(&server, &["alice"]).await;
    server.hub.close_log().await.unwrap();
    let refusal = server
        .refusal("get_receipts", json!({"event_id": event_id}))
        .await;
    assert_eq!(refusal, "the log could not be read: the log is closed");
    let arguments = json!({"client_id": "alice", "event_ids": [event_id]});
    let refusal = server.refusal("acknowledge", arguments).await;
    assert_eq!(refusal, "nothing was acknowledged: the log is closed");
}
