use async_trait::async_trait;
use notification_event::{Invalid, JsonObject};
use notification_hub::{AcknowledgeError, PublishError};
use serde_json::Value;

/// Something clients can call by name.
#[async_trait]
pub(crate) trait Tool: Send + Sync + 'static {
    /// Name, texts, schemas and hints, as `tools/list` shows them.
    fn descriptor(&self) -> rmcp::model::Tool;

    /// Runs with arguments that fit the input schema. The value fits the output schema.
    async fn call(&self, arguments: JsonObject) -> Result<Value, ToolError>;
}

/// Why a tool did not do what it was asked, in words for the model that asked.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ToolError {
    /// It did not begin.
    #[error("nothing was done: {0}")]
    Arguments(#[from] Invalid),
    /// It did all it could.
    #[error("nothing was published: {0}")]
    Publish(PublishError),
    /// Likewise.
    #[error("nothing was acknowledged: {0}")]
    Acknowledge(#[from] AcknowledgeError),
    /// What was asked for is not there; says what and why.
    #[error("{0}")]
    Unknown(String),
    /// What was asked for cannot be read.
    #[error("the log could not be read: {0}")]
    Read(PublishError),
    /// It ended half-way.
    #[error("the task failed after step {step} of {total_steps}: {reason}")]
    Task {
        /// The last step that was published.
        step: u64,
        total_steps: u64,
        reason: PublishError,
    },
}
