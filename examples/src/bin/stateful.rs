//! A counter that tools change and everyone sees: state in the server, its newest
//! value on every stream.
//!
//! `curl -N "http://127.0.0.1:8005/v1/stream?snapshot=true"` begins with what it is.

use std::sync::Mutex;

use notification_examples::{Result, serve};
use notification_server::{Call, McpServer, Tool, ToolFailure, ToolResult};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct By {
    /// How much is added; less than 0 takes away
    #[serde(default = "one")]
    by: i64,
}

fn one() -> i64 {
    1
}

#[derive(Default)]
struct Count {
    now: Mutex<i64>,
}

impl Tool for Count {
    type Arguments = By;

    fn name(&self) -> &str {
        "count"
    }

    fn description(&self) -> &str {
        "Adds to a counter, and says what it is now"
    }

    async fn call(&self, by: By, call: Call) -> Result<ToolResult, ToolFailure> {
        let now = {
            let mut now = self.now.lock().expect("nobody panics with it");
            *now = now
                .checked_add(by.by)
                .ok_or_else(|| ToolFailure::new("nothing was added: it would be too much"))?;
            *now
        };
        // A reader that is slow is sent the newest value only.
        call.send_data(json!({
            "type": "event", "name": "counter.changed", "topic": "counter",
            "collapse_key": "counter", "data": {"now": now},
        }))
        .await?;
        Ok(ToolResult::json(json!({"now": now})))
    }
}

#[tokio::main]
async fn main() -> Result {
    let server = McpServer::builder().name("stateful-server");
    serve(server.tool(Count::default())).await
}
