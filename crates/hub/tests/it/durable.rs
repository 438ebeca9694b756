//! Clients whose place in the log the server keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notification_event::Timestamp;
use notification_hub::{
    AckMode, Acknowledge, ClientsConfig, Delivery, DurableError, Hub, HubConfig, Start, Subscribe,
    SubscribeError, Subscription,
};
use notification_log::{Change, EventLog, MemoryLog, Retention};
use serde_json::json;

use crate::harness::{
    all_events, draft, durable, events, head, hub, id, life, next, open, publish, publish_all,
    soon, topics,
};
use crate::hooked::{Hooked, Moment};

fn auto(name: &str) -> Subscribe {
    durable(name, AckMode::Auto)
}

fn manual(name: &str) -> Subscribe {
    durable(name, AckMode::Manual)
}

/// Takes what there is, and says that it has reached the client.
async fn take(stream: &mut Subscription) -> Vec<String> {
    let names = all_events(stream).await;
    stream.confirm(stream.cursor());
    names
}

async fn acknowledge(hub: &Hub, client: &str, events: &[&str]) {
    let ids = events.iter().map(|event| id(event)).collect();
    let acknowledged = hub.acknowledge(&id(client), Acknowledge::Events(ids)).await;
    acknowledged.unwrap();
}

/// Publishes events whose ids are their names.
async fn publish_with_ids(hub: &Hub, ids: &[&str]) {
    let drafts = ids.iter().map(|id| draft(id, json!({"event_id": id})));
    hub.publish(drafts.collect()).await.unwrap();
}

fn at_most(max_unacknowledged: usize) -> HubConfig {
    HubConfig {
        clients: ClientsConfig {
            max_unacknowledged,
            ..HubConfig::default().clients
        },
        ..HubConfig::default()
    }
}

#[tokio::test]
async fn a_durable_stream_needs_a_name() {
    let (hub, _) = hub(HubConfig::default()).await;
    let nameless = Subscribe {
        durable: Some(AckMode::Auto),
        ..Subscribe::default()
    };
    let refused = hub.subscribe(nameless).await;
    assert_eq!(refused.err(), Some(SubscribeError::Nameless));
}

#[tokio::test]
async fn the_first_stream_begins_where_it_asks_and_later_ones_where_it_was() {
    let (hub, _) = hub(HubConfig::default()).await;
    publish_all(&hub, &["before"]).await;
    let mut now = open(&hub, auto("now")).await;
    let mut all = open(
        &hub,
        Subscribe {
            start: Start::Beginning,
            ..auto("all")
        },
    )
    .await;
    publish_all(&hub, &["first"]).await;
    assert_eq!(take(&mut now).await, ["first"]);
    assert_eq!(take(&mut all).await, ["before", "first"]);
    drop((now, all));
    let away = publish(&hub, "second", json!({})).await;
    assert_eq!((away.subscribers, away.clients_away), (0, 2));
    for start in [Start::Now, Start::Beginning] {
        for name in ["now", "all"] {
            let mut again = open(
                &hub,
                Subscribe {
                    start,
                    ..auto(name)
                },
            )
            .await;
            assert_eq!(all_events(&mut again).await, ["second"]);
        }
    }
}

#[tokio::test]
async fn what_was_not_confirmed_comes_again() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut alice = open(&hub, auto("alice")).await;
    publish_all(&hub, &["first"]).await;
    assert_eq!(take(&mut alice).await, ["first"]);
    publish_all(&hub, &["second"]).await;
    assert_eq!(events(&mut alice).await, ["second"]);
    drop(alice);
    let mut alice = open(&hub, auto("alice")).await;
    assert_eq!(take(&mut alice).await, ["second"]);
    drop(alice);
    assert!(soon(&mut open(&hub, auto("alice")).await).await.is_none());
}

/// As a browser does with `Last-Event-ID`.
#[tokio::test]
async fn a_client_may_say_itself_what_it_has_got() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut alice = open(&hub, auto("alice")).await;
    publish_all(&hub, &["first"]).await;
    assert_eq!(take(&mut alice).await, ["first"]);
    let after_first = alice.cursor();
    publish_all(&hub, &["second"]).await;
    assert_eq!(take(&mut alice).await, ["second"]);
    drop(alice);
    let saying = Subscribe {
        start: Start::After(after_first),
        ..auto("alice")
    };
    let alice = open(&hub, saying).await;
    drop(alice);
    let mut alice = open(&hub, auto("alice")).await;
    assert_eq!(all_events(&mut alice).await, ["second"]);
}

