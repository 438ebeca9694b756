//! Who has got, and who has acknowledged, an event that asks for it.

use std::sync::Arc;
use std::time::Duration;

use notification_access::{Grants, Principal};
use notification_event::{EventId, Position};
use notification_hub::{
    AckMode, Acknowledge, AcknowledgeError, Acknowledged, Hub, HubConfig, Start, Subscription,
};
use notification_log::{EventLog, MemoryLog};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::harness::{
    client, durable, events, everything_in, from, head, hub, id, life, open, publish, soon, topics,
};
use crate::hooked::{Hooked, Moment};

/// Who has a receipt for an event: whether it was delivered, and acknowledged.
async fn receipts(hub: &Hub, event: &str) -> Vec<(String, bool, bool)> {
    let receipts = hub.receipts(id(event)).await.unwrap().unwrap().receipts;
    let all = receipts.into_iter().map(|receipt| {
        let has_it = receipt.delivered_at.is_some();
        (
            receipt.client.to_string(),
            has_it,
            receipt.acknowledged_at.is_some(),
        )
    });
    all.collect()
}

fn receipt(client: &str, delivered: bool, acknowledged: bool) -> (String, bool, bool) {
    (client.to_owned(), delivered, acknowledged)
}

async fn take(stream: &mut Subscription) -> Vec<String> {
    let names = events(stream).await;
    stream.confirm(stream.cursor());
    // The note of it is on its way.
    while soon(stream).await.is_some() {}
    names
}

async fn acknowledge(hub: &Hub, who: &str, ids: &[&str]) -> Result<Acknowledged, AcknowledgeError> {
    let ids: Vec<EventId> = ids.iter().map(|event| id(event)).collect();
    hub.acknowledge(&id(who), Acknowledge::Events(ids)).await
}

/// An event that asks these for acknowledgement.
fn asking(event_id: &str, audience: Value) -> Value {
    json!({"event_id": event_id, "require_ack": true, "audience": audience})
}

/// What is said of an event on its own topic: what, and of whom.
async fn news_of(log: &dyn EventLog, event: &str) -> Vec<(String, String)> {
    let topic = format!("$receipts/{event}");
    let everything = everything_in(log).await.into_iter();
    let news = everything.filter(|(on, _)| *on == topic).map(|(_, json)| {
        assert_eq!(json["data"]["event_id"], event);
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        (word(&json["name"]), word(&json["data"]["client_id"]))
    });
    news.collect()
}

#[tokio::test]
async fn an_event_that_asks_lists_its_recipients_and_what_became_of_it() {
    let (hub, log) = hub(HubConfig::default()).await;
    hub.join_group(id("ops"), id("bob")).await.unwrap();
    let mut alice = open(&hub, client("alice")).await;
    let mut bob = open(&hub, client("bob")).await;
    let mut news = open(&hub, topics(&["$receipts/*"])).await;
    let audience = json!({"clients": ["alice", "carol"], "groups": ["ops"]});
    publish(&hub, "n", asking("e1", audience)).await;
    // Who joins later was not meant.
    hub.join_group(id("ops"), id("dave")).await.unwrap();
    let nothing = ["alice", "bob", "carol"].map(|who| receipt(who, false, false));
    assert_eq!(receipts(&hub, "e1").await, nothing);

    assert_eq!(events(&mut alice).await, ["n"]);
    assert!(soon(&mut alice).await.is_none());
    assert_eq!(receipts(&hub, "e1").await, nothing, "written, not arrived");
    alice.confirm(alice.cursor());
    assert_eq!(events(&mut news).await, ["receipt.delivered"]);
    let acknowledged = acknowledge(&hub, "alice", &["e1"]).await.unwrap();
    assert_eq!((acknowledged.receipts, acknowledged.cursor), (1, None));
    assert_eq!(events(&mut news).await, ["receipt.acknowledged"]);
    assert_eq!(take(&mut bob).await, ["n"]);
    assert_eq!(
        receipts(&hub, "e1").await,
        [
            receipt("alice", true, true),
            receipt("bob", true, false),
            receipt("carol", false, false)
        ]
    );
    let said = [
        ("receipt.delivered", "alice"),
        ("receipt.acknowledged", "alice"),
        ("receipt.delivered", "bob"),
    ];
    let said = said.map(|(what, who)| (what.to_owned(), who.to_owned()));
    assert_eq!(news_of(&*log, "e1").await, said);
}

