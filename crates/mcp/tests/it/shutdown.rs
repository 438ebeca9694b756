use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Server, text};

#[tokio::test(start_paused = true)]
async fn a_running_task_says_that_it_was_cancelled_and_its_caller_is_answered() {
    let server = Server::start().await;
    let arguments = json!({"task_name": "t", "duration_seconds": 10, "step_count": 10});
    let call = tokio::spawn({
        let server = server.clone();
        async move { server.call("simulate_progress", arguments).await }
    });
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let asked = Instant::now();
    server.mcp.shut_down().await;
    assert!(asked.elapsed() < Duration::from_millis(100));

    // Everything is published by now, so the hub can close.
    let events = server.events().await;
    assert_eq!(events.len(), 4);
    let last = &events[3];
    assert_eq!(last["state"], "cancelled");
    assert_eq!((&last["step"], &last["progress"]), (&json!(3), &json!(30)));
    assert_eq!(
        last["message"],
        "Cancelled after step 3 of 10: the server is shutting down"
    );
    server.hub.close().await;

    let result = call.await.unwrap();
    assert_eq!(result["structuredContent"]["status"], "cancelled");
    assert_eq!(result["structuredContent"]["total_steps"], 10);
    assert_eq!(result["isError"], false);
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_caller_has_gone_is_cancelled_too() {
    let server = Server::start().await;
    let call = server.call("simulate_progress", json!({"task_name": "t"}));
    let hung_up = tokio::time::timeout(Duration::from_secs(1), call).await;
    assert!(hung_up.is_err());
    server.mcp.shut_down().await;
    let events = server.events().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["state"], "cancelled");
    assert_eq!(
        (&events[0]["step"], &events[0]["progress"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_later_is_answered() {
    let server = Server::start().await;
    server.mcp.shut_down().await;
    let late = server
        .call("simulate_progress", json!({"task_name": "t"}))
        .await;
    assert_eq!(late["structuredContent"]["status"], "cancelled");
    server.hub.close().await;

    let published = server.hub.events_published();
    let late = server
        .call("simulate_progress", json!({"task_name": "t"}))
        .await;
    assert_eq!(
        text(&late),
        "nothing was published: the server is shutting down"
    );
    let late = server
        .call("send_notification", json!({"message": "m"}))
        .await;
    assert_eq!(
        text(&late),
        "nothing was published: the server is shutting down"
    );
    assert_eq!(server.hub.events_published(), published);
    let late = server.call("connection_status", json!({})).await;
    assert_eq!(late["isError"], false);
}

#[tokio::test]
async fn with_nothing_running_it_is_over_at_once() {
    let server = Server::start().await;
    server.mcp.shut_down().await;
    server.mcp.shut_down().await;
}
