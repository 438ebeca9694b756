//! The client library for Rust, against the real server.

mod common;

use std::time::Duration;

use common::server;
use notification_client::{Client, Item, RefusalKind, Stream, StreamOptions};
use serde_json::json;

/// What the README of the client shows.
#[path = "../../client/examples/receive.rs"]
#[allow(dead_code)]
mod example;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_says_works() {
    let readme = include_str!("../../client/README.md");
    let shown = include_str!("../../client/examples/receive.rs");
    assert!(readme.contains(shown.trim_end()));
    let server = server(&[]);
    let received = example::receive(&server.url("")).await;
    assert_eq!(received.unwrap(), "Backup done");
}

async fn message(stream: &mut Stream) -> String {
    loop {
        let item = stream.next().await.unwrap();
        if matches!(item, Item::Event(_)) {
            return item.text("message").to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_restarts() {
    let mut server = server(&[]);
    let client = Client::new(&server.url("")).unwrap();
    let mut stream = client.stream(StreamOptions::default());
    assert_eq!(stream.next().await.unwrap().text("status"), "connected");
    let reading = tokio::spawn(async move {
        let mut got = Vec::new();
        for _ in 0..60 {
            got.push(message(&mut stream).await);
        }
        got
    });
    for number in 0..60 {
        client.notify(number.to_string()).send().await.unwrap();
        if number == 20 {
            server.kill();
            server.restart();
        }
        if number == 40 {
            server.stop();
            server.restart();
        }
    }
    let got = tokio::time::timeout(Duration::from_secs(60), reading).await;
    let expected: Vec<_> = (0..60).map(|number: u32| number.to_string()).collect();
    assert_eq!(got.unwrap().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_publishes_acknowledges_and_reports() {
    let server = server(&[]);
    let client = Client::new(&server.url("")).unwrap();
    let options = StreamOptions {
        durable: true,
        ack: Some("manual".to_owned()),
        ..StreamOptions::default().client_id("alice").topic("ops/**")
    };
    let mut stream = client.stream(options.clone());
    assert_eq!(stream.next().await.unwrap().text("status"), "connected");
    let notify = client.notify("one").topic("ops/a").kind("warning");
    let published = notify.field("require_ack", true).send().await.unwrap();
    let id = published["event_id"].as_str().unwrap();
    assert_eq!(message(&mut stream).await, "one");
    let cursor = stream.cursor().map(str::to_owned);
    assert_eq!(cursor.as_deref(), published["cursor"].as_str());
    let acknowledged = client.acknowledge("alice", &[id]).await.unwrap();
    assert_eq!(acknowledged["receipts"], 1);

    let mut task = client.task("Import", Some(100)).with_topic("jobs");
    let id = task.id().to_owned();
    for _ in 0..100 {
        task.advance(1).await;
    }
    task.complete().await.unwrap();
    let task = server.get(&format!("/v1/tasks/{id}")).json();
    assert_eq!(
        (&task["state"], &task["step"]),
        (&json!("completed"), &json!(100))
    );

    let refused = client.publish(&json!({"type": "notification"})).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), RefusalKind::Refused);
    assert!(refused.to_string().contains("message"), "{refused}");
}
