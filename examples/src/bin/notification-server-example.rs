//! Three tools of one's own: progress, a notification to everyone, and who listens.
//! They stand in for those that the server brings along.

use std::time::Duration;

use notification_examples::{Result, serve};
use notification_server::{Call, McpServer, Tool, ToolFailure, ToolResult};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize, JsonSchema)]
struct Simulation {
    /// Name of the task to simulate
    task_name: String,
    /// Duration of the task in seconds
    #[serde(default = "ten")]
    #[schemars(range(min = 1.0, max = 60.0))]
    duration_seconds: f64,
    /// Number of progress steps
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 20))]
    step_count: u32,
}

fn ten() -> f64 {
    10.0
}

fn five() -> u32 {
    5
}

struct ProgressTool;

impl Tool for ProgressTool {
    type Arguments = Simulation;

    fn name(&self) -> &str {
        "simulate_progress"
    }

    fn description(&self) -> &str {
        "Simulates a long-running operation, and reports each step"
    }

    async fn call(&self, it: Simulation, call: Call) -> Result<ToolResult, ToolFailure> {
        let task_id = format!("simulation-{}", std::process::id());
        let step_duration = Duration::from_secs_f64(it.duration_seconds / f64::from(it.step_count));
        for step in 1..=it.step_count {
            tokio::time::sleep(step_duration).await;
            let progress = f64::from(step) / f64::from(it.step_count) * 100.0;
            let message = format!("Completed step {step} of {}", it.step_count);
            call.send_data(json!({
                "type": "progress",
                "task_id": task_id,
                "task_name": it.task_name,
                "progress": progress,
                "step": step,
                "total_steps": it.step_count,
                "message": message,
            }))
            .await?;
            // Whoever calls may want to hear it, too.
            call.progress(step.into(), it.step_count.into(), &message)
                .await;
        }
        Ok(ToolResult::text("Progress sent"))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Info,
    Warning,
    Error,
    Success,
}

#[derive(Deserialize, JsonSchema)]
struct Notification {
    /// Message to broadcast
    message: String,
    /// Notification type
    #[serde(rename = "type")]
    kind: Kind,
    /// Additional data to include
    data: Option<Map<String, Value>>,
}

struct NotificationTool;

impl Tool for NotificationTool {
    type Arguments = Notification;

    fn name(&self) -> &str {
        "send_notification"
    }

    fn description(&self) -> &str {
        "Sends a notification to everyone who is connected"
    }

    async fn call(&self, it: Notification, call: Call) -> Result<ToolResult, ToolFailure> {
        let kind = match it.kind {
            Kind::Info => "info",
            Kind::Warning => "warning",
            Kind::Error => "error",
            Kind::Success => "success",
        };
        let mut event = json!({
            "type": "notification", "message": it.message, "notification_type": kind,
        });
        if let Some(data) = it.data {
            event["data"] = data.into();
        }
        let published = call.send_data(event).await?;
        let text = format!("Sent to {} connections", published.subscribers);
        Ok(ToolResult::text(text))
    }
}

struct ConnectionStatusTool;

impl Tool for ConnectionStatusTool {
    type Arguments = ();

    fn name(&self) -> &str {
        "connection_status"
    }

    fn description(&self) -> &str {
        "Says how many are connected"
    }

    async fn call(&self, (): (), call: Call) -> Result<ToolResult, ToolFailure> {
        let connections = call.hub().connections();
        Ok(ToolResult::json(
            json!({"sse_enabled": true, "active_connections": connections}),
        ))
    }
}

#[tokio::main]
async fn main() -> Result {
    let server = McpServer::builder()
        .name("notification-server")
        .version("1.0.0")
        .title("Real-time Notification Server")
        .tool(ProgressTool)
        .tool(NotificationTool)
        .tool(ConnectionStatusTool)
        .sse(true);
    serve(server).await
}
