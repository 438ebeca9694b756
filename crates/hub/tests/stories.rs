//! The hub, from publishing to delivery, over the log in memory.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Hooked, Moment};

use futures_util::FutureExt;
use notification_event::{Draft, Event, Filter, GapReason, Position, Timestamp};
use notification_hub::{
    Delivery, Hub, HubConfig, PageRequest, PublishError, Start, Subscribe, Subscription,
};
use notification_log::{EventLog, LogError, MemoryLog, Retention};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

fn hub(config: HubConfig) -> (Hub, Arc<MemoryLog>) {
    let log = Arc::new(MemoryLog::new());
    (Hub::new(log.clone(), config), log)
}

fn draft(topic: &str) -> Draft {
    draft_for(json!({"type": "event", "name": "n", "topic": topic}))
}

fn draft_for(value: Value) -> Draft {
    Draft::parse(value).unwrap()
}

async fn publish(hub: &Hub, topics: &[&str]) {
    let drafts = topics.iter().map(|topic| draft(topic)).collect();
    hub.publish(drafts).await.unwrap();
}

fn topics(topics: &[&str]) -> Subscribe {
    Subscribe {
        filter: Filter {
            topics: topics.iter().map(|t| t.parse().unwrap()).collect(),
            ..Filter::default()
        },
        ..Subscribe::default()
    }
}

fn from(start: Start) -> Subscribe {
    Subscribe {
        start,
        ..Subscribe::default()
    }
}

/// The positions of the next delivery, which has to be events.
async fn events(subscription: &mut Subscription) -> Vec<u64> {
    match subscription.next().await {
        Delivery::Events(frames) => frames.iter().map(|f| f.position.0).collect(),
        other => panic!("{other:?}"),
    }
}

fn is_idle(subscription: &mut Subscription) -> bool {
    subscription.next().now_or_never().is_none()
}

#[tokio::test]
async fn everyone_gets_what_they_asked_for_once() {
    let (hub, _) = hub(HubConfig::default());
    let mut all = hub.subscribe(Subscribe::default()).await.unwrap();
    let mut ops = hub.subscribe(topics(&["ops/**", "ops/db"])).await.unwrap();
    let mut web = hub.subscribe(topics(&["web"])).await.unwrap();
    let answer = hub
        .publish(vec![draft("ops/db"), draft("web"), draft("x")])
        .await
        .unwrap();
    let subscribers: Vec<_> = answer.iter().map(|p| p.subscribers).collect();
    assert_eq!(subscribers, [2, 2, 1]);
    assert_eq!(events(&mut all).await, [1, 2, 3]);
    assert_eq!(events(&mut ops).await, [1]);
    assert_eq!(events(&mut web).await, [2]);
    assert!(is_idle(&mut all) && is_idle(&mut ops) && is_idle(&mut web));
}

#[tokio::test]
async fn the_cursor_moves_on_in_quiet_times() {
    let (hub, _) = hub(HubConfig::default());
    let mut ops = hub.subscribe(topics(&["ops"])).await.unwrap();
    publish(&hub, &["web", "web"]).await;
    assert!(is_idle(&mut ops));
    assert_eq!(ops.cursor().position.0, 2);
}

#[tokio::test]
async fn an_audience_is_reached_on_all_its_streams_and_nobody_else_is() {
    let (hub, _) = hub(HubConfig::default());
    let alice = Subscribe {
        client: Some("alice".parse().unwrap()),
        ..Subscribe::default()
    };
    let mut phone = hub.subscribe(alice.clone()).await.unwrap();
    let mut laptop = hub.subscribe(alice.clone()).await.unwrap();
    let mut nobody = hub.subscribe(Subscribe::default()).await.unwrap();
    let to_alice = draft_for(json!({
        "type": "event", "name": "n", "audience": {"clients": ["alice"]}
    }));
    let answer = hub.publish_one(to_alice.clone()).await.unwrap();
    assert_eq!(answer.subscribers, 2);
    assert_eq!(events(&mut phone).await, [1]);
    assert_eq!(events(&mut laptop).await, [1]);
    assert!(is_idle(&mut nobody));

    // Addressed while alice was away, it is there when she comes back.
    drop((phone, laptop));
    assert_eq!(hub.publish_one(to_alice).await.unwrap().subscribers, 0);
    let resumed = Start::After(answer.cursor);
    let mut phone = hub
        .subscribe(Subscribe {
            start: resumed,
            ..alice
        })
        .await
        .unwrap();
    assert_eq!(events(&mut phone).await, [2]);
    let mut nobody = hub.subscribe(from(resumed)).await.unwrap();
    assert!(is_idle(&mut nobody));
}

