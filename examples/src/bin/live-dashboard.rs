//! Figures that a page draws as they change. What is slow gets the newest only.
//!
//! `curl -N "http://127.0.0.1:8005/v1/stream?topic=metrics/**&snapshot=true"`

use std::time::{Duration, Instant};

use notification_examples::{Result, address};
use notification_server::McpServer;
use serde_json::json;

#[tokio::main]
async fn main() -> Result {
    let server = McpServer::builder()
        .name("live-dashboard")
        .bind_address(address()?)
        .build()?
        .start()
        .await?;
    println!("Listening on {}", server.url());
    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = &mut interrupted => break,
        }
        let seconds = started.elapsed().as_secs_f64();
        for (name, value) in [("load", 1.0 + seconds.sin()), ("uptime", seconds)] {
            let figure = json!({
                "type": "event", "name": "metric.changed", "topic": format!("metrics/{name}"),
                "collapse_key": name, "data": {"value": value}, "expires_in": 60,
            });
            server.publisher().send_data(figure).await?;
        }
    }
    Ok(server.stop().await?)
}
