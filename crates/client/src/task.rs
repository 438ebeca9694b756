use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Client, Error};

/// How long reports wait for others, so that a loop may call
/// [`advance`](TaskReporter::advance) as often as it likes.
const INTERVAL: Duration = Duration::from_millis(250);

/// Reports a task. It goes on until [`complete`](Self::complete),
/// [`fail`](Self::fail) or [`cancel`](Self::cancel) ends it. A report that did not
/// get through is made with the next one; the last one says if it did not.
#[derive(Debug)]
pub struct TaskReporter {
    client: Client,
    id: String,
    step: u64,
    pending: Map<String, Value>,
    reported_at: Option<Instant>,
}

impl TaskReporter {
    pub(crate) fn new(client: Client, name: String, total_steps: Option<u64>) -> Self {
        let mut pending = Map::new();
        pending.insert("task_name".to_owned(), name.into());
        if let Some(total) = total_steps {
            pending.insert("step".to_owned(), 0.into());
            pending.insert("total_steps".to_owned(), total.into());
        }
        Self {
            client,
            id: Uuid::new_v4().simple().to_string(),
            step: 0,
            pending,
            reported_at: None,
        }
    }

    /// Under an id of your own.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Published there.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<String>) -> Self {
        let topic: String = topic.into();
        self.pending.insert("topic".to_owned(), topic.into());
        self
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// So many steps more are done.
    pub async fn advance(&mut self, steps: u64) {
        self.step += steps;
        let step = self.step;
        self.update(&json!({"step": step})).await;
    }

    /// Says something else of it: `message`, `progress`, `step`, `data`.
    pub async fn update(&mut self, fields: &Value) {
        // The last step is not the end: that is said by itself, and may have a message.
        self.pending.insert("state".to_owned(), "running".into());
        for (name, value) in fields.as_object().into_iter().flatten() {
            self.pending.insert(name.clone(), value.clone());
        }
        let is_due = self.reported_at.is_none_or(|at| at.elapsed() >= INTERVAL);
        if !is_due {
            return;
        }
        self.reported_at = Some(Instant::now());
        let report = Value::Object(self.pending.clone());
        if self.client.report(&self.id, &report).await.is_ok() {
            self.pending.clear();
        }
    }

    /// It is done.
    pub async fn complete(self) -> Result<(), Error> {
        self.end("completed", None).await
    }

    /// It has failed, and why.
    pub async fn fail(self, message: &str) -> Result<(), Error> {
        self.end("failed", Some(message)).await
    }

    /// It was ended.
    pub async fn cancel(self) -> Result<(), Error> {
        self.end("cancelled", None).await
    }

    async fn end(mut self, state: &str, message: Option<&str>) -> Result<(), Error> {
        self.pending.insert("state".to_owned(), state.into());
        if let Some(message) = message {
            self.pending.insert("message".to_owned(), message.into());
        }
        let report = Value::Object(self.pending);
        self.client.report(&self.id, &report).await.map(|_| ())
    }
}
