//! Jobs that report their progress.

use std::sync::Arc;
use std::time::Duration;

use notification_event::{Report, TaskId, TaskState};
use notification_hub::{
    Delivery, Hub, HubConfig, PublishError, Published, Subscribe, Subscription, TaskFilter,
};
use notification_log::MemoryLog;
use serde_json::{Value, json};

use crate::harness::{hub, id, life, open, soon};

async fn report(hub: &Hub, task: &str, report: Value) -> Result<Published, PublishError> {
    hub.report(id::<TaskId>(task), Report::parse(report).unwrap())
        .await
}

fn state(hub: &Hub, task: &str) -> Option<TaskState> {
    let status = hub.task(&id(task), None);
    status.map(|status| status.task.progress.state)
}

/// The states of the reports that come next.
async fn states(stream: &mut Subscription) -> Vec<String> {
    let mut states = Vec::new();
    while let Some(delivery) = soon(stream).await {
        match delivery {
            Delivery::Events(frames) => states.extend(frames.iter().map(|frame| {
                let json: Value = serde_json::from_slice(frame.json()).unwrap();
                json["state"].as_str().unwrap().to_owned()
            })),
            other => panic!("{other:?}"),
        }
    }
    states
}

/// The field because of which it was refused.
fn refused(answer: Result<Published, PublishError>) -> String {
    match answer {
        Err(PublishError::Conflict { index: 0, invalid }) => invalid.errors[0].field.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_report_says_what_has_changed() {
    let (hub, _) = hub(HubConfig::default()).await;
    let begun = json!({"task_name": "Import", "step": 1, "total_steps": 4, "topic": "jobs"});
    report(&hub, "t", begun).await.unwrap();
    let newest = report(&hub, "t", json!({"step": 2})).await.unwrap();
    let status = hub.task(&id("t"), None).unwrap();
    assert_eq!(status.task.progress.task_name, "Import");
    assert_eq!(status.task.progress.progress, Some(50.0));
    assert_eq!(status.task.topic.as_str(), "jobs");
    assert_eq!(
        (status.cursor, status.event_id),
        (newest.cursor, newest.event_id)
    );
    assert!(status.task.progress.started_at <= Some(status.updated_at));
    assert_eq!(hub.task(&id("other"), None), None);
}

#[tokio::test]
async fn a_task_goes_forward_until_it_ends() {
    let (hub, _) = hub(HubConfig::default()).await;
    let begun = json!({"task_name": "T", "step": 5, "total_steps": 10});
    report(&hub, "t", begun).await.unwrap();
    assert_eq!(refused(report(&hub, "t", json!({"step": 4})).await), "step");
    assert_eq!(
        refused(report(&hub, "t", json!({"progress": 49})).await),
        "progress"
    );
    assert_eq!(
        refused(report(&hub, "t", json!({"step": 6, "topic": "b"})).await),
        "topic"
    );
    report(&hub, "t", json!({"step": 10})).await.unwrap();
    assert_eq!(state(&hub, "t"), Some(TaskState::Completed));
    for late in [json!({"step": 10}), json!({"state": "failed"})] {
        assert_eq!(refused(report(&hub, "t", late).await), "task_id");
    }
    assert_eq!(hub.log_bounds().events(), 2);
}

/// Of two that report at once, neither overtakes the other.
#[tokio::test]
async fn reports_that_share_a_commit_go_forward_too() {
    let (hub, _) = hub(HubConfig::default()).await;
    let step = |step: u64| json!({"task_name": "T", "step": step, "total_steps": 10});
    let (third, second) = tokio::join!(report(&hub, "t", step(3)), report(&hub, "t", step(2)));
    assert!(third.is_ok());
    assert_eq!(refused(second), "step");
    let (end, late) = tokio::join!(report(&hub, "t", step(10)), report(&hub, "t", step(10)));
    assert!(end.is_ok());
    assert_eq!(refused(late), "task_id");
    assert_eq!(state(&hub, "t"), Some(TaskState::Completed));
}

#[tokio::test]
async fn tasks_are_found_by_topic_and_state_the_newest_first() {
    let (hub, _) = hub(HubConfig::default()).await;
    for (task, topic, state) in [
        ("a", "jobs/x", "running"),
        ("b", "jobs/y", "failed"),
        ("c", "other", "running"),
    ] {
        let begun = json!({"task_name": "T", "topic": topic, "state": state});
        report(&hub, task, begun).await.unwrap();
    }
    report(&hub, "a", json!({"message": "Still at it"}))
        .await
        .unwrap();
    let check = |wanted: TaskFilter, expected: &[&str]| {
        let ids = |limit: usize| -> (Vec<String>, bool) {
            let (found, has_more) = hub.tasks(&wanted, limit);
            let ids = found.iter().map(|status| status.id().to_string());
            (ids.collect(), has_more)
        };
        let (all, has_more) = ids(10);
        assert!(all == expected && !has_more, "{all:?}");
        assert_eq!(ids(1), (vec![expected[0].to_owned()], expected.len() > 1));
    };
    let topics = || vec!["jobs/*".parse().unwrap()];
    check(TaskFilter::default(), &["a", "c", "b"]);
    check(
        TaskFilter {
            topics: topics(),
            ..TaskFilter::default()
        },
        &["a", "b"],
    );
    let states = vec![TaskState::Running, TaskState::Stalled];
    check(
        TaskFilter {
            states: states.clone(),
            ..TaskFilter::default()
        },
        &["a", "c"],
    );
    let both = TaskFilter {
        topics: topics(),
        states,
        client: None,
    };
    check(both, &["a"]);
}

#[tokio::test]
async fn a_task_for_an_audience_is_shown_to_it_alone() {
    let (hub, _) = hub(HubConfig::default()).await;
    hub.join_group(id("ops"), id("alice")).await.unwrap();
    let begun = json!({"task_name": "T", "audience": {"clients": ["bob"], "groups": ["ops"]}});
    report(&hub, "t", begun).await.unwrap();
    let is_shown = |client: Option<&str>| {
        let client = client.map(id);
        let wanted = TaskFilter {
            client: client.clone(),
            ..TaskFilter::default()
        };
        let (listed, _) = hub.tasks(&wanted, 10);
        let found = hub.task(&id("t"), client.as_ref());
        assert_eq!(listed.len(), usize::from(found.is_some()));
        found.is_some()
    };
    assert!(is_shown(Some("alice")) && is_shown(Some("bob")));
    assert!(!is_shown(Some("carol")) && !is_shown(None));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_report_is_stalled_until_it_does() {
    let config = HubConfig {
        task_stalled_after: Duration::ZERO,
        ..HubConfig::default()
    };
    let (hub, _) = hub(config).await;
    // The keeper looks at the start, and then each second.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut stream = open(&hub, Subscribe::default()).await;
    let begun = json!({"task_name": "T", "step": 3, "total_steps": 10});
    report(&hub, "t", begun).await.unwrap();
    report(&hub, "ended", json!({"task_name": "T", "state": "failed"}))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(state(&hub, "t"), Some(TaskState::Stalled));
    assert_eq!(states(&mut stream).await, ["running", "failed", "stalled"]);
    report(&hub, "t", json!({"step": 3})).await.unwrap();
    assert_eq!(state(&hub, "t"), Some(TaskState::Running));
    report(&hub, "t", json!({"step": 10})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(states(&mut stream).await, ["running", "completed"]);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_over_are_forgotten_after_a_while() {
    let config = HubConfig {
        task_forget_after: Duration::ZERO,
        ..HubConfig::default()
    };
    let (hub, _) = hub(config).await;
    report(
        &hub,
        "over",
        json!({"task_name": "T", "state": "cancelled"}),
    )
    .await
    .unwrap();
    report(&hub, "goes-on", json!({"task_name": "T"}))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(state(&hub, "over"), None);
    assert_eq!(state(&hub, "goes-on"), Some(TaskState::Running));
    // The id is free again.
    report(&hub, "over", json!({"task_name": "T", "topic": "b"}))
        .await
        .unwrap();
}

#[test]
fn tasks_survive_the_server() {
    let log = Arc::new(MemoryLog::new());
    let config = HubConfig::default;
    let before = life(&log, config(), async |hub| {
        let audience = json!({"task_name": "Secret", "audience": {"clients": ["alice"]}});
        report(&hub, "secret", audience).await.unwrap();
        report(&hub, "ended", json!({"task_name": "T", "state": "failed"}))
            .await
            .unwrap();
        for step in 1..=3 {
            let begun = json!({"task_name": "T", "step": step, "total_steps": 8});
            report(&hub, "t", begun).await.unwrap();
        }
        hub.task(&id("t"), None)
    });
    life(&log, config(), async |hub| {
        assert_eq!(hub.task(&id("t"), None), before);
        assert_eq!(hub.task(&id("secret"), None), None);
        assert!(hub.task(&id("secret"), Some(&id("alice"))).is_some());
        assert_eq!(refused(report(&hub, "t", json!({"step": 2})).await), "step");
        assert_eq!(
            refused(report(&hub, "ended", json!({"progress": 1})).await),
            "task_id"
        );
        report(&hub, "t", json!({"step": 4})).await.unwrap();
        let status = hub.task(&id("t"), None).unwrap();
        let started_at = before.unwrap().task.progress.started_at;
        assert_eq!(status.task.progress.started_at, started_at);
    });
}
