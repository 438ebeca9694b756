//! Who is here is said on `$presence`.

use std::sync::Arc;
use std::time::Duration;

use notification_hub::{Delivery, HubConfig, Start, Subscribe};
use notification_log::MemoryLog;
use serde_json::Value;

use crate::harness::{client, events, hub, life, next, open, soon, topics};

fn config() -> HubConfig {
    HubConfig {
        leave_after: Duration::from_secs(10),
        ..HubConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_joins_once_and_leaves_after_a_while_without_a_connection() {
    let (hub, _) = hub(config()).await;
    let mut presence = open(&hub, topics(&["$presence"])).await;
    let phone = open(&hub, client("alice")).await;
    let laptop = open(&hub, client("alice")).await;
    let _nameless = open(&hub, Subscribe::default()).await;
    match next(&mut presence).await {
        Delivery::Events(frames) => {
            let json: Value = serde_json::from_slice(frames[0].json()).unwrap();
            assert_eq!(json["name"], "client.joined");
            assert_eq!(json["data"]["client_id"], "alice");
        }
        other => panic!("{other:?}"),
    }
    drop(phone);
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(laptop);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let back = open(&hub, client("alice")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(soon(&mut presence).await.is_none(), "she was never away");
    drop(back);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(events(&mut presence).await, ["client.left"]);
    let _again = open(&hub, client("alice")).await;
    assert_eq!(events(&mut presence).await, ["client.joined"]);
    assert!(soon(&mut presence).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn who_is_here_is_the_snapshot_of_presence() {
    let (hub, _) = hub(config()).await;
    let _alice = open(&hub, client("alice")).await;
    let bob = open(&hub, client("bob")).await;
    drop(bob);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let who = Subscribe {
        snapshot: true,
        ..topics(&["$presence"])
    };
    let mut stream = open(&hub, who).await;
    let mut seen = Vec::new();
    while let Delivery::Snapshot(frames) = next(&mut stream).await {
        for frame in frames {
            let json: Value = serde_json::from_slice(frame.json()).unwrap();
            seen.push((json["data"]["client_id"].clone(), json["name"].clone()));
        }
    }
    let expected = [("alice", "client.joined"), ("bob", "client.left")];
    assert_eq!(seen, expected.map(|(who, what)| (who.into(), what.into())));
}

#[test]
fn joins_are_in_the_log() {
    let log = Arc::new(MemoryLog::new());
    life(&log, config(), async |hub| {
        let _alice = open(&hub, client("alice")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    life(&log, config(), async |hub| {
        let replay = Subscribe {
            start: Start::Beginning,
            ..topics(&["$presence"])
        };
        let mut presence = open(&hub, replay).await;
        assert_eq!(events(&mut presence).await, ["client.joined"]);
    });
}