#[tokio::test]
async fn nothing_is_noted_twice() {
    let (hub, log) = hub(HubConfig::default()).await;
    let to_alice = json!({"clients": ["alice"]});
    let mut phone = open(&hub, client("alice")).await;
    let mut laptop = open(&hub, client("alice")).await;
    publish(&hub, "n", asking("e1", to_alice)).await;
    for stream in [&mut phone, &mut laptop] {
        assert_eq!(take(stream).await, ["n"]);
        stream.confirm(stream.cursor());
    }
    let alice = id("alice");
    let at_once = tokio::join!(
        acknowledge(&hub, "alice", &["e1"]),
        acknowledge(&hub, "alice", &["e1", "e1"]),
        hub.acknowledge(&alice, Acknowledge::Through(head(&hub))),
    );
    let counts = [at_once.0, at_once.1, at_once.2].map(|a| a.unwrap().receipts);
    assert_eq!(counts.iter().sum::<usize>(), 1);
    assert_eq!(
        acknowledge(&hub, "alice", &["e1"]).await.unwrap().receipts,
        0
    );
    let said = ["receipt.delivered", "receipt.acknowledged"];
    let said = said.map(|what| (what.to_owned(), "alice".to_owned()));
    assert_eq!(news_of(&*log, "e1").await, said);
}

#[tokio::test]
async fn everyone_who_gets_an_event_for_everyone_may_acknowledge_it() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut alice = open(&hub, client("alice")).await;
    let to_all = json!({"event_id": "e1", "require_ack": true});
    publish(&hub, "n", to_all).await;
    assert_eq!(receipts(&hub, "e1").await, []);
    assert_eq!(take(&mut alice).await, ["n"]);
    assert_eq!(receipts(&hub, "e1").await, [receipt("alice", true, false)]);
    acknowledge(&hub, "bob", &["e1"]).await.unwrap();
    let both = [receipt("alice", true, false), receipt("bob", false, true)];
    assert_eq!(receipts(&hub, "e1").await, both);
}

#[tokio::test]
async fn a_cursor_acknowledges_all_that_was_asked_before_it() {
    let (hub, _) = hub(HubConfig::default()).await;
    let to = |who: &str| json!({"clients": [who]});
    publish(&hub, "n", asking("e1", to("alice"))).await;
    publish(&hub, "n", asking("e2", to("bob"))).await;
    let place = publish(&hub, "n", asking("e3", to("alice"))).await.cursor;
    publish(&hub, "n", asking("e4", to("alice"))).await;
    let alice = id("alice");
    let through = hub.acknowledge(&alice, Acknowledge::Through(place)).await;
    assert_eq!(through.unwrap().receipts, 2);
    for (event, who, acknowledged) in [
        ("e1", "alice", true),
        ("e2", "bob", false),
        ("e3", "alice", true),
        ("e4", "alice", false),
    ] {
        assert_eq!(
            receipts(&hub, event).await,
            [receipt(who, false, acknowledged)]
        );
    }
    let mut future = head(&hub);
    future.position = future.position.plus(100);
    let refused = hub.acknowledge(&alice, Acknowledge::Through(future)).await;
    assert!(matches!(refused, Err(AcknowledgeError::Invalid(_))));
}

/// A stream that catches up reads what is committed, before it is handed out.
#[tokio::test]
async fn whatever_was_given_can_be_acknowledged() {
    let gate = Arc::new(Semaphore::new(3));
    let log = Hooked::new({
        let gate = gate.clone();
        move |moment| {
            let gate = gate.clone();
            async move {
                if moment == Moment::AfterAppend {
                    gate.acquire().await.unwrap().forget();
                }
            }
        }
    });
    let config = HubConfig {
        tail_events: 1,
        ..HubConfig::default()
    };
    let hub = Hub::open(Arc::new(log), config).await.unwrap();
    for name in ["e1", "e2", "e3"] {
        publish(&hub, name, json!({})).await;
    }
    let held = tokio::spawn({
        let hub = hub.clone();
        async move { publish(&hub, "e4", json!({})).await }
    });
    while hub.log_bounds().head < Position(4) {
        tokio::task::yield_now().await;
    }
    let mut stream = open(&hub, from(Start::Beginning)).await;
    assert_eq!(events(&mut stream).await, ["e1", "e2", "e3", "e4"]);
    let through = Acknowledge::Through(stream.cursor());
    hub.acknowledge(&id("alice"), through).await.unwrap();
    gate.add_permits(1);
    held.await.unwrap();
    assert!(soon(&mut stream).await.is_none(), "it does not come again");
}

