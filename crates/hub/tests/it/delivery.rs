//! Who gets what, and how a stream ends.

use std::sync::Arc;
use std::time::Duration;

use notification_event::{Draft, Event, EventType, Expiry, Filter, GapReason, Position, Timestamp};
use notification_hub::{
    AckMode, ClientsConfig, Delivery, Hub, HubConfig, PageRequest, PublishError, Rate, Start,
    Subscribe,
};
use notification_log::{Commit, EventLog, LogError, Retention};
use serde_json::json;

use crate::harness::{
    all_events, client, draft, durable, events, from, hub, id, is_idle, next, open, positions,
    publish, publish_all, soon, topics,
};
use crate::hooked::Hooked;

#[tokio::test]
async fn everyone_gets_what_they_asked_for_once() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut all = open(&hub, Subscribe::default()).await;
    let mut ops = open(&hub, topics(&["ops/**", "ops/db"])).await;
    let mut web = open(&hub, topics(&["web"])).await;
    let on = |topic: &str| draft("n", json!({"topic": topic}));
    let answer = hub.publish(vec![on("ops/db"), on("web"), on("x")]).await;
    let subscribers = answer
        .unwrap()
        .iter()
        .map(|p| p.subscribers)
        .collect::<Vec<_>>();
    assert_eq!(subscribers, [2, 2, 1]);
    assert_eq!(positions(&mut all).await, [1, 2, 3]);
    assert_eq!(positions(&mut ops).await, [1]);
    assert_eq!(positions(&mut web).await, [2]);
    assert!(is_idle(&mut all) && is_idle(&mut ops) && is_idle(&mut web));
}

#[tokio::test]
async fn a_filter_asks_for_types_names_priorities_and_tags() {
    let (hub, _) = hub(HubConfig::default()).await;
    let wanting = |filter: Filter| Subscribe {
        filter,
        start: Start::Beginning,
        ..Subscribe::default()
    };
    let wanted = [
        (
            Filter {
                types: vec![EventType::Notification],
                ..Filter::default()
            },
            vec![1],
        ),
        (
            Filter {
                names: vec![id("b"), id("c")],
                ..Filter::default()
            },
            vec![3, 4],
        ),
        (
            Filter {
                min_priority: Some("high".parse().unwrap()),
                ..Filter::default()
            },
            vec![1, 4],
        ),
        (
            Filter {
                tags: vec![id("x"), id("y")],
                ..Filter::default()
            },
            vec![3, 4],
        ),
        (
            Filter {
                min_priority: Some("high".parse().unwrap()),
                tags: vec![id("x"), id("y")],
                ..Filter::default()
            },
            vec![4],
        ),
    ];
    let mut live = Vec::new();
    for (filter, expected) in &wanted {
        live.push((open(&hub, wanting(filter.clone())).await, expected));
    }
    let drafts = [
        json!({"type": "notification", "message": "m", "priority": 5}),
        json!({"type": "event", "name": "a"}),
        json!({"type": "event", "name": "b", "tags": ["x"]}),
        json!({"type": "event", "name": "c", "tags": ["z", "y"], "priority": 4}),
    ];
    let drafts = drafts.map(|draft| Draft::parse(draft).unwrap());
    hub.publish(drafts.into()).await.unwrap();
    for (mut stream, expected) in live {
        assert_eq!(positions(&mut stream).await, *expected);
        assert!(is_idle(&mut stream));
    }
    for (filter, expected) in wanted {
        let mut later = open(&hub, wanting(filter)).await;
        assert_eq!(positions(&mut later).await, expected);
    }
}

#[tokio::test]
async fn the_servers_own_topics_are_only_for_those_who_name_them() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut all = open(&hub, Subscribe::default()).await;
    let mut star = open(&hub, topics(&["**", "*"])).await;
    let mut presence = open(&hub, topics(&["$presence"])).await;
    let mut below = open(&hub, topics(&["$presence/**"])).await;
    let _alice = open(&hub, client("alice")).await;
    assert_eq!(events(&mut presence).await, ["client.joined"]);
    assert_eq!(events(&mut below).await, ["client.joined"]);
    publish_all(&hub, &["n"]).await;
    assert_eq!(events(&mut all).await, ["n"]);
    assert_eq!(events(&mut star).await, ["n"]);
    assert!(is_idle(&mut presence) && is_idle(&mut below));
}