#[tokio::test]
async fn the_slowest_of_several_connections_holds_the_place() {
    let (hub, _) = hub(HubConfig::default()).await;
    let place = async || {
        let status = hub.client(&id("alice")).unwrap();
        status.record.cursor.position.0
    };
    let mut fast = open(&hub, auto("alice")).await;
    let mut slow = open(&hub, auto("alice")).await;
    let begin = place().await;
    publish_all(&hub, &["first", "second"]).await;
    assert_eq!(take(&mut fast).await, ["first", "second"]);
    assert_eq!(place().await, begin);
    let mut third = open(&hub, auto("alice")).await;
    assert_eq!(take(&mut third).await, ["first", "second"]);
    assert_eq!(take(&mut slow).await, ["first", "second"]);
    assert_eq!(place().await, head(&hub).position.0);
}

#[tokio::test]
async fn one_place_follows_one_filter_at_a_time() {
    let (hub, _) = hub(HubConfig::default()).await;
    let on = |topic: &str| Subscribe {
        filter: topics(&[topic]).filter,
        ..auto("alice")
    };
    let mut alice = open(&hub, on("a")).await;
    for other in [on("b"), manual("alice")] {
        let refused = hub.subscribe(other).await.err();
        let differs = DurableError::Differs(id("alice"));
        assert_eq!(refused, Some(SubscribeError::Durable(differs)));
    }
    let beside = Subscribe {
        durable: None,
        ..on("b")
    };
    open(&hub, beside).await;
    publish(&hub, "on-a", json!({"topic": "a"})).await;
    assert_eq!(take(&mut alice).await, ["on-a"]);
    drop(alice);
    let away = publish(&hub, "on-b", json!({"topic": "b"})).await;
    assert_eq!(away.clients_away, 0);
    let mut alice = open(&hub, on("b")).await;
    assert_eq!(all_events(&mut alice).await, ["on-b"]);
    drop(alice);
    let away = publish(&hub, "on-b-again", json!({"topic": "b"})).await;
    assert_eq!(away.clients_away, 1);
}

#[tokio::test]
async fn a_client_that_is_away_is_counted_once() {
    let (hub, _) = hub(HubConfig::default()).await;
    let filter = topics(&["a/**", "*/b", "a/b"]).filter;
    drop(
        open(
            &hub,
            Subscribe {
                filter,
                ..auto("alice")
            },
        )
        .await,
    );
    let answer = publish(&hub, "n", json!({"topic": "a/b"})).await;
    assert_eq!((answer.subscribers, answer.clients_away), (0, 1));
    let to_bob = json!({"topic": "a/b", "audience": {"clients": ["bob"]}});
    assert_eq!(publish(&hub, "n", to_bob).await.clients_away, 0);
}

#[test]
fn places_survive_the_server() {
    let log = Arc::new(MemoryLog::new());
    life(&log, HubConfig::default(), async |hub| {
        let mut stored = open(&hub, auto("stored")).await;
        publish_all(&hub, &["first"]).await;
        assert_eq!(take(&mut stored).await, ["first"]);
        // The keeper stores it meanwhile.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut lost = open(&hub, auto("lost")).await;
        publish_all(&hub, &["second"]).await;
        assert_eq!(take(&mut stored).await, ["second"]);
        assert_eq!(take(&mut lost).await, ["second"]);
    });
    life(&log, HubConfig::default(), async |hub| {
        let away = publish(&hub, "third", json!({})).await;
        assert_eq!(away.clients_away, 2);
        for name in ["stored", "lost"] {
            let mut stream = open(&hub, auto(name)).await;
            assert_eq!(take(&mut stream).await, ["second", "third"], "{name}");
        }
    });
}

