//! Events for groups are for those who were in them when they were published.

use std::sync::Arc;
use std::time::Duration;

use notification_hub::{HubConfig, Start, Subscribe};
use notification_log::{EventLog, MemoryLog, Retention};
use serde_json::json;

use crate::harness::{all_events, client, draft, events, hub, id, life, open, publish, soon};

fn replay(name: &str) -> Subscribe {
    Subscribe {
        start: Start::Beginning,
        ..client(name)
    }
}

#[tokio::test]
async fn members_get_what_is_published_while_they_are_members() {
    let (hub, _) = hub(HubConfig::default()).await;
    let to_ops = json!({"audience": {"groups": ["ops"]}});
    let mut alice = open(&hub, client("alice")).await;
    let mut bob = open(&hub, client("bob")).await;
    publish(&hub, "before", to_ops.clone()).await;
    assert_eq!(hub.join_group(id("ops"), id("alice")).await, Ok(true));
    assert_eq!(hub.join_group(id("ops"), id("alice")).await, Ok(false));
    let during = publish(&hub, "during", to_ops.clone()).await;
    assert_eq!(during.subscribers, 1);
    assert_eq!(hub.leave_group(id("ops"), id("alice")).await, Ok(true));
    assert_eq!(hub.leave_group(id("ops"), id("alice")).await, Ok(false));
    assert_eq!(hub.join_group(id("ops"), id("bob")).await, Ok(true));
    publish(&hub, "after", to_ops).await;

    assert_eq!(events(&mut alice).await, ["during"]);
    assert_eq!(events(&mut bob).await, ["after"]);
    assert!(soon(&mut alice).await.is_none() && soon(&mut bob).await.is_none());
    assert_eq!(
        all_events(&mut open(&hub, replay("alice")).await).await,
        ["during"]
    );
    assert_eq!(
        all_events(&mut open(&hub, replay("bob")).await).await,
        ["after"]
    );
    let nobody = Subscribe {
        client: None,
        ..replay("bob")
    };
    assert_eq!(all_events(&mut open(&hub, nobody).await).await, [""; 0]);
}

#[tokio::test]
async fn a_name_and_a_group_in_one_audience_are_both_meant_once() {
    let (hub, _) = hub(HubConfig::default()).await;
    hub.join_group(id("ops"), id("alice")).await.unwrap();
    hub.join_group(id("dev"), id("alice")).await.unwrap();
    let mut alice = open(&hub, client("alice")).await;
    let mut bob = open(&hub, client("bob")).await;
    let audience = json!({"clients": ["bob", "alice"], "groups": ["ops", "dev", "nobody"]});
    let answer = publish(&hub, "n", json!({"audience": audience})).await;
    assert_eq!(answer.subscribers, 2);
    assert_eq!(all_events(&mut alice).await, ["n"]);
    assert_eq!(all_events(&mut bob).await, ["n"]);
}

#[tokio::test]
async fn groups_are_listed_both_ways() {
    let (hub, _) = hub(HubConfig::default()).await;
    for (group, member) in [("ops", "bob"), ("ops", "alice"), ("dev", "alice")] {
        hub.join_group(id(group), id(member)).await.unwrap();
    }
    assert_eq!(hub.groups(), [(id("dev"), 1), (id("ops"), 2)].into());
    assert_eq!(hub.group(&id("ops")), [id("alice"), id("bob")]);
    assert_eq!(hub.groups_of(&id("alice")), [id("dev"), id("ops")]);
    hub.leave_group(id("dev"), id("alice")).await.unwrap();
    assert_eq!(hub.groups(), [(id("ops"), 2)].into());
    assert_eq!(hub.groups_of(&id("alice")), [id("ops")]);
    assert_eq!(hub.group(&id("dev")), []);
}

/// Whatever waits together: a join stands where it was asked for.
#[tokio::test]
async fn a_join_between_publishers_stands_between_their_events() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut alice = open(&hub, client("alice")).await;
    let to_ops = |name: &str| draft(name, json!({"audience": {"groups": ["ops"]}}));
    let (first, joined, second, left, third) = tokio::join!(
        hub.publish_one(to_ops("first")),
        hub.join_group(id("ops"), id("alice")),
        hub.publish_one(to_ops("second")),
        async {
            // Asked for as soon as alice is in.
            while hub.group(&id("ops")).is_empty() {
                tokio::task::yield_now().await;
            }
            hub.leave_group(id("ops"), id("alice")).await
        },
        async {
            while hub.group(&id("ops")).is_empty() {
                tokio::task::yield_now().await;
            }
            hub.publish_one(to_ops("third")).await
        },
    );
    assert_eq!((joined, left), (Ok(true), Ok(true)));
    let subscribers = [first, second, third].map(|answer| answer.unwrap().subscribers);
    assert_eq!(subscribers, [0, 1, 0]);
    assert_eq!(all_events(&mut alice).await, ["second"]);
    assert_eq!(
        all_events(&mut open(&hub, replay("alice")).await).await,
        ["second"]
    );
}

/// As it keeps everything else for which memory lasts.
#[tokio::test(start_paused = true)]
async fn what_retention_has_removed_still_reaches_members_who_are_connected() {
    let config = HubConfig {
        retention: Retention {
            max_events: Some(1),
            ..Retention::default()
        },
        ..HubConfig::default()
    };
    let (hub, log) = hub(config).await;
    let mut alice = open(&hub, client("alice")).await;
    hub.join_group(id("ops"), id("alice")).await.unwrap();
    let to_ops = json!({"audience": {"groups": ["ops"]}});
    publish(&hub, "to-ops", to_ops).await;
    hub.leave_group(id("ops"), id("alice")).await.unwrap();
    publish(&hub, "to-all", json!({})).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(log.bounds().events(), 1);
    assert_eq!(all_events(&mut alice).await, ["to-ops", "to-all"]);
}

#[test]
fn memberships_and_what_they_decide_survive_the_server() {
    let log = Arc::new(MemoryLog::new());
    let to_ops = json!({"audience": {"groups": ["ops"]}});
    life(&log, HubConfig::default(), async |hub| {
        hub.join_group(id("ops"), id("alice")).await.unwrap();
        hub.join_group(id("ops"), id("bob")).await.unwrap();
        publish(&hub, "first", to_ops.clone()).await;
        hub.leave_group(id("ops"), id("alice")).await.unwrap();
        publish(&hub, "second", to_ops.clone()).await;
    });
    life(&log, HubConfig::default(), async |hub| {
        assert_eq!(hub.group(&id("ops")), [id("bob")]);
        publish(&hub, "third", to_ops.clone()).await;
        let expected: [(&str, &[&str]); 2] = [
            ("alice", &["first"]),
            ("bob", &["first", "second", "third"]),
        ];
        for (name, events) in expected {
            assert_eq!(
                all_events(&mut open(&hub, replay(name)).await).await,
                events
            );
        }
        hub.join_group(id("ops"), id("alice")).await.unwrap();
        publish(&hub, "fourth", to_ops.clone()).await;
        let mut alice = open(&hub, replay("alice")).await;
        assert_eq!(all_events(&mut alice).await, ["first", "fourth"]);
    });
}