#[tokio::test]
async fn the_cursor_moves_on_in_quiet_times() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut ops = open(&hub, topics(&["ops"])).await;
    publish_all(&hub, &["n", "n"]).await;
    assert!(is_idle(&mut ops));
    assert_eq!(ops.cursor().position.0, 2);
}

#[tokio::test]
async fn an_audience_is_reached_on_all_its_streams_and_nobody_else_is() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut phone = open(&hub, client("alice")).await;
    let mut laptop = open(&hub, client("alice")).await;
    let mut nobody = open(&hub, Subscribe::default()).await;
    let to_alice = json!({"audience": {"clients": ["alice"]}});
    let answer = publish(&hub, "first", to_alice.clone()).await;
    assert_eq!(answer.subscribers, 2);
    assert_eq!(events(&mut phone).await, ["first"]);
    assert_eq!(events(&mut laptop).await, ["first"]);
    assert!(is_idle(&mut nobody));

    // Addressed while alice was away, it is there when she comes back.
    drop((phone, laptop));
    assert_eq!(publish(&hub, "second", to_alice).await.subscribers, 0);
    let resumed = from(Start::After(answer.cursor));
    let alice = Subscribe {
        client: Some(id("alice")),
        ..resumed.clone()
    };
    let mut phone = open(&hub, alice).await;
    assert_eq!(events(&mut phone).await, ["second"]);
    let mut nobody = open(&hub, resumed).await;
    assert!(soon(&mut nobody).await.is_none());
}

