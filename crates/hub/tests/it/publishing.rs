//! What publishers are answered.

use std::sync::Arc;
use std::time::Duration;

use notification_event::Draft;
use notification_hub::{Hub, HubConfig, PublishError, Start};
use notification_log::{EventLog, MemoryLog};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::harness::{all_events, draft, from, hub, life, open, publish};
use crate::hooked::{Hooked, Moment};

/// An event whose publisher gives it this id.
fn named(event_id: &str, name: &str) -> Draft {
    draft(name, json!({"event_id": event_id}))
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
    let hub = Hub::open(Arc::new(log), HubConfig::default())
        .await
        .unwrap();
    let publishers: Vec<_> = (0..64)
        .map(|_| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.publish_one(draft("n", json!({}))).await })
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
    let hub = Hub::open(Arc::new(log), HubConfig::default())
        .await
        .unwrap();
    assert_eq!(hub.ready(), Ok(()));
    for _ in 0..2 {
        let answer = hub.publish_one(draft("n", json!({}))).await;
        assert_eq!(answer, Err(PublishError::Failed));
    }
    assert_eq!(hub.ready(), Err(PublishError::Failed));
}

#[tokio::test]
async fn an_event_published_again_is_the_same_event() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut stream = open(&hub, from(Start::Beginning)).await;
    let first = hub.publish_one(named("e1", "n")).await.unwrap();
    assert!(!first.is_duplicate);
    assert_eq!(first.subscribers, 1);
    publish(&hub, "between", json!({})).await;
    let again = hub.publish_one(named("e1", "n")).await.unwrap();
    assert!(again.is_duplicate);
    assert_eq!(
        (&again.event_id, again.timestamp, again.cursor),
        (&first.event_id, first.timestamp, first.cursor)
    );
    assert_eq!(all_events(&mut stream).await, ["n", "between"]);
}

#[tokio::test]
async fn an_event_twice_in_one_batch_or_at_once_is_there_once() {
    let (hub, log) = hub(HubConfig::default()).await;
    let batch = vec![
        named("e1", "n"),
        draft("other", json!({})),
        named("e1", "n"),
    ];
    let answers = hub.publish(batch).await.unwrap();
    let duplicates: Vec<_> = answers.iter().map(|a| a.is_duplicate).collect();
    assert_eq!(duplicates, [false, false, true]);
    assert_eq!(answers[0].cursor, answers[2].cursor);

    let publishers: Vec<_> = (0..8)
        .map(|_| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.publish_one(named("e2", "n")).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for publisher in publishers {
        answers.push(publisher.await.unwrap());
    }
    assert_eq!(
        answers.iter().filter(|answer| !answer.is_duplicate).count(),
        1
    );
    assert!(
        answers
            .iter()
            .all(|answer| answer.cursor == answers[0].cursor)
    );
    assert_eq!(log.bounds().events(), 3);
}

#[tokio::test]
async fn another_event_under_the_same_id_is_refused_with_its_whole_request() {
    let (hub, log) = hub(HubConfig::default()).await;
    hub.publish_one(named("e1", "n")).await.unwrap();
    let given_by_server = publish(&hub, "n", json!({})).await.event_id;
    let check = async |batch: Vec<Draft>, wrong: usize| {
        let refused = hub.publish(batch).await.unwrap_err();
        let PublishError::Conflict { index, invalid } = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(
            (index, invalid.errors[0].field.as_str()),
            (wrong, "event_id")
        );
        assert_eq!(log.bounds().events(), 2);
    };
    check(vec![named("e1", "m")], 0).await;
    check(vec![named("e2", "n"), named("e1", "m")], 1).await;
    check(
        vec![named("e3", "n"), draft("n", json!({})), named("e3", "m")],
        2,
    )
    .await;
    check(vec![named(given_by_server.as_str(), "n")], 0).await;
    let audience = json!({"event_id": "e1", "audience": {"clients": ["alice"]}});
    check(vec![draft("n", audience)], 0).await;
    // Nothing of what was refused is in the way later.
    let answers = hub.publish(vec![named("e2", "m"), named("e3", "m")]).await;
    assert!(answers.unwrap().iter().all(|answer| !answer.is_duplicate));
}

/// Who shares a commit with a refused request does not notice it.
#[tokio::test]
async fn a_refused_request_does_not_harm_those_beside_it() {
    let (hub, log) = hub(HubConfig::default()).await;
    hub.publish_one(named("e1", "n")).await.unwrap();
    let (before, refused, after) = tokio::join!(
        hub.publish(vec![named("e2", "n")]),
        hub.publish(vec![named("e2", "n"), named("e3", "n"), named("e1", "m")]),
        hub.publish(vec![named("e3", "m"), named("e2", "n")]),
    );
    assert!(!before.unwrap()[0].is_duplicate);
    assert!(matches!(
        refused,
        Err(PublishError::Conflict { index: 2, .. })
    ));
    let after: Vec<_> = after.unwrap().iter().map(|a| a.is_duplicate).collect();
    assert_eq!(after, [false, true]);
    assert_eq!(log.bounds().events(), 3);
}

#[test]
fn an_event_is_the_same_after_a_restart_too() {
    let log = Arc::new(MemoryLog::new());
    let first = life(&log, HubConfig::default(), async |hub| {
        hub.publish_one(named("e1", "n")).await.unwrap()
    });
    life(&log, HubConfig::default(), async |hub| {
        let again = hub.publish_one(named("e1", "n")).await.unwrap();
        assert_eq!((again.cursor, again.is_duplicate), (first.cursor, true));
        assert!(hub.publish_one(named("e1", "m")).await.is_err());
    });
    assert_eq!(log.bounds().events(), 1);
}
