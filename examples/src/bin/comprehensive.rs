//! Every part at once: an event type, a log that outlives the program, a tool that
//! reports how far it is and can be cancelled, events for one, some and a group,
//! acknowledgement, and what was missed.

use std::time::Duration;

use notification_examples::{Result, address};
use notification_server::{Call, Declaration, Match, McpServer, Tool, ToolFailure, ToolResult};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Deployment {
    /// What is deployed
    service: String,
    /// On how many machines
    #[schemars(range(min = 1, max = 50))]
    machines: u32,
    /// Who wants to hear how it ends
    requested_by: String,
}

struct Deploy;

impl Tool for Deploy {
    type Arguments = Deployment;

    fn name(&self) -> &str {
        "deploy"
    }

    fn description(&self) -> &str {
        "Deploys a service, machine by machine"
    }

    async fn call(&self, it: Deployment, call: Call) -> Result<ToolResult, ToolFailure> {
        let task = format!("deploy-{}", it.service);
        let topic = format!("deployments/{}", it.service);
        let report = |step: u32, state: &str| {
            json!({
                "type": "progress", "task_id": task, "task_name": format!("Deploy {}", it.service),
                "step": step, "total_steps": it.machines, "state": state, "topic": topic,
            })
        };
        for machine in 1..=it.machines {
            tokio::select! {
                () = call.cancelled().cancelled() => {
                    call.send_data(report(machine - 1, "cancelled")).await?;
                    return Err(ToolFailure::new("it was cancelled"));
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            let state = if machine == it.machines {
                "completed"
            } else {
                "running"
            };
            call.send_data(report(machine, state)).await?;
            let message = format!("machine {machine}");
            call.progress(machine.into(), it.machines.into(), &message)
                .await;
        }
        // Programs hear of it as an event of its type, which agents can subscribe to.
        call.send_data(json!({
            "type": "event", "name": "deployment.finished",
            "data": {"service": it.service, "machines": it.machines},
        }))
        .await?;
        // Whoever asked is told, and says that it was seen; the others on call hear of it.
        let done = |message: &str| json!({"type": "notification", "notification_type": "success", "message": message, "topic": topic});
        let mut to_one = done("Your deployment is done");
        to_one["require_ack"] = true.into();
        call.send_to_client(&it.requested_by, to_one).await?;
        call.send_to_group("on-call", done("A deployment is done"))
            .await?;
        call.send_to_clients(&["auditor", "archivist"], done("A deployment is done"))
            .await?;
        let heard = call
            .message_store()
            .get_since(&it.requested_by, None)
            .await?;
        Ok(ToolResult::json(
            json!({"task_id": task, "events_for_you": heard.len()}),
        ))
    }
}

#[tokio::main]
async fn main() -> Result {
    let finished = Declaration::builder("deployment.finished")
        .description("A service was deployed on all of its machines")
        .topic("deployments")
        .payload_schema(json!({
            "type": "object", "required": ["service"],
            "properties": {"service": {"type": "string"}, "machines": {"type": "integer"}},
        }))
        .argument("service", Match::Glob)
        .build()?;
    let data = std::env::var("DATA_DIR").unwrap_or_else(|_| "comprehensive-data".to_owned());
    let server = McpServer::builder()
        .name("comprehensive-server")
        .version("1.0.0")
        .title("Deployments")
        .tool(Deploy)
        .event_type(finished)
        .data_dir(data)
        .bind_address(address()?)
        .build()?
        .start()
        .await?;
    server.publisher().join_group("on-call", "alice").await?;
    println!("Listening on {}", server.url());
    tokio::signal::ctrl_c().await?;
    Ok(server.stop().await?)
}