#[tokio::test]
async fn a_reader_that_stops_falls_back_to_the_log_and_catches_up() {
    let config = HubConfig {
        tail_events: 4,
        ..HubConfig::default()
    };
    let (hub, _) = hub(config).await;
    let mut slow = open(&hub, Subscribe::default()).await;
    publish_all(&hub, &["n"]).await;
    assert_eq!(positions(&mut slow).await, [1]);
    assert!(is_idle(&mut slow));
    for _ in 0..20 {
        publish_all(&hub, &["n"]).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 20 {
        seen.extend(positions(&mut slow).await);
    }
    assert_eq!(seen, (2..=21).collect::<Vec<u64>>());
    assert!(is_idle(&mut slow));
}

#[tokio::test]
async fn a_reader_that_retention_overtakes_is_told_of_the_gap() {
    let config = HubConfig {
        tail_events: 2,
        ..HubConfig::default()
    };
    let (hub, log) = hub(config).await;
    let mut slow = open(&hub, Subscribe::default()).await;
    for _ in 0..10 {
        publish_all(&hub, &["n"]).await;
    }
    keep(&*log, 3).await;
    match next(&mut slow).await {
        Delivery::Gap { cursor, reason } => {
            assert_eq!((cursor.position.0, reason), (7, GapReason::Retention));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(positions(&mut slow).await, [8, 9, 10]);
}

async fn keep(log: &dyn EventLog, events: u64) {
    let keep = Retention {
        max_events: Some(events),
        ..Retention::default()
    };
    let now = Timestamp::from_millis(0);
    log.prune(&keep, now, u64::MAX).await.unwrap();
}

#[tokio::test]
async fn a_page_of_the_log_is_read_with_a_filter_and_read_on() {
    let (hub, _) = hub(HubConfig::default()).await;
    let drafts = ["a", "b", "a", "b", "a"].map(|topic| draft("n", json!({"topic": topic})));
    hub.publish(drafts.into()).await.unwrap();
    let request = PageRequest {
        filter: topics(&["a"]).filter,
        client: None,
        start: Start::Beginning,
        limit: 2,
    };
    let positions = |page: &notification_hub::EventPage| -> Vec<u64> {
        page.frames.iter().map(|f| f.position.0).collect()
    };
    let page = hub.page(request.clone()).await.unwrap();
    assert_eq!(
        (positions(&page), page.has_more, page.truncated),
        (vec![1, 3], true, false)
    );
    let mut next = request.clone();
    next.start = Start::After(page.cursor);
    let page = hub.page(next.clone()).await.unwrap();
    assert_eq!((positions(&page), page.has_more), (vec![5], false));
    next.start = Start::After(page.cursor);
    let page = hub.page(next).await.unwrap();
    assert_eq!((positions(&page), page.cursor.position.0), (vec![], 5));
}

#[tokio::test]
async fn what_has_expired_is_neither_delivered_nor_replayed() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut live = open(&hub, Subscribe::default()).await;
    let expiring = |name: &str, after: Duration| Draft {
        expiry: Some(Expiry::In(after)),
        ..draft(name, json!({}))
    };
    let over = expiring("over", Duration::ZERO);
    let not_yet = expiring("not-yet", Duration::from_secs(3_600));
    hub.publish(vec![over, not_yet]).await.unwrap();
    assert_eq!(events(&mut live).await, ["not-yet"]);
    let mut replay = open(&hub, from(Start::Beginning)).await;
    assert_eq!(all_events(&mut replay).await, ["not-yet"]);
    let request = PageRequest {
        filter: Filter::default(),
        client: None,
        start: Start::Beginning,
        limit: 10,
    };
    assert_eq!(hub.page(request).await.unwrap().frames.len(), 1);

    let past = Draft {
        expiry: Some(Expiry::At(Timestamp::from_millis(0))),
        ..draft("past", json!({}))
    };
    let refused = hub.publish(vec![draft("n", json!({})), past]).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, PublishError::Invalid { index: 1, .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn closing_hands_out_what_was_taken_and_then_says_so() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut reader = open(&hub, Subscribe::default()).await;
    let published = tokio::spawn({
        let hub = hub.clone();
        async move { hub.publish_one(draft("n", json!({}))).await }
    });
    tokio::task::yield_now().await;
    hub.close().await;
    published.await.unwrap().unwrap();
    assert_eq!(events(&mut reader).await, ["n"]);
    assert!(matches!(next(&mut reader).await, Delivery::Closing));
    let refused = hub.publish_one(draft("n", json!({}))).await;
    assert_eq!(refused, Err(PublishError::Closing));
    assert_eq!(hub.ready(), Err(PublishError::Closing));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_streams_that_have_to_wait() {
    let config = HubConfig {
        clients: ClientsConfig {
            max_unacknowledged: 1,
            ..HubConfig::default().clients
        },
        ..HubConfig::default()
    };
    let (hub, _) = hub(config).await;
    let mut owing = open(&hub, durable("alice", AckMode::Manual)).await;
    let held = Subscribe {
        max_rate: Rate::per_second(0.01),
        ..Subscribe::default()
    };
    let mut held = open(&hub, held).await;
    publish_all(&hub, &["first", "second"]).await;
    assert_eq!(events(&mut owing).await, ["first"]);
    assert!(matches!(next(&mut owing).await, Delivery::Paused(1)));
    assert_eq!(events(&mut held).await, ["first"]);
    // Nobody waits on them while the hub closes.
    hub.close().await;
    for stream in [&mut owing, &mut held] {
        assert!(matches!(soon(stream).await, Some(Delivery::Closing)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_somebody_closes_is_told() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut closed = open(&hub, Subscribe::default()).await;
    let mut other = open(&hub, Subscribe::default()).await;
    let id = closed.id();
    let waiting = tokio::spawn(async move {
        let delivery = next(&mut closed).await;
        (closed, delivery)
    });
    tokio::task::yield_now().await;
    assert!(hub.close_connection(id));
    let (mut closed, delivery) = waiting.await.unwrap();
    assert!(matches!(delivery, Delivery::Ended(_)));
    publish_all(&hub, &["n"]).await;
    assert!(matches!(next(&mut closed).await, Delivery::Ended(_)));
    assert_eq!(events(&mut other).await, ["n"]);
    drop(closed);
    assert!(!hub.close_connection(id));
}

#[tokio::test]
async fn open_streams_are_counted_truly() {
    let (hub, _) = hub(HubConfig::default()).await;
    let first = open(&hub, Subscribe::default()).await;
    let second = open(&hub, topics(&["a"])).await;
    assert_eq!(hub.connections(), 2);
    let listed: Vec<_> = hub.connection_list().iter().map(|c| c.id).collect();
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&first.id()) && listed.contains(&second.id()));
    drop(first);
    assert_eq!(hub.connections(), 1);
    drop(second);
    assert_eq!(hub.connections(), 0);
    publish_all(&hub, &["n", "n"]).await;
    assert_eq!(hub.events_published(), 2);
}

#[tokio::test]
async fn events_that_were_thought_to_have_failed_reach_streams_that_wait() {
    let (hub, log) = hub(HubConfig::default()).await;
    let mut reader = open(&hub, topics(&["a"])).await;
    assert!(is_idle(&mut reader));
    let waiting = tokio::spawn(async move { events(&mut reader).await });
    tokio::task::yield_now().await;
    // Appended past the hub, as by a commit that was reported as failed.
    let draft = draft("n", json!({"topic": "a"}));
    let commit = Commit {
        changes: Vec::new(),
        events: vec![Event::new(draft, Timestamp::from_millis(0)).encode()],
    };
    let now = Timestamp::from_millis(0);
    log.append(Arc::new(commit), now).await.unwrap();
    publish(&hub, "other", json!({"topic": "b"})).await;
    let got = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert_eq!(got.expect("it is woken").unwrap(), ["n"]);
}

#[tokio::test]
async fn a_hole_in_the_log_ends_a_stream_and_is_not_passed_over() {
    let log = Hooked::new(async |_| {}).losing(Position(2));
    let config = HubConfig {
        tail_events: 1,
        ..HubConfig::default()
    };
    let hub = Hub::open(Arc::new(log), config).await.unwrap();
    publish_all(&hub, &["n", "n", "n", "n"]).await;
    let mut reader = open(&hub, from(Start::Beginning)).await;
    let end = next(&mut reader).await;
    assert!(
        matches!(end, Delivery::Failed(LogError::Damaged(_))),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_newer_event_replaces_an_older_one_that_was_not_sent() {
    let small = HubConfig {
        tail_events: 1,
        ..HubConfig::default()
    };
    // From the ring, and from the log.
    for config in [HubConfig::default(), small] {
        let (hub, _) = hub(config).await;
        let mut stream = open(&hub, Subscribe::default()).await;
        let mut ops = open(&hub, topics(&["ops"])).await;
        for (name, fields) in [
            ("cpu-1", json!({"collapse_key": "cpu"})),
            ("cpu-ops", json!({"collapse_key": "cpu", "topic": "ops"})),
            ("mem-1", json!({"collapse_key": "mem"})),
            ("cpu-2", json!({"collapse_key": "cpu"})),
            (
                "cpu-alice",
                json!({"collapse_key": "cpu", "audience": {"clients": ["alice"]}}),
            ),
            ("plain", json!({})),
            ("cpu-3", json!({"collapse_key": "cpu"})),
        ] {
            publish(&hub, name, fields).await;
        }
        let mut got = Vec::new();
        let conflated = loop {
            match next(&mut stream).await {
                Delivery::Events(frames) => {
                    got.extend(frames.iter().map(|f| f.head.name.clone().unwrap()));
                }
                Delivery::Conflated(count) => break count,
                other => panic!("{other:?}"),
            }
        };
        let names: Vec<_> = got.iter().map(|name| name.as_str()).collect();
        assert_eq!(names, ["cpu-ops", "mem-1", "plain", "cpu-3"]);
        assert_eq!(conflated, 2);
        assert!(is_idle(&mut stream));
        publish(&hub, "cpu-4", json!({"collapse_key": "cpu"})).await;
        assert_eq!(events(&mut stream).await, ["cpu-4"]);
        assert!(is_idle(&mut stream), "what was sent was not skipped");
        assert_eq!(all_events(&mut ops).await, ["cpu-ops"]);
    }
}

/// A newer event takes an older one's place only for those that get the newer one.
#[tokio::test]
async fn who_does_not_get_the_newer_event_gets_the_older_one() {
    let small = HubConfig {
        tail_events: 1,
        ..HubConfig::default()
    };
    // From the ring, and from the log.
    for config in [HubConfig::default(), small] {
        let (hub, _) = hub(config).await;
        hub.join_group(id("ops"), id("alice")).await.unwrap();
        let mut member = open(&hub, client("alice")).await;
        let mut urgent = Subscribe::default();
        urgent.filter.min_priority = Some("high".parse().unwrap());
        let mut urgent = open(&hub, urgent).await;
        let to_ops = json!({"collapse_key": "cpu", "audience": {"groups": ["ops"]}});
        publish(&hub, "to-members", to_ops.clone()).await;
        for (name, priority) in [("alarm", 5), ("calm", 1)] {
            let fields = json!({"collapse_key": "cpu", "priority": priority});
            publish(&hub, name, fields).await;
        }
        hub.leave_group(id("ops"), id("alice")).await.unwrap();
        publish(&hub, "to-others", to_ops).await;
        assert_eq!(all_events(&mut urgent).await, ["alarm"]);
        assert_eq!(events(&mut member).await, ["to-members", "calm"]);
        assert!(matches!(
            soon(&mut member).await,
            Some(Delivery::Conflated(1))
        ));
    }
}
