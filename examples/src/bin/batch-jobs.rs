//! Jobs wait in a queue and are done one after the other; who asked for one need
//! not wait for it, and everybody sees how far it is.

use std::time::Duration;

use notification_examples::{Result, address};
use notification_server::{Call, McpServer, Publisher, Tool, ToolFailure, ToolResult};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

#[derive(Deserialize, JsonSchema)]
struct Job {
    /// What people call it; jobs of one name are one job
    name: String,
    /// How many rows there are to do
    #[schemars(range(min = 1, max = 1000))]
    rows: u64,
}

struct Enqueue {
    /// Holds so many; who comes then is told to come later.
    queue: mpsc::Sender<Job>,
}

impl Tool for Enqueue {
    type Arguments = Job;

    fn name(&self) -> &str {
        "enqueue_job"
    }

    fn description(&self) -> &str {
        "Has a batch job be done, when those before it are"
    }

    async fn call(&self, job: Job, _: Call) -> Result<ToolResult, ToolFailure> {
        let task_id = job.name.clone();
        let queued = self.queue.try_send(job);
        queued.map_err(|_| ToolFailure::new("the queue is full; come later"))?;
        Ok(ToolResult::json(json!({"task_id": task_id})))
    }
}

/// Does them.
async fn work(mut queue: mpsc::Receiver<Job>, publisher: Publisher) -> Result {
    while let Some(job) = queue.recv().await {
        for row in 1..=job.rows {
            tokio::time::sleep(Duration::from_millis(5)).await;
            // Those who are slow are sent the newest step, and the last.
            publisher
                .send_data(json!({
                    "type": "progress", "task_id": job.name, "task_name": job.name,
                    "step": row, "total_steps": job.rows, "topic": "jobs",
                }))
                .await?;
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let (queue, jobs) = mpsc::channel(100);
    let server = McpServer::builder()
        .name("batch-jobs")
        .tool(Enqueue { queue })
        .bind_address(address()?)
        .build()?
        .start()
        .await?;
    println!("Listening on {}", server.url());
    let publisher = server.publisher().clone();
    tokio::select! {
        worked = work(jobs, publisher) => worked?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(server.stop().await?)
}
