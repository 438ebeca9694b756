//! Streams that are held to a rate.

use std::time::Duration;

use notification_hub::{Delivery, Hub, HubConfig, Rate, Subscribe, Subscription};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{draft, hub, id, is_idle, next, open, publish_all};
use notification_event::{Report, TaskId};

fn at_rate(events_per_second: f64) -> Subscribe {
    Subscribe {
        max_rate: Rate::per_second(events_per_second),
        ..Subscribe::default()
    }
}

/// All that comes until there is nothing for a minute: the positions of the
/// events, and how many were conflated.
async fn drain(stream: &mut Subscription) -> (Vec<u64>, u64) {
    let (mut positions, mut conflated) = (Vec::new(), 0);
    let minute = Duration::from_secs(60);
    while let Ok(delivery) = tokio::time::timeout(minute, stream.next()).await {
        match delivery {
            Delivery::Events(frames) => positions.extend(frames.iter().map(|f| f.position.0)),
            Delivery::Conflated(count) => conflated += count,
            other => panic!("{other:?}"),
        }
    }
    (positions, conflated)
}

async fn report(hub: &Hub, task: &str, report: Value) {
    let report = Report::parse(report).unwrap();
    hub.report(id::<TaskId>(task), report).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rate_delays_but_does_not_drop() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut stream = open(&hub, at_rate(2.0)).await;
    let start = Instant::now();
    publish_all(&hub, &["n"; 10]).await;
    let mut positions = Vec::new();
    while positions.len() < 10 {
        match next(&mut stream).await {
            Delivery::Events(frames) => positions.extend(frames.iter().map(|f| f.position.0)),
            other => panic!("{other:?}"),
        }
        let bound = 2.0 + start.elapsed().as_secs_f64() * 2.0;
        assert!(positions.len() as f64 <= bound + 1e-3);
    }
    assert_eq!(positions, (1..=10).collect::<Vec<_>>());
    assert_eq!(start.elapsed().as_secs(), 4);
    assert!(is_idle(&mut stream));
}

#[tokio::test(start_paused = true)]
async fn the_lower_of_two_bounds_holds() {
    for (of_all, of_one) in [
        (Some(1.0), Some(5.0)),
        (Some(5.0), Some(1.0)),
        (Some(1.0), None),
    ] {
        let config = HubConfig {
            max_rate: of_all.and_then(Rate::per_second),
            ..HubConfig::default()
        };
        let (hub, _) = hub(config).await;
        let max_rate = of_one.and_then(Rate::per_second);
        let mut stream = open(
            &hub,
            Subscribe {
                max_rate,
                ..Subscribe::default()
            },
        )
        .await;
        let start = Instant::now();
        publish_all(&hub, &["n"; 4]).await;
        for _ in 0..4 {
            assert!(matches!(next(&mut stream).await, Delivery::Events(_)));
        }
        assert_eq!(start.elapsed().as_secs(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn progress_gives_way_to_newer_reports_above_the_rate_only() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut all = open(&hub, Subscribe::default()).await;
    let mut held = open(&hub, at_rate(2.0)).await;
    let mut fast = open(&hub, at_rate(1_000.0)).await;
    for step in 1..=99 {
        let name = json!({"task_name": "Import", "step": step, "total_steps": 100});
        report(&hub, "t", name).await;
    }
    report(&hub, "t", json!({"step": 100, "state": "running"})).await;
    report(&hub, "t", json!({"state": "completed"})).await;
    let everything: Vec<_> = (1..=101).collect();
    assert_eq!(drain(&mut all).await, (everything.clone(), 0));
    assert_eq!(drain(&mut fast).await, (everything, 0));
    let (positions, conflated) = drain(&mut held).await;
    // What the bucket holds goes out at once; then all but the last step and the
    // end give way.
    assert_eq!(positions, [1, 2, 100, 101]);
    assert_eq!(conflated, 97);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_held_is_told_now_and_then_what_it_is_not_given() {
    let (hub, _) = hub(HubConfig::default()).await;
    let mut held = open(&hub, at_rate(1.0)).await;
    let cpu = || draft("n", json!({"collapse_key": "cpu"}));
    let mut told = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        for _ in 0..5 {
            hub.publish_one(cpu()).await.unwrap();
        }
        let tick = Duration::from_millis(500);
        while let Ok(delivery) = tokio::time::timeout(tick, held.next()).await {
            if let Delivery::Conflated(count) = delivery {
                told.push((start.elapsed(), count));
            }
        }
    }
    let (_, rest) = drain(&mut held).await;
    let conflated: u64 = told.iter().map(|(_, count)| count).sum();
    assert_eq!(hub.connection_list()[0].conflated, conflated + rest);
    assert!(told.len() >= 5, "{told:?}");
}
