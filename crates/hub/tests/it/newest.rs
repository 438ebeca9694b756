//! The newest events of a part of the log.

use notification_event::{Draft, Filter};
use notification_hub::{Hub, HubConfig, PageRequest, Start};
use serde_json::json;

use crate::harness::{draft, hub};

fn request(topic: &str, start: Start, limit: usize) -> PageRequest {
    PageRequest {
        filter: Filter {
            topics: vec![topic.parse().unwrap()],
            ..Filter::default()
        },
        client: None,
        start,
        limit,
    }
}

async fn positions(hub: &Hub, wanted: PageRequest) -> (Vec<u64>, bool) {
    let newest = hub.newest(wanted, None).await.unwrap();
    let frames = newest.frames.iter();
    (
        frames.map(|f| f.position.0).collect(),
        newest.older.is_some(),
    )
}

#[tokio::test]
async fn they_are_the_last_of_what_a_page_has() {
    // Most of it has left memory, and blocks of it meet everywhere.
    for tail_events in [8, 700, 8_192] {
        let config = HubConfig {
            tail_events,
            ..HubConfig::default()
        };
        let (hub, _) = hub(config).await;
        let drafts = |from: u64| (from..from + 700).map(one);
        hub.publish(drafts(1).collect()).await.unwrap();
        hub.publish(drafts(701).collect()).await.unwrap();
        let all = hub.page(request("t/0", Start::Beginning, 10_000)).await;
        let all: Vec<_> = all.unwrap().frames.iter().map(|f| f.position.0).collect();
        assert_eq!(all.len(), 200);
        for limit in [1, 2, 73, 74, 75, 199, 200, 201] {
            let from = all.len().saturating_sub(limit);
            let expected = (all[from..].to_vec(), from > 0);
            let got = positions(&hub, request("t/0", Start::Beginning, limit)).await;
            assert_eq!(got, expected, "{tail_events} {limit}");
        }
        let cursor = hub.newest(request("t/0", Start::Beginning, 1), None).await;
        let cursor = cursor.unwrap().cursor;
        assert_eq!(cursor.position.0, 1_400);
        let after = request("t/0", Start::After(cursor), 5);
        assert_eq!(positions(&hub, after).await, (Vec::new(), false));
        let late = Start::After(notification_event::Cursor {
            position: notification_event::Position(1_380),
            ..cursor
        });
        let expected: Vec<_> = all.iter().copied().filter(|p| *p > 1_380).collect();
        let got = positions(&hub, request("t/0", late, 50)).await;
        assert_eq!(got, (expected, false));
        let nowhere = positions(&hub, request("nowhere", Start::Beginning, 5)).await;
        assert_eq!(nowhere, (Vec::new(), false));
    }
}

#[tokio::test]
async fn how_much_is_looked_at_and_given_is_bounded() {
    let (hub, _) = hub(HubConfig::default()).await;
    hub.publish_one(draft("first", json!({"topic": "rare"})))
        .await
        .unwrap();
    for from in (0..10_500).step_by(700) {
        hub.publish((from..from + 700).map(one).collect())
            .await
            .unwrap();
    }
    // It may be that there are older ones, and here there is one.
    let rare = positions(&hub, request("rare", Start::Beginning, 5)).await;
    assert_eq!(rare, (Vec::new(), true));

    let large = json!({"topic": "large", "data": {"k": "x".repeat(60_000)}});
    for _ in 0..30 {
        hub.publish_one(draft("large", large.clone()))
            .await
            .unwrap();
    }
    let newest = hub
        .newest(request("large", Start::Beginning, 100), None)
        .await;
    let newest = newest.unwrap();
    assert!(newest.older.is_some());
    assert!((15..18).contains(&newest.frames.len()));
    assert_eq!(
        newest.frames.last().unwrap().position,
        newest.cursor.position
    );
}

/// Every seventh is on `t/0`.
fn one(number: u64) -> Draft {
    draft("n", json!({"topic": format!("t/{}", number % 7)}))
}
