//! Rooms in which agents and people talk. Who comes back reads what was missed.
//!
//! `curl -N "http://127.0.0.1:8005/v1/stream?topic=chat/lobby&since=1h"` listens.

use notification_examples::{Result, serve};
use notification_server::{Call, McpServer, Tool, ToolFailure, ToolResult};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Line {
    /// Which room: letters, digits, _ and -
    room: String,
    /// Who says it
    from: String,
    /// What is said
    text: String,
    /// Only this client hears it
    whisper_to: Option<String>,
}

struct Say;

impl Tool for Say {
    type Arguments = Line;

    fn name(&self) -> &str {
        "say"
    }

    fn description(&self) -> &str {
        "Says something in a room"
    }

    async fn call(&self, line: Line, call: Call) -> Result<ToolResult, ToolFailure> {
        let event = json!({
            "type": "event", "name": "chat.said", "topic": format!("chat/{}", line.room),
            "data": {"from": line.from, "text": line.text},
        });
        let said = match &line.whisper_to {
            Some(client) => call.send_to_client(client, event).await?,
            None => call.send_data(event).await?,
        };
        Ok(ToolResult::json(json!({"heard_by": said.subscribers})))
    }
}

#[derive(Deserialize, JsonSchema)]
struct Missed {
    /// Who asks
    client_id: String,
    /// The cursor of the newest that was read; all, if left out
    last_seen: Option<String>,
}

struct ReadMissed;

impl Tool for ReadMissed {
    type Arguments = Missed;

    fn name(&self) -> &str {
        "read_missed"
    }

    fn description(&self) -> &str {
        "Reads what was said in all rooms since, whispers to this client among it"
    }

    async fn call(&self, missed: Missed, call: Call) -> Result<ToolResult, ToolFailure> {
        let store = call.message_store();
        let events = store.get_since(&missed.client_id, missed.last_seen.as_deref());
        Ok(ToolResult::json(json!({"events": events.await?})))
    }
}

#[tokio::main]
async fn main() -> Result {
    let server = McpServer::builder().name("chat").tool(Say);
    serve(server.tool(ReadMissed)).await
}
