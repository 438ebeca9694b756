//! Streams that share what is read at the live end.

use std::sync::Arc;

use notification_event::{Cursor, Position};
use notification_hub::{
    Batch, Bell, Delivery, Feed, HubConfig, News, Start, Step, Subscribe, Take,
};
use serde_json::json;

use crate::harness::{client, from, head, hub, open, publish, publish_all};

fn batch(feed: &mut Feed) -> Batch {
    match feed.read() {
        News::Events(batch) => batch,
        other => panic!("{other:?}"),
    }
}

/// What a stream finds when it looks for itself.
fn positions(step: Step) -> Vec<u64> {
    match step {
        Step::Deliver(Delivery::Events(frames)) => frames.iter().map(|f| f.position.0).collect(),
        other => panic!("{other:?}"),
    }
}

fn bell() -> Arc<Bell> {
    Bell::new(|| ())
}

#[tokio::test]
async fn who_is_not_where_a_batch_begins_looks_for_itself() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut live = open(&hub, from(Start::Now)).await;
    let mut behind = open(&hub, from(Start::Now)).await;
    let mut feed = Feed::open(&live, &bell(), 0);
    publish_all(&hub, &["a"]).await;
    assert!(matches!(live.take(&batch(&mut feed)), Take::All));
    publish_all(&hub, &["b"]).await;
    let second = batch(&mut feed);
    assert!(matches!(live.take(&second), Take::All));
    // It has had it.
    assert!(matches!(live.take(&second), Take::Step));
    assert!(matches!(live.step(feed.position()), Step::Wait));
    // It has not had the first, and a heartbeat does not make it go on.
    assert!(matches!(behind.take(&second), Take::Step));
    behind.catch_up_with(&feed);
    assert_eq!(positions(behind.step(Position(1))), [1]);
    assert!(matches!(behind.step(Position(1)), Step::Wait));
    assert_eq!(positions(behind.step(feed.position())), [2]);
    assert!(matches!(feed.read(), News::None));
}

#[tokio::test]
async fn what_nobody_was_there_for_is_on_no_feed() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut other = open(&hub, from(Start::Now)).await;
    let mut feed = Feed::open(&other, &bell(), 0);
    publish(&hub, "a", json!({"audience": {"clients": ["alice"]}})).await;
    assert!(matches!(feed.read(), News::None));
    let before = Cursor {
        position: Position(0),
        ..head(&hub)
    };
    let alice = Subscribe {
        start: Start::After(before),
        ..client("alice")
    };
    let mut alice = open(&hub, alice).await;
    alice.catch_up_with(&feed);
    publish_all(&hub, &["b"]).await;
    let batch = batch(&mut feed);
    assert!(matches!(other.take(&batch), Take::All));
    assert!(matches!(alice.take(&batch), Take::Step));
    assert_eq!(positions(alice.step(feed.position())), [1, 2]);
}

#[tokio::test]
async fn a_feed_that_memory_has_passed_sends_everyone_to_the_log() {
    let config = HubConfig {
        tail_events: 2,
        ..HubConfig::default()
    };
    let (hub, _) = hub(config).await;
    let mut stream = open(&hub, from(Start::Now)).await;
    let mut feed = Feed::open(&stream, &bell(), 0);
    publish_all(&hub, &["a", "b", "c"]).await;
    assert!(matches!(feed.read(), News::Passed));
    assert_eq!(feed.position(), Position(3));
    publish_all(&hub, &["d"]).await;
    let batch = batch(&mut feed);
    assert!(matches!(stream.take(&batch), Take::Step));
    assert!(matches!(stream.step(feed.position()), Step::Read));
    match stream.read().await {
        Some(Delivery::Events(frames)) => assert_eq!(frames.len(), 4),
        other => panic!("{other:?}"),
    }
    assert!(matches!(stream.take(&batch), Take::Step));
    assert!(matches!(stream.step(feed.position()), Step::Wait));
}
