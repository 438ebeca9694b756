//! One tool, which greets somebody and tells everyone.
//!
//! `curl -N http://127.0.0.1:8005/mcp` watches; an MCP client calls `greet`.

use notification_examples::{Result, serve};
use notification_server::{Call, McpServer, Tool, ToolFailure, ToolResult};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Greeting {
    /// Who is greeted
    name: String,
}

struct Greet;

impl Tool for Greet {
    type Arguments = Greeting;

    fn name(&self) -> &str {
        "greet"
    }

    fn description(&self) -> &str {
        "Greets somebody, and tells everyone who is connected"
    }

    async fn call(&self, greeting: Greeting, call: Call) -> Result<ToolResult, ToolFailure> {
        let message = format!("Hello, {}!", greeting.name);
        call.notify(&message).await?;
        Ok(ToolResult::text(message))
    }
}

#[tokio::main]
async fn main() -> Result {
    serve(McpServer::builder().name("minimal-server").tool(Greet)).await
}