#[tokio::test]
async fn what_cannot_be_acknowledged_refuses_all_of_it() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut dora = open(&hub, durable("dora", AckMode::Manual)).await;
    publish(
        &hub,
        "n",
        asking("e1", json!({"clients": ["alice", "dora"]})),
    )
    .await;
    publish(&hub, "n", asking("e2", json!({"clients": ["bob"]}))).await;
    publish(&hub, "n", json!({"event_id": "plain"})).await;
    let wrong = async |who: &str, ids: &[&str]| -> Vec<String> {
        match acknowledge(&hub, who, ids).await {
            Err(AcknowledgeError::Invalid(invalid)) => invalid
                .errors
                .into_iter()
                .map(|error| error.field)
                .collect(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wrong("alice", &["e1", "unknown"]).await, ["event_ids[1]"]);
    assert_eq!(wrong("alice", &["e2", "e1"]).await, ["event_ids[0]"]);
    assert_eq!(wrong("alice", &["e1", "plain"]).await, ["event_ids[1]"]);
    assert_eq!(wrong("dora", &["e1", "unknown"]).await, ["event_ids[1]"]);
    assert_eq!(wrong("alice", &[]).await, ["event_ids"]);
    let nothing = [
        receipt("alice", false, false),
        receipt("dora", false, false),
    ];
    assert_eq!(receipts(&hub, "e1").await, nothing);
    // A client that acknowledges everything may acknowledge what did not ask for it.
    assert_eq!(events(&mut dora).await, ["n", "n"]);
    let acknowledged = acknowledge(&hub, "dora", &["e1", "plain"]).await.unwrap();
    assert_eq!(acknowledged.receipts, 1);
    assert!(acknowledged.cursor.is_some());
    assert_eq!(hub.receipts(id("unknown")).await, Ok(None));
}

#[test]
fn receipts_survive_the_server_and_are_not_noted_again() {
    let log = Arc::new(MemoryLog::new());
    life(&log, HubConfig::default(), async |hub| {
        let mut alice = open(&hub, durable("alice", AckMode::Auto)).await;
        publish(
            &hub,
            "n",
            asking("e1", json!({"clients": ["alice", "bob"]})),
        )
        .await;
        assert_eq!(take(&mut alice).await, ["n"]);
        acknowledge(&hub, "bob", &["e1"]).await.unwrap();
    });
    life(&log, HubConfig::default(), async |hub| {
        // Where she was had not been stored, so it comes again.
        let mut alice = open(&hub, durable("alice", AckMode::Auto)).await;
        assert_eq!(take(&mut alice).await, ["n"]);
        assert_eq!(acknowledge(&hub, "bob", &["e1"]).await.unwrap().receipts, 0);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let both = [receipt("alice", true, false), receipt("bob", false, true)];
        assert_eq!(receipts(&hub, "e1").await, both);
        assert_eq!(news_of(&*log, "e1").await.len(), 2);
    });
}

#[tokio::test]
async fn what_one_may_not_read_one_does_not_acknowledge() {
    let (hub, _) = hub(HubConfig::default()).await;
    let of_alice = |event_id: &str, topic: &str| {
        json!({"event_id": event_id, "topic": topic, "require_ack": true,
               "audience": {"clients": ["alice"]}})
    };
    publish(&hub, "hers", of_alice("e1", "ops/a")).await;
    publish(&hub, "theirs", of_alice("e2", "finance/a")).await;
    let grants = ["subscribe:ops/**", "acknowledge", "client:alice"];
    let alice = Arc::new(Principal {
        grants: Grants::new(grants.map(id)).unwrap(),
        ..Principal::local()
    });
    let alice = hub.caller(alice, None);
    let acknowledge = async |what| alice.acknowledge(&id("alice"), what).await;
    let both = Acknowledge::Events(vec![id("e1"), id("e2")]);
    let Err(AcknowledgeError::Invalid(invalid)) = acknowledge(both).await else {
        panic!("the second is not hers to acknowledge");
    };
    assert_eq!(invalid.errors[0].field, "event_ids[1]");
    assert_eq!(receipts(&hub, "e1").await, [receipt("alice", false, false)]);

    let all = Acknowledge::Through(head(&hub));
    assert_eq!(acknowledge(all).await.unwrap().receipts, 1);
    assert_eq!(receipts(&hub, "e1").await, [receipt("alice", false, true)]);
    assert_eq!(receipts(&hub, "e2").await, [receipt("alice", false, false)]);
}
