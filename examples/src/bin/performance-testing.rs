//! How fast it is here: publishes to many who listen in the same program, and says
//! how long that took. `notification-server bench` does so over the network.

use std::time::{Duration, Instant};

use notification_examples::Result;
use notification_server::{Delivery, McpServer, Subscribe};
use serde_json::json;

fn number(name: &str, default: usize) -> Result<usize> {
    match std::env::var(name) {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(default),
    }
}

#[tokio::main]
async fn main() -> Result {
    let (events, listeners) = (number("EVENTS", 2_000)?, number("LISTENERS", 100)?);
    let server = McpServer::builder()
        .name("performance-testing")
        .bind_address("127.0.0.1:0".parse()?)
        .build()?
        .start()
        .await?;
    let mut listening = Vec::new();
    for _ in 0..listeners {
        let mut subscription = server.hub().subscribe(Subscribe::default()).await?;
        listening.push(tokio::spawn(async move {
            let mut heard = 0;
            while heard < events {
                if let Delivery::Events(frames) = subscription.next().await {
                    heard += frames.len();
                }
            }
            heard
        }));
    }
    let started = Instant::now();
    let publisher = server.publisher();
    for number in 0..events {
        let event = json!({"type": "event", "name": "tick", "data": {"number": number}});
        publisher.send_data(event).await?;
    }
    let published = started.elapsed();
    let mut heard = 0;
    for listener in listening {
        heard += tokio::time::timeout(Duration::from_secs(60), listener).await??;
    }
    let all = started.elapsed();
    println!(
        "{events} events to {listeners} listeners: published in {published:?}, {heard} deliveries in {all:?}, {:.0}/s",
        heard as f64 / all.as_secs_f64()
    );
    Ok(server.stop().await?)
}
