use std::time::Duration;

use async_trait::async_trait;
use notification_event::{Body, Draft, JsonObject, Progress, TaskId, TaskState, Topic};
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

const DEFAULT_SECONDS: f64 = 10.0;
const DEFAULT_STEPS: u64 = 5;

/// Publishes one progress event for each step of a task that does nothing else.
pub(crate) struct SimulateProgress {
    stop: CancellationToken,
}

impl SimulateProgress {
    /// Tasks end early once `stop` is cancelled, or the call.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self { stop }
    }

    /// Returns how the task ended.
    async fn run(&self, call: &Call, task: &Task) -> Result<TaskState, ToolError> {
        let topic = Topic::default();
        let own = call.caller.begin_own_task(task.id.clone(), &topic).await;
        let own = own.map_err(ToolError::Publish)?;
        // Nobody waits for a task that was handed over.
        let mut given_up = &call.cancelled;
        let nobody = CancellationToken::new();
        if call.handover.is_wanted() {
            self.publish(call, task, 0, task.started()).await?;
            call.handover.give(task.id.clone());
            given_up = &nobody;
        }
        let started = Instant::now();
        let mut step = 0;
        loop {
            let progress = tokio::select! {
                () = self.stop.cancelled() => {
                    task.cancelled_after(step, "the server is shutting down")
                }
                () = own.cancelled.cancelled() => task.cancelled_after(step, "it was cancelled"),
                () = given_up.cancelled() => {
                    task.cancelled_after(step, "whoever called gave it up")
                }
                () = sleep_until(started + task.until(step + 1)) => task.at(step + 1),
            };
            let (state, message) = (progress.state, progress.message.clone());
            self.publish(call, task, step, progress).await?;
            if state != TaskState::Cancelled {
                step += 1;
                call.progress.report(step, task.total_steps, message).await;
            }
            if state != TaskState::Running {
                return Ok(state);
            }
        }
    }

    /// Publishes how far a task is that was after `step` before.
    async fn publish(
        &self,
        call: &Call,
        task: &Task,
        step: u64,
        progress: Progress,
    ) -> Result<(), ToolError> {
        let draft = Draft::from(Body::Progress(progress));
        let published = call.caller.publish_one(draft).await;
        published.map(drop).map_err(|reason| ToolError::Task {
            step,
            total_steps: task.total_steps,
            reason,
        })
    }
}

#[async_trait]
impl Tool for SimulateProgress {
    fn descriptor(&self) -> rmcp::model::Tool {
        let input = json!({
            "type": "object",
            "properties": {
                "task_name": {
                    "type": "string", "minLength": 1, "maxLength": Progress::MAX_TASK_NAME,
                    "description": "What people who watch will see the task called"
                },
                "duration_seconds": {
                    "type": "number", "minimum": 1, "maximum": 60, "default": DEFAULT_SECONDS as u64,
                    "description": "How long the task takes in all, in seconds"
                },
                "step_count": {
                    "type": "integer", "minimum": 1, "maximum": 20, "default": DEFAULT_STEPS,
                    "description": "In how many steps it reports its progress"
                }
            },
            "required": ["task_name"],
            "additionalProperties": false
        });
        let ends = [TaskState::Completed, TaskState::Cancelled].map(TaskState::as_str);
        let output = json!({
            "type": "object",
            "properties": {
                "task_id": {
                    "type": "string", "format": "uuid",
                    "description": "What identifies the task in its progress events"
                },
                "task_name": {
                    "type": "string",
                    "description": "The name that was given"
                },
                "total_steps": {
                    "type": "integer", "minimum": 1,
                    "description": "How many steps it had"
                },
                "status": {
                    "type": "string", "enum": ends,
                    "description": "How it ended: cancelled means that it was cancelled, the server \
                                    shut down, or the call given up"
                }
            },
            "required": ["task_id", "task_name", "total_steps", "status"],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "simulate_progress",
            "Simulates a long-running task: publishes one progress event for each step, evenly \
             over its duration, to everyone who is connected. Answers when the task has ended, so \
             the call takes as long as duration_seconds says. Use it to try out or to show \
             real-time progress.",
            schema(input),
        )
        .with_title("Simulate progress")
        .with_raw_output_schema(schema(output))
        .with_annotations(
            ToolAnnotations::new()
                .read_only(false)
                .destructive(false)
                .idempotent(false)
                .open_world(false),
        )
    }

    async fn call(&self, call: &Call, arguments: JsonObject) -> Result<Value, ToolError> {
        let task = Task::new(&arguments);
        let status = self.run(call, &task).await?;
        Ok(json!({
            "task_id": task.id,
            "task_name": task.name,
            "total_steps": task.total_steps,
            "status": status.as_str(),
        }))
    }
}

struct Task {
    id: TaskId,
    name: String,
    duration: Duration,
    total_steps: u64,
}

impl Task {
    fn new(arguments: &JsonObject) -> Self {
        let name = arguments.get("task_name").and_then(Value::as_str);
        let seconds = arguments.get("duration_seconds").and_then(Value::as_f64);
        let steps = arguments.get("step_count").and_then(Value::as_u64);
        Self {
            id: TaskId::generate(),
            name: name.unwrap_or_default().to_owned(),
            duration: Duration::from_secs_f64(seconds.unwrap_or(DEFAULT_SECONDS)),
            total_steps: steps.unwrap_or(DEFAULT_STEPS),
        }
    }

    /// How long after the start `step` is done.
    fn until(&self, step: u64) -> Duration {
        self.duration.mul_f64(step as f64 / self.total_steps as f64)
    }

    fn at(&self, step: u64) -> Progress {
        Progress::step(self.id.clone(), self.name.clone(), step, self.total_steps)
    }

    fn started(&self) -> Progress {
        Progress {
            message: format!("Started, {} steps to go", self.total_steps),
            ..self.at(0)
        }
    }

    fn cancelled_after(&self, step: u64, why: &str) -> Progress {
        let total = self.total_steps;
        Progress {
            message: format!("Cancelled after step {step} of {total}: {why}"),
            state: TaskState::Cancelled,
            ..self.at(step)
        }
    }
}
