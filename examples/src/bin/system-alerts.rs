//! A monitor that tells those on call, and knows who has seen it.
//!
//! `curl -N "http://127.0.0.1:8005/v1/stream?client_id=alice"` is alice, who is on call.

use std::time::Duration;

use notification_examples::{Result, address};
use notification_server::McpServer;
use serde_json::json;

/// What is looked at, and how much is too much.
const LIMITS: [(&str, u64); 2] = [("disk", 90), ("memory", 95)];

/// Stands in for what a real one would measure.
fn measure(what: &str, round: u64) -> u64 {
    match what {
        "disk" => 88 + round % 5,
        _ => 60,
    }
}

#[tokio::main]
async fn main() -> Result {
    let server = McpServer::builder()
        .name("system-alerts")
        .bind_address(address()?)
        .build()?
        .start()
        .await?;
    println!("Listening on {}", server.url());
    let publisher = server.publisher();
    publisher.join_group("on-call", "alice").await?;
    let mut rounds = tokio::time::interval(Duration::from_millis(500));
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    for round in 0.. {
        tokio::select! {
            _ = rounds.tick() => {}
            _ = &mut interrupted => break,
        }
        for (what, limit) in LIMITS {
            let percent = measure(what, round);
            if percent <= limit {
                continue;
            }
            let alert = json!({
                "type": "notification", "notification_type": "error", "priority": 5,
                "topic": format!("alerts/{what}"), "message": format!("{what} is {percent} % full"),
                "require_ack": true,
                // Of those that nobody has read yet only the newest matters.
                "collapse_key": what,
            });
            publisher.send_to_group("on-call", alert).await?;
        }
    }
    Ok(server.stop().await?)
}