#[tokio::test]
async fn a_stop_stores_all_places() {
    let log = Arc::new(Hooked::new(async |_| {}));
    let hub = Hub::open(log.clone(), HubConfig::default()).await.unwrap();
    let mut alice = open(&hub, auto("alice")).await;
    publish_all(&hub, &["first"]).await;
    assert_eq!(take(&mut alice).await, ["first"]);
    let stored = || {
        log.history(|history| match history.changes.last() {
            Some((_, Change::SaveClient(record))) => record.cursor,
            other => panic!("{other:?}"),
        })
    };
    assert_ne!(stored(), head(&hub));
    hub.close().await;
    hub.close_log().await.unwrap();
    assert_eq!(stored(), head(&hub));
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_and_what_is_does_not() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut alice = open(&hub, manual("alice")).await;
    publish_with_ids(&hub, &["e1", "e2", "e3", "e4"]).await;
    assert_eq!(take(&mut alice).await, ["e1", "e2", "e3", "e4"]);
    acknowledge(&hub, "alice", &["e2", "e3"]).await;
    drop(alice);
    let mut alice = open(&hub, manual("alice")).await;
    assert_eq!(take(&mut alice).await, ["e1", "e4"]);
    drop(alice);
    let everything = Acknowledge::Through(head(&hub));
    hub.acknowledge(&id("alice"), everything).await.unwrap();
    let mut alice = open(&hub, manual("alice")).await;
    assert!(soon(&mut alice).await.is_none());
}

#[test]
fn acknowledgements_survive_the_server() {
    let log = Arc::new(MemoryLog::new());
    life(&log, HubConfig::default(), async |hub| {
        let mut alice = open(&hub, manual("alice")).await;
        publish_with_ids(&hub, &["e1", "e2", "e3", "e4", "e5"]).await;
        assert_eq!(take(&mut alice).await.len(), 5);
        acknowledge(&hub, "alice", &["e1", "e4"]).await;
    });
    life(&log, HubConfig::default(), async |hub| {
        let mut alice = open(&hub, manual("alice")).await;
        assert_eq!(take(&mut alice).await, ["e2", "e3", "e5"]);
        acknowledge(&hub, "alice", &["e2", "e3"]).await;
    });
    life(&log, HubConfig::default(), async |hub| {
        let mut alice = open(&hub, manual("alice")).await;
        assert_eq!(take(&mut alice).await, ["e5"]);
        let all = Acknowledge::Through(alice.cursor());
        hub.acknowledge(&id("alice"), all).await.unwrap();
    });
    life(&log, HubConfig::default(), async |hub| {
        let mut alice = open(&hub, manual("alice")).await;
        assert!(soon(&mut alice).await.is_none());
    });
}

/// Nor is it undone by what was about to be stored of the client before.
#[test]
fn an_acknowledgement_that_was_answered_stands() {
    let slow = Arc::new(AtomicBool::new(false));
    let log = Hooked::new({
        let slow = slow.clone();
        move |moment| {
            let is_append = moment == Moment::BeforeAppend;
            let is_slow = is_append && slow.swap(false, Ordering::Relaxed);
            let pause = Duration::from_millis(if is_slow { 1_500 } else { 0 });
            async move { tokio::time::sleep(pause).await }
        }
    });
    let log = Arc::new(log);
    life(&log, HubConfig::default(), async |hub| {
        let mut alice = open(&hub, manual("alice")).await;
        publish_with_ids(&hub, &["e1", "e2"]).await;
        assert_eq!(take(&mut alice).await, ["e1", "e2"]);
        slow.store(true, Ordering::Relaxed);
        // The keeper has something to store of her while this is being stored.
        drop(alice);
        acknowledge(&hub, "alice", &["e2"]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    });
    life(&log, HubConfig::default(), async |hub| {
        let mut alice = open(&hub, manual("alice")).await;
        assert_eq!(take(&mut alice).await, ["e1"]);
    });
}

#[tokio::test]
async fn every_connection_gets_everything() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut phone = open(&hub, manual("alice")).await;
    let mut laptop = open(&hub, manual("alice")).await;
    publish_with_ids(&hub, &["e1", "e2"]).await;
    assert_eq!(take(&mut phone).await, ["e1", "e2"]);
    acknowledge(&hub, "alice", &["e1", "e2"]).await;
    assert_eq!(take(&mut laptop).await, ["e1", "e2"]);
    publish_with_ids(&hub, &["e3"]).await;
    assert_eq!(take(&mut laptop).await, ["e3"]);
    drop((phone, laptop));
    let mut phone = open(&hub, manual("alice")).await;
    assert_eq!(take(&mut phone).await, ["e3"]);
}

