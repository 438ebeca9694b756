use notification_event::Filter;
use notification_hub::{AckMode, PageRequest, Start, Subscribe};
use serde_json::{Value, json};

use crate::harness::Server;

#[tokio::test]
async fn everything_that_can_be_said_of_a_notification_is_in_its_event() {
    let server = Server::start().await;
    let said = json!({"topic": "ops/db", "title": "Disk", "priority": 5, "tags": ["db", "eu"],
                      "require_ack": true});
    let mut arguments = said.clone();
    arguments["message"] = json!("Nearly full");
    let answer = server.ask("send_notification", arguments).await;
    let [event] = &server.events().await[..] else {
        panic!("one event")
    };
    for (field, value) in said.as_object().unwrap() {
        assert_eq!(event[field], *value, "{field}");
    }
    assert_eq!(event["event_id"], answer["notification_id"]);
    assert_eq!(event["notification_type"], "info");

    let plain = json!({"message": "m", "priority": 3.0, "tags": [], "require_ack": false});
    server.ask("send_notification", plain).await;
    let event = &server.events().await[1];
    assert_eq!(event["topic"], "default");
    for field in ["title", "priority", "tags", "require_ack"] {
        assert_eq!(event.get(field), None, "{field}");
    }
}

#[tokio::test]
async fn clients_and_groups_are_who_it_is_for() {
    let server = Server::start().await;
    let (ops, bob) = ("ops".parse().unwrap(), "bob".parse().unwrap());
    server.hub.join_group(ops, bob).await.unwrap();
    let _streams = [
        server.stream_of("alice").await,
        server.stream_of("bob").await,
        server.stream_of("carol").await,
    ];
    let check = async |audience: Value, readers: &[&str]| {
        let mut arguments = audience.clone();
        arguments["message"] = json!(audience.to_string());
        let answer = server.ask("send_notification", arguments).await;
        assert_eq!(answer["subscribers"], readers.len(), "{audience}");
        for reader in ["alice", "bob", "carol"] {
            let request = PageRequest {
                filter: Filter::default(),
                client: Some(reader.parse().unwrap()),
                start: Start::Beginning,
                limit: 100,
            };
            let page = server.hub.page(request).await.unwrap();
            let gets_it = page.frames.last().is_some_and(|frame| {
                let event: Value = serde_json::from_slice(frame.json()).unwrap();
                event["event_id"] == answer["notification_id"]
            });
            assert_eq!(gets_it, readers.contains(&reader), "{audience} {reader}");
        }
    };
    check(json!({}), &["alice", "bob", "carol"]).await;
    check(json!({"clients": ["alice"]}), &["alice"]).await;
    check(json!({"groups": ["ops"]}), &["bob"]).await;
    check(
        json!({"clients": ["alice", "nobody"], "groups": ["ops"]}),
        &["alice", "bob"],
    )
    .await;
    check(json!({"groups": ["nobody"]}), &[]).await;
}

#[tokio::test]
async fn who_is_away_and_will_get_it_is_counted() {
    let server = Server::start().await;
    let durable = Subscribe {
        client: Some("alice".parse().unwrap()),
        durable: Some(AckMode::Auto),
        ..Subscribe::default()
    };
    let stream = server.hub.subscribe(durable).await.unwrap();
    let check = async |arguments: Value, subscribers: u64, clients_away: u64| {
        let answer = server.ask("send_notification", arguments).await;
        assert_eq!(answer["subscribers"], subscribers);
        assert_eq!(answer["clients_away"], clients_away);
    };
    check(json!({"message": "m"}), 1, 0).await;
    drop(stream);
    check(json!({"message": "m"}), 0, 1).await;
    check(json!({"message": "m", "clients": ["alice"]}), 0, 1).await;
    check(json!({"message": "m", "clients": ["bob"]}), 0, 0).await;
}

#[tokio::test]
async fn what_does_not_fit_is_named_as_the_argument_it_is() {
    let server = Server::start().await;
    let check = async |field: &str, value: Value, says: &str| {
        let mut arguments = json!({"message": "m"});
        arguments[field] = value;
        let refusal = server.refusal("send_notification", arguments).await;
        assert_eq!(refusal, format!("nothing was done: {says}"));
        assert_eq!(server.hub.events_published(), 0);
    };
    let name = "a string of 1 to 128 of the characters A-Z a-z 0-9 . _ : ~ -, not only dots";
    let topic =
        "a string of 1 to 8 segments of A-Z a-z 0-9 . _ - separated by /, at most 255 bytes";
    check(
        "topic",
        json!("$presence"),
        &format!("topic: expected {topic}, got \"$presence\""),
    )
    .await;
    check(
        "topic",
        json!("ops//db"),
        &format!("topic: expected {topic}, got \"ops//db\""),
    )
    .await;
    check(
        "title",
        json!(""),
        "title: expected a string of 1 to 256 characters, got \"\"",
    )
    .await;
    check(
        "priority",
        json!("high"),
        "priority: expected an integer from 1 to 5, got \"high\"",
    )
    .await;
    check(
        "priority",
        json!(6),
        "priority: expected an integer from 1 to 5, got 6",
    )
    .await;
    check(
        "tags",
        json!("db"),
        &format!("tags: expected an array of up to 32, each {name}, got \"db\""),
    )
    .await;
    check(
        "tags",
        json!(["db", "e u"]),
        &format!("tags[1]: expected {name}, got \"e u\""),
    )
    .await;
    check(
        "clients",
        json!([]),
        &format!("clients: expected an array of 1 to 1000, each {name}, got an array of 0"),
    )
    .await;
    check(
        "clients",
        json!([null]),
        &format!("clients[0]: expected {name}, got null"),
    )
    .await;
    check(
        "groups",
        json!(["a/b"]),
        &format!("groups[0]: expected {name}, got \"a/b\""),
    )
    .await;
    check(
        "require_ack",
        json!("yes"),
        "require_ack: expected true or false, got \"yes\"",
    )
    .await;
}

#[tokio::test]
async fn clients_and_groups_are_bounded_together() {
    let server = Server::start().await;
    let names = |count: usize| -> Vec<_> { (0..count).map(|n| format!("n{n}")).collect() };
    let arguments = |clients: usize, groups: usize| json!({"message": "m", "clients": names(clients), "groups": names(groups)});
    server.ask("send_notification", arguments(500, 500)).await;
    let refusal = server
        .refusal("send_notification", arguments(501, 500))
        .await;
    assert!(
        refusal.starts_with("nothing was done: clients, groups: "),
        "{refusal}"
    );
    assert!(
        refusal.ends_with("1 to 1000 names of clients and groups in all"),
        "{refusal}"
    );
}
