use std::sync::Arc;

use async_trait::async_trait;
use notification_access::{Denied, Refused};
use notification_event::{Invalid, JsonObject};
use notification_hub::{AcknowledgeError, Caller, PublishError, ReadError};
use rmcp::model::CallToolResult;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use crate::task_handle::Handover;

/// Something clients can call by name.
#[async_trait]
pub(crate) trait Tool: Send + Sync + 'static {
    /// Name, texts, schemas and hints, as `tools/list` shows them.
    fn descriptor(&self) -> rmcp::model::Tool;

    /// Runs with arguments that fit the input schema. The value fits the output
    /// schema.
    async fn call(&self, call: &Call, arguments: JsonObject) -> Result<Value, ToolError>;

    /// The result that brings this value to a model.
    fn result(&self, value: Value) -> CallToolResult {
        CallToolResult::structured(value)
    }
}

/// One call of a tool, whichever lane it came by.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who calls: everything is done in their name.
    pub(crate) caller: Caller,
    /// Where they hear how far it is, if they want to.
    pub(crate) progress: Arc<Progress>,
    /// Cancelled once they no longer want the answer. A tool that takes long ends
    /// then; what is done in a moment is done.
    pub(crate) cancelled: CancellationToken,
    /// Where a tool that takes long says that it goes on as a task.
    pub(crate) handover: Handover,
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
    /// Whoever calls may not.
    #[error("nothing was done: {0}")]
    Refused(#[from] Refused),
    /// A tool of the program that embeds the server says what went wrong.
    #[error("{0}")]
    Own(String),
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

impl ToolError {
    /// The grant that was missing, if that was why.
    pub(crate) fn denied(&self) -> Option<&Denied> {
        match self {
            Self::Refused(Refused::Denied(denied))
            | Self::Publish(PublishError::Refused(Refused::Denied(denied)))
            | Self::Acknowledge(AcknowledgeError::Publish(PublishError::Refused(
                Refused::Denied(denied),
            )))
            | Self::Task {
                reason: PublishError::Refused(Refused::Denied(denied)),
                ..
            } => Some(denied),
            _ => None,
        }
    }
}

impl From<ReadError> for ToolError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(refused) => refused.into(),
            ReadError::Publish(error) => Self::Read(error),
            ReadError::Log(error) => Self::Read(error.into()),
        }
    }
}