#[tokio::test]
async fn a_client_that_owes_too_much_is_told_and_goes_on_when_it_has_acknowledged() {
    let (hub, _) = hub(at_most(3)).await;
    let mut alice = open(&hub, manual("alice")).await;
    publish_with_ids(&hub, &["e1", "e2", "e3", "e4", "e5", "e6"]).await;
    assert_eq!(events(&mut alice).await, ["e1", "e2", "e3"]);
    assert!(matches!(next(&mut alice).await, Delivery::Paused(3)));
    assert!(soon(&mut alice).await.is_none(), "it is told once");

    // Beyond the oldest that is not acknowledged there is no more room yet.
    acknowledge(&hub, "alice", &["e2"]).await;
    assert!(soon(&mut alice).await.is_none());
    let waiting = tokio::spawn(async move {
        let names = events(&mut alice).await;
        (alice, names)
    });
    tokio::task::yield_now().await;
    acknowledge(&hub, "alice", &["e1"]).await;
    let (mut alice, names) = waiting.await.unwrap();
    assert_eq!(names, ["e4", "e5"]);
    assert!(matches!(next(&mut alice).await, Delivery::Paused(3)));
    let all = Acknowledge::Through(alice.cursor());
    hub.acknowledge(&id("alice"), all).await.unwrap();
    assert_eq!(all_events(&mut alice).await, ["e6"]);
}

#[tokio::test]
async fn who_owed_too_much_when_it_went_gets_it_again() {
    let (hub, _) = hub(at_most(2)).await;
    let mut alice = open(&hub, manual("alice")).await;
    publish_with_ids(&hub, &["e1", "e2", "e3"]).await;
    assert_eq!(events(&mut alice).await, ["e1", "e2"]);
    assert!(matches!(next(&mut alice).await, Delivery::Paused(2)));

    // Another connection gets as much, and so does the next after both.
    let mut other = open(&hub, manual("alice")).await;
    assert_eq!(events(&mut other).await, ["e1", "e2"]);
    assert!(matches!(next(&mut other).await, Delivery::Paused(2)));
    drop((alice, other));
    let mut alice = open(&hub, manual("alice")).await;
    assert_eq!(events(&mut alice).await, ["e1", "e2"]);
    assert!(matches!(next(&mut alice).await, Delivery::Paused(2)));
    acknowledge(&hub, "alice", &["e1", "e2"]).await;
    assert_eq!(events(&mut alice).await, ["e3"]);
}

/// Whether or not the transport has confirmed what was acknowledged.
#[tokio::test]
async fn who_has_acknowledged_everything_owes_nothing() {
    let (hub, _) = hub(at_most(2)).await;
    let mut alice = open(&hub, manual("alice")).await;
    let mut idle = open(&hub, manual("alice")).await;
    publish_with_ids(&hub, &["e1", "e2", "e3", "e4", "e5"]).await;
    assert_eq!(events(&mut alice).await, ["e1", "e2"]);
    acknowledge(&hub, "alice", &["e1", "e2"]).await;
    assert_eq!(events(&mut alice).await, ["e3", "e4"]);
    drop(alice);
    // One that comes later than what it acknowledges.
    acknowledge(&hub, "alice", &["e3", "e4"]).await;
    assert_eq!(events(&mut idle).await, ["e1"]);
    assert_eq!(events(&mut idle).await, ["e2"]);
    drop(idle);
    let mut alice = open(&hub, manual("alice")).await;
    assert_eq!(events(&mut alice).await, ["e5"]);
}

#[tokio::test]
async fn what_was_replaced_on_the_way_back_does_not_hold_the_place() {
    let (hub, _) = hub(at_most(1)).await;
    let mut alice = open(&hub, manual("alice")).await;
    let cpu = |event: &str| draft(event, json!({"event_id": event, "collapse_key": "cpu"}));
    hub.publish_one(cpu("cpu-1")).await.unwrap();
    assert_eq!(events(&mut alice).await, ["cpu-1"]);
    drop(alice);
    hub.publish_one(cpu("cpu-2")).await.unwrap();
    let mut alice = open(&hub, manual("alice")).await;
    assert_eq!(events(&mut alice).await, ["cpu-2"]);
    acknowledge(&hub, "alice", &["cpu-2"]).await;
    assert!(matches!(next(&mut alice).await, Delivery::Conflated(1)));
    let status = hub.client(&id("alice")).unwrap();
    assert_eq!(status.record.cursor, head(&hub));
}

