//! What the stories share.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use notification_event::{Cursor, Draft, Filter, Position};
use notification_hub::{
    AckMode, Delivery, Hub, HubConfig, Published, Start, Subscribe, Subscription,
};
use notification_log::{EventLog, MemoryLog};
use serde_json::{Value, json};

/// A hub over a new log.
pub(crate) async fn hub(config: HubConfig) -> (Hub, Arc<MemoryLog>) {
    let log = Arc::new(MemoryLog::new());
    let hub = Hub::open(log.clone(), config).await.unwrap();
    (hub, log)
}

/// What `story` does with a server over `log`, which then ends without a word,
/// as by a power cut: nothing that it was about to do is done.
pub(crate) fn life<T>(
    log: &Arc<impl EventLog>,
    config: HubConfig,
    story: impl AsyncFnOnce(Hub) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let hub = runtime.block_on(Hub::open(log.clone(), config)).unwrap();
    runtime.block_on(story(hub))
}

/// A client id, a group, a task id, …
pub(crate) fn id<T: FromStr>(text: &str) -> T {
    text.parse().ok().expect("an identifier")
}

/// An application's event with this name, and more fields if there are any.
pub(crate) fn draft(name: &str, fields: Value) -> Draft {
    let mut event = json!({"type": "event", "name": name});
    let event_fields = event.as_object_mut().unwrap();
    event_fields.extend(fields.as_object().unwrap().clone());
    Draft::parse(event).unwrap()
}

pub(crate) async fn publish(hub: &Hub, name: &str, fields: Value) -> Published {
    hub.publish_one(draft(name, fields)).await.unwrap()
}

/// Publishes events that have nothing but these names.
pub(crate) async fn publish_all(hub: &Hub, names: &[&str]) {
    let drafts = names.iter().map(|name| draft(name, json!({})));
    hub.publish(drafts.collect()).await.unwrap();
}

/// Those on topics of these patterns.
pub(crate) fn topics(patterns: &[&str]) -> Subscribe {
    Subscribe {
        filter: Filter {
            topics: patterns.iter().map(|p| p.parse().unwrap()).collect(),
            ..Filter::default()
        },
        ..Subscribe::default()
    }
}

pub(crate) fn from(start: Start) -> Subscribe {
    Subscribe {
        start,
        ..Subscribe::default()
    }
}

pub(crate) fn client(name: &str) -> Subscribe {
    Subscribe {
        client: Some(id(name)),
        ..Subscribe::default()
    }
}

pub(crate) fn durable(name: &str, ack: AckMode) -> Subscribe {
    Subscribe {
        durable: Some(ack),
        ..client(name)
    }
}

pub(crate) async fn open(hub: &Hub, subscribe: Subscribe) -> Subscription {
    hub.subscribe(subscribe).await.unwrap()
}

/// What comes next, which has to come.
pub(crate) async fn next(stream: &mut Subscription) -> Delivery {
    let patience = Duration::from_secs(30);
    let delivery = tokio::time::timeout(patience, stream.next()).await;
    delivery.expect("something comes")
}

/// The names of the next delivery, which has to be events.
pub(crate) async fn events(stream: &mut Subscription) -> Vec<String> {
    match next(stream).await {
        Delivery::Events(frames) => {
            let names = frames.iter().map(|frame| frame.head.name.as_ref().unwrap());
            names.map(ToString::to_string).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The names of the next events, as many as there are until there is nothing
/// for the moment.
pub(crate) async fn all_events(stream: &mut Subscription) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(delivery) = soon(stream).await {
        match delivery {
            Delivery::Events(frames) => {
                let heads = frames.iter().map(|frame| frame.head.name.as_ref().unwrap());
                names.extend(heads.map(ToString::to_string));
            }
            other => panic!("{other:?} after {names:?}"),
        }
    }
    names
}

/// What comes next, if it is there.
pub(crate) async fn soon(stream: &mut Subscription) -> Option<Delivery> {
    // Passing over what is not wanted yields in between.
    let patience = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        delivery = stream.next() => Some(delivery),
        () = patience => None,
    }
}

pub(crate) fn is_idle(stream: &mut Subscription) -> bool {
    stream.next().now_or_never().is_none()
}

/// The positions of the next delivery, which has to be events.
pub(crate) async fn positions(stream: &mut Subscription) -> Vec<u64> {
    match next(stream).await {
        Delivery::Events(frames) => frames.iter().map(|frame| frame.position.0).collect(),
        other => panic!("{other:?}"),
    }
}

/// The place after everything there is.
pub(crate) fn head(hub: &Hub) -> Cursor {
    let bounds = hub.log_bounds();
    Cursor {
        epoch: bounds.epoch,
        position: bounds.head,
    }
}

/// Everything that is in a log: topic and JSON.
pub(crate) async fn everything_in(log: &dyn EventLog) -> Vec<(String, Value)> {
    let limit = notification_log::PageLimit {
        events: usize::MAX,
        bytes: usize::MAX,
    };
    let page = log.read(Position::START, limit).await.unwrap();
    let entries = page.entries.into_iter().map(|entry| {
        let json = serde_json::from_slice(&entry.event.json).unwrap();
        (entry.event.head.topic.to_string(), json)
    });
    entries.collect()
}