#[tokio::test]
async fn a_reader_that_stops_falls_back_to_the_log_and_catches_up() {
    let config = HubConfig {
        tail_events: 4,
        ..HubConfig::default()
    };
    let (hub, _) = hub(config);
    let mut slow = hub.subscribe(Subscribe::default()).await.unwrap();
    publish(&hub, &["a"]).await;
    assert_eq!(events(&mut slow).await, [1]);
    assert!(is_idle(&mut slow));
    for _ in 0..20 {
        publish(&hub, &["a"]).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 20 {
        seen.extend(events(&mut slow).await);
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
    let (hub, log) = hub(config);
    let mut slow = hub.subscribe(Subscribe::default()).await.unwrap();
    for _ in 0..10 {
        publish(&hub, &["a"]).await;
    }
    let keep = Retention {
        max_events: Some(3),
        ..Retention::default()
    };
    log.prune(&keep, "2024-01-15T10:30:00Z".parse().unwrap(), 100)
        .await
        .unwrap();
    match slow.next().await {
        Delivery::Gap { cursor, reason } => {
            assert_eq!((cursor.position.0, reason), (7, GapReason::Retention));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(events(&mut slow).await, [8, 9, 10]);
}

#[tokio::test]
async fn a_page_of_the_log_is_read_with_a_filter_and_read_on() {
    let (hub, _) = hub(HubConfig::default());
    publish(&hub, &["a", "b", "a", "b", "a"]).await;
    let request = PageRequest {
        subscribe: Subscribe {
            start: Start::Beginning,
            ..topics(&["a"])
        },
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
    next.subscribe.start = Start::After(page.cursor);
    let page = hub.page(next.clone()).await.unwrap();
    assert_eq!((positions(&page), page.has_more), (vec![5], false));
    next.subscribe.start = Start::After(page.cursor);
    let page = hub.page(next).await.unwrap();
    assert_eq!((positions(&page), page.cursor.position.0), (vec![], 5));
}

#[tokio::test]
async fn closing_hands_out_what_was_taken_and_then_says_so() {
    let (hub, _) = hub(HubConfig::default());
    let mut reader = hub.subscribe(Subscribe::default()).await.unwrap();
    let published = tokio::spawn({
        let hub = hub.clone();
        async move { hub.publish_one(draft("a")).await }
    });
    tokio::task::yield_now().await;
    hub.close().await;
    published.await.unwrap().unwrap();
    assert_eq!(events(&mut reader).await, [1]);
    assert!(matches!(reader.next().await, Delivery::Closing));
    assert_eq!(
        hub.publish_one(draft("a")).await,
        Err(PublishError::Closing)
    );
    assert_eq!(hub.ready(), Err(PublishError::Closing));
}

#[tokio::test]
async fn open_streams_are_counted_truly() {
    let (hub, _) = hub(HubConfig::default());
    let first = hub.subscribe(Subscribe::default()).await.unwrap();
    let second = hub.subscribe(topics(&["a"])).await.unwrap();
    assert_eq!(hub.connections(), 2);
    drop(first);
    assert_eq!(hub.connections(), 1);
    drop(second);
    assert_eq!(hub.connections(), 0);
    publish(&hub, &["a", "a"]).await;
    assert_eq!(hub.events_published(), 2);
}

#[tokio::test]
async fn events_that_were_thought_to_have_failed_reach_streams_that_wait() {
    let (hub, log) = hub(HubConfig::default());
    let mut reader = hub.subscribe(topics(&["a"])).await.unwrap();
    assert!(is_idle(&mut reader));
    let waiting = tokio::spawn(async move { events(&mut reader).await });
    tokio::task::yield_now().await;
    // Appended past the hub, as by a commit that was reported as failed.
    let event = Event::new(draft("a"), Timestamp::from_millis(0)).encode();
    log.append(Arc::new([event]), Timestamp::from_millis(0))
        .await
        .unwrap();
    publish(&hub, &["b"]).await;
    let got = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert_eq!(got.expect("it is woken").unwrap(), [1]);
}

#[tokio::test]
async fn a_hole_in_the_log_ends_a_stream_and_is_not_passed_over() {
    let log = Hooked::new(async |_| {}).losing(Position(2));
    let config = HubConfig {
        tail_events: 1,
        ..HubConfig::default()
    };
    let hub = Hub::new(Arc::new(log), config);
    publish(&hub, &["a", "a", "a", "a"]).await;
    let mut reader = hub.subscribe(from(Start::Beginning)).await.unwrap();
    assert!(matches!(
        reader.next().await,
        Delivery::Failed(LogError::Damaged(_))
    ));
}

#[tokio::test]
async fn publishers_that_wait_share_one_commit() {
    let gate = Arc::new(Semaphore::new(0));
    let log = Hooked::new({
        let gate = gate.clone();
        move |moment| {
            let gate = gate.clone();
            async move {
                if moment == Moment::BeforeAppend {
                    gate.acquire().await.unwrap().forget();
                }
            }
        }
    });
    let hub = Hub::new(Arc::new(log), HubConfig::default());
    let publishers: Vec<_> = (0..64)
        .map(|_| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.publish_one(draft("a")).await })
        })
        .collect();
    // The first to come, and all those who came while it was held up: a third
    // commit would not be let through.
    tokio::task::yield_now().await;
    gate.add_permits(2);
    for publisher in publishers {
        let answer = tokio::time::timeout(Duration::from_secs(30), publisher).await;
        answer.expect("two commits are enough").unwrap().unwrap();
    }
    assert_eq!(hub.log_bounds().events(), 64);
}

#[tokio::test]
async fn a_publisher_that_panics_is_noticed() {
    let log = Hooked::new(async |moment| assert_ne!(moment, Moment::BeforeAppend, "as announced"));
    let hub = Hub::new(Arc::new(log), HubConfig::default());
    assert_eq!(hub.ready(), Ok(()));
    for _ in 0..2 {
        assert_eq!(hub.publish_one(draft("a")).await, Err(PublishError::Failed));
    }
    assert_eq!(hub.ready(), Err(PublishError::Failed));
}
