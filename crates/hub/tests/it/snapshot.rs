//! The newest state of everything, and then what is new.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notification_event::{Draft, Expiry, Report, TaskId};
use notification_hub::{Delivery, Hub, HubConfig, Start, Subscribe, Subscription};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::harness::{
    client, draft, events, hub, id, is_idle, next, open, publish, publish_all, topics,
};
use crate::hooked::{Hooked, Moment};

fn snapshot() -> Subscribe {
    Subscribe {
        snapshot: true,
        ..Subscribe::default()
    }
}

/// The positions of a snapshot, to its end.
async fn take(stream: &mut Subscription) -> Vec<u64> {
    let mut positions = Vec::new();
    loop {
        match next(stream).await {
            Delivery::Snapshot(frames) => positions.extend(frames.iter().map(|f| f.position.0)),
            Delivery::SnapshotComplete(events) => {
                assert_eq!(events, positions.len() as u64);
                return positions;
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn report(hub: &Hub, task: &str, report: Value) {
    let report = Report::parse(report).unwrap();
    hub.report(id::<TaskId>(task), report).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_is_the_newest_of_each_state_and_comes_before_what_is_new() {
    let (hub, _) = hub(HubConfig::default()).await;
    publish(&hub, "cpu-1", json!({"collapse_key": "cpu"})).await; // 1
    publish(
        &hub,
        "cpu-ops",
        json!({"collapse_key": "cpu", "topic": "ops"}),
    )
    .await;
    publish(&hub, "cpu-2", json!({"collapse_key": "cpu"})).await;
    publish(&hub, "plain", json!({})).await; // 4
    let to_alice = json!({"collapse_key": "cpu", "audience": {"clients": ["alice"]}});
    publish(&hub, "cpu-alice", to_alice).await; // 5
    report(
        &hub,
        "ended",
        json!({"task_name": "T", "step": 1, "total_steps": 1}),
    )
    .await;
    report(
        &hub,
        "t",
        json!({"task_name": "T", "step": 1, "total_steps": 9}),
    )
    .await;
    report(&hub, "t", json!({"step": 2})).await; // 8
    let expired = Draft {
        expiry: Some(Expiry::In(Duration::ZERO)),
        ..draft("mem", json!({"collapse_key": "mem"}))
    };
    hub.publish_one(expired).await.unwrap();

    let mut nobody = open(&hub, snapshot()).await;
    assert!(nobody.is_before_cursor());
    assert_eq!(take(&mut nobody).await, [2, 3, 8]);
    assert!(!nobody.is_before_cursor());
    assert!(is_idle(&mut nobody));
    publish_all(&hub, &["new"]).await;
    assert_eq!(events(&mut nobody).await, ["new"]);

    let mut ops = open(
        &hub,
        Subscribe {
            snapshot: true,
            ..topics(&["ops"])
        },
    )
    .await;
    assert_eq!(take(&mut ops).await, [2]);
    let mut alice = open(
        &hub,
        Subscribe {
            snapshot: true,
            ..client("alice")
        },
    )
    .await;
    assert_eq!(take(&mut alice).await, [2, 3, 5, 8]);
}

#[tokio::test]
async fn a_stream_that_resumes_has_had_its_snapshot() {
    let (hub, _) = hub(HubConfig::default()).await;
    publish(&hub, "cpu", json!({"collapse_key": "cpu"})).await;
    for start in [Start::Beginning, Start::After(crate::harness::head(&hub))] {
        let mut stream = open(
            &hub,
            Subscribe {
                start,
                ..snapshot()
            },
        )
        .await;
        assert!(!stream.is_before_cursor());
        let first = crate::harness::soon(&mut stream).await;
        assert!(
            matches!(first, None | Some(Delivery::Events(_))),
            "{first:?}"
        );
    }
}

#[tokio::test]
async fn what_is_published_while_a_snapshot_is_read_comes_after_it_once() {
    let is_open = Arc::new(AtomicBool::new(false));
    let gate = Arc::new(Semaphore::new(0));
    let log = Hooked::new({
        let (is_open, gate) = (is_open.clone(), gate.clone());
        move |moment| {
            let (is_open, gate) = (is_open.clone(), gate.clone());
            async move {
                if moment == Moment::BeforeRead && is_open.load(Ordering::Relaxed) {
                    gate.acquire().await.unwrap().forget();
                }
            }
        }
    });
    let hub = Hub::open(Arc::new(log), HubConfig::default())
        .await
        .unwrap();
    publish(&hub, "cpu-1", json!({"collapse_key": "cpu"})).await;
    publish(&hub, "mem-1", json!({"collapse_key": "mem"})).await;
    is_open.store(true, Ordering::Relaxed);
    let mut stream = open(&hub, snapshot()).await;
    assert!(is_idle(&mut stream));
    publish(&hub, "cpu-2", json!({"collapse_key": "cpu"})).await;
    publish(&hub, "disk-1", json!({"collapse_key": "disk"})).await;
    gate.add_permits(100);
    assert_eq!(take(&mut stream).await, [2]);
    assert_eq!(events(&mut stream).await, ["cpu-2", "disk-1"]);
    assert!(is_idle(&mut stream));
}

#[tokio::test]
async fn a_large_snapshot_comes_in_order_and_in_parts() {
    let (hub, _) = hub(HubConfig::default()).await;
    let drafts = (0..700).map(|n| draft("n", json!({"collapse_key": format!("k{n}")})));
    hub.publish(drafts.collect()).await.unwrap();
    let again = (0..100).map(|n| draft("n", json!({"collapse_key": format!("k{n}")})));
    hub.publish(again.collect()).await.unwrap();
    let mut stream = open(&hub, snapshot()).await;
    assert_eq!(take(&mut stream).await, (101..=800).collect::<Vec<_>>());
}