/// Of two connections, one was given what the other is not given any more.
#[tokio::test]
async fn what_a_newer_event_has_replaced_is_not_owed() {
    let (hub, _) = hub(at_most(2)).await;
    let mut silent = open(&hub, manual("alice")).await;
    let cpu = |event: &str| draft(event, json!({"event_id": event, "collapse_key": "cpu"}));
    hub.publish_one(cpu("cpu-1")).await.unwrap();
    assert_eq!(events(&mut silent).await, ["cpu-1"]);
    hub.publish_one(cpu("cpu-2")).await.unwrap();
    let mut alice = open(&hub, manual("alice")).await;
    assert_eq!(events(&mut alice).await, ["cpu-2"]);
    acknowledge(&hub, "alice", &["cpu-2"]).await;
    assert!(matches!(next(&mut alice).await, Delivery::Conflated(1)));
    for event in ["e1", "e2", "e3", "e4", "e5"] {
        publish_with_ids(&hub, &[event]).await;
        assert_eq!(events(&mut alice).await, [event]);
        acknowledge(&hub, "alice", &[event]).await;
    }
    let status = hub.client(&id("alice")).unwrap();
    assert_eq!(status.record.cursor, head(&hub));
}

/// It cannot be acknowledged any more, and must not be waited for.
#[tokio::test(start_paused = true)]
async fn what_retention_has_removed_is_not_owed() {
    let config = HubConfig {
        retention: Retention {
            max_events: Some(4),
            ..Retention::default()
        },
        ..at_most(2)
    };
    let (hub, _) = hub(config).await;
    let mut alice = open(&hub, manual("alice")).await;
    publish_with_ids(&hub, &["e1", "e2", "e3", "e4", "e5", "e6"]).await;
    assert_eq!(events(&mut alice).await, ["e1", "e2"]);
    assert!(matches!(next(&mut alice).await, Delivery::Paused(2)));
    let waiting = tokio::time::timeout(Duration::from_secs(5), events(&mut alice)).await;
    assert_eq!(waiting.expect("it goes on"), ["e3", "e4"]);
}

#[tokio::test]
async fn what_is_outstanding_is_counted() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut alice = open(&hub, manual("alice")).await;
    publish_with_ids(&hub, &["e1", "e2", "e3"]).await;
    assert_eq!(take(&mut alice).await.len(), 3);
    acknowledge(&hub, "alice", &["e2"]).await;
    let status = hub.client(&id("alice")).unwrap();
    assert_eq!(hub.outstanding(&status).await, Ok((2, false)));
    assert_eq!(status.connections, [alice.id()]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_forgotten_begins_anew() {
    let (hub, log) = hub(HubConfig::default()).await;
    let mut alice = open(&hub, auto("alice")).await;
    assert_eq!(hub.forget_client(&id("alice")).await, Ok(true));
    assert_eq!(hub.forget_client(&id("alice")).await, Ok(false));
    assert!(matches!(next(&mut alice).await, Delivery::Ended(_)));
    drop(alice);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(log.records().await.unwrap().clients, []);
    assert!(hub.clients().is_empty());
    let away = publish(&hub, "unseen", json!({})).await;
    assert_eq!(away.clients_away, 0);
    let mut alice = open(&hub, auto("alice")).await;
    assert!(soon(&mut alice).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn clients_that_are_not_seen_for_long_are_forgotten() {
    let config = HubConfig {
        clients: ClientsConfig {
            forget_after: Duration::ZERO,
            ..HubConfig::default().clients
        },
        ..HubConfig::default()
    };
    let (hub, log) = hub(config).await;
    let _here = open(&hub, auto("here")).await;
    drop(open(&hub, auto("gone")).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let known: Vec<_> = hub.clients().into_iter().map(|c| c.record.client).collect();
    assert_eq!(known, [id("here")]);
    assert_eq!(log.records().await.unwrap().clients.len(), 1);
}

#[tokio::test]
async fn a_place_that_retention_overtook_is_a_gap() {
    let (hub, log) = hub(HubConfig::default()).await;
    drop(open(&hub, auto("alice")).await);
    publish_all(&hub, &["first", "second", "third"]).await;
    let keep = Retention {
        max_events: Some(1),
        ..Retention::default()
    };
    let now = Timestamp::from_millis(0);
    log.prune(&keep, now, 100).await.unwrap();
    let mut alice = open(&hub, auto("alice")).await;
    let gap = next(&mut alice).await;
    assert!(matches!(gap, Delivery::Gap { .. }), "{gap:?}");
    assert_eq!(all_events(&mut alice).await, ["third"]);
}
