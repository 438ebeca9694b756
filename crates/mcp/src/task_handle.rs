use std::sync::Mutex;

use notification_event::{TaskId, TaskState};
use notification_hub::{Caller, CancelTask, ReadError, TaskStatus};
use rmcp::model::{
    CreateTaskResult, DetailedTask, ErrorCode, ErrorData, JsonObject, Task, TaskPayload,
    TaskStatus as HandleStatus,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::resource::unreadable;
use crate::shorten::shorten;

/// How often it makes sense to ask how a task is, in milliseconds.
const POLL_INTERVAL_MS: u64 = 1_000;

/// Where a call that takes long says that it goes on as a task, whose handle is
/// the answer (MCP's extension `io.modelcontextprotocol/tasks`).
///
/// Who does not take handles waits for the end.
#[derive(Debug, Default)]
pub(crate) struct Handover(Mutex<Option<oneshot::Sender<TaskId>>>);

impl Handover {
    /// One to a client that takes handles.
    pub(crate) fn new() -> (Self, oneshot::Receiver<TaskId>) {
        let (handed, taken) = oneshot::channel();
        (Self(Mutex::new(Some(handed))), taken)
    }

    /// One to a client that does not.
    pub(crate) fn refused() -> (Self, oneshot::Receiver<TaskId>) {
        (Self::default(), oneshot::channel().1)
    }

    /// Whether the client takes a handle.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.lock().expect("no holder panics").is_some()
    }

    /// Hands over a task that can be asked for from now on.
    pub(crate) fn give(&self, id: TaskId) {
        let handed = self.0.lock().expect("no holder panics").take();
        if let Some(handed) = handed {
            // Whoever has hung up finds the task in the list.
            let _ = handed.send(id);
        }
    }
}

/// The answer to a call that goes on as a task.
pub(crate) async fn created(caller: &Caller, id: &TaskId) -> Result<CreateTaskResult, ErrorData> {
    let status = find(caller, id.as_str()).await?;
    Ok(CreateTaskResult::new(handle(caller, &status)))
}

/// How a task is.
pub(crate) async fn get(caller: &Caller, id: &str) -> Result<DetailedTask, ErrorData> {
    let status = find(caller, id).await?;
    let payload = match status.task.progress.state {
        TaskState::Running | TaskState::Stalled => TaskPayload::Working,
        TaskState::Cancelled => TaskPayload::Cancelled,
        TaskState::Completed => TaskPayload::Completed {
            result: result(&status),
        },
        TaskState::Failed => TaskPayload::Failed {
            error: object(json!({
                "code": ErrorCode::INTERNAL_ERROR,
                "message": status.task.progress.message,
            })),
        },
    };
    Ok(DetailedTask::new(handle(caller, &status), payload))
}

/// Has a task end. It says when it has.
pub(crate) async fn cancel(caller: &Caller, id: &str) -> Result<(), ErrorData> {
    let cancelled = match id.parse() {
        Ok(known) => caller.cancel_task(&known).await,
        Err(_) => Ok(CancelTask::Unknown),
    };
    match cancelled {
        Ok(CancelTask::Told | CancelTask::Ended) => Ok(()),
        Ok(CancelTask::NotOurs) => {
            let id = shorten(id);
            let message = format!(
                "taskId: the task {id} is reported by a program of its own, and only that can \
                 end it"
            );
            Err(ErrorData::invalid_params(message, None))
        }
        Ok(CancelTask::Unknown) => Err(unknown(id)),
        Err(error) => Err(hidden_or(error, id)),
    }
}

async fn find(caller: &Caller, id: &str) -> Result<TaskStatus, ErrorData> {
    let known = id.parse().map_err(|_| unknown(id))?;
    let task = caller.task(&known, None).await;
    let task = task.map_err(|error| hidden_or(error, id))?;
    task.ok_or_else(|| unknown(id))
}

/// What a task is for those who hold its handle, whatever its status.
fn handle(caller: &Caller, status: &TaskStatus) -> Task {
    let progress = &status.task.progress;
    let started_at = progress.started_at.unwrap_or(status.updated_at);
    let updated_at = status.updated_at;
    let task = Task::new(
        status.id().as_str(),
        HandleStatus::Working,
        started_at.to_string(),
        updated_at.to_string(),
    );
    let task = task
        .with_status_message(progress.message.clone())
        .with_poll_interval_ms(POLL_INTERVAL_MS);
    if !progress.state.is_end() {
        // However long it takes.
        return task;
    }
    let known_until = updated_at.after(caller.hub().task_forget_after());
    let ttl = known_until.as_millis() - started_at.as_millis();
    task.with_ttl_ms(ttl.try_into().unwrap_or_default())
}

/// What the call would have been answered with.
fn result(status: &TaskStatus) -> JsonObject {
    let progress = &status.task.progress;
    let mut structured = object(json!({
        "task_id": progress.task_id,
        "task_name": progress.task_name,
    }));
    if let Some(total) = progress.total_steps {
        structured.insert("total_steps".to_owned(), total.into());
    }
    structured.insert("status".to_owned(), progress.state.as_str().into());
    let text = Value::Object(structured.clone()).to_string();
    object(json!({
        "content": [{ "type": "text", "text": text }],
        "structuredContent": structured,
        "isError": false,
        "resultType": "complete",
    }))
}

/// The same for what was never there and for what is not for whoever asks.
fn unknown(id: &str) -> ErrorData {
    let message = format!(
        "taskId: no task {}: it is not there, or not yours",
        shorten(id)
    );
    ErrorData::invalid_params(message, None)
}

fn hidden_or(error: ReadError, id: &str) -> ErrorData {
    match error {
        ReadError::Refused(notification_access::Refused::Denied(_)) => unknown(id),
        error => unreadable(error),
    }
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        other => unreachable!("an object, not {other}"),
    }
}
