use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use notification_event::JsonObject;
use notification_hub::Caller;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use crate::tool::{Call, Tool, ToolError};

/// A tool of the program that embeds the server.
#[derive(Clone)]
pub struct OwnTool {
    /// What models call it by; instead of one of the server's own of this name, if
    /// there is one.
    pub name: String,
    /// What it does, for models.
    pub description: String,
    /// A JSON Schema (2020-12) of an object: what it takes.
    pub input_schema: JsonObject,
    /// Runs it, with arguments that fit the schema. A text is shown to the model as
    /// it is, an object as structured content; an error tells it what went wrong.
    pub run: Arc<RunOwnTool>,
}

/// What an [`OwnTool`] does.
pub type RunOwnTool =
    dyn Fn(OwnCall, JsonObject) -> BoxFuture<'static, Result<Value, String>> + Send + Sync;

/// One call of an [`OwnTool`].
#[derive(Clone, Debug)]
pub struct OwnCall {
    /// Who calls: everything is done in their name.
    pub caller: Caller,
    /// Cancelled once they no longer want the answer.
    pub cancelled: CancellationToken,
    progress: Arc<Progress>,
}

impl OwnCall {
    /// Tells the caller, if they want to hear it, that `done` of `total` is done.
    pub async fn progress(&self, done: u64, total: u64, message: &str) {
        self.progress.report(done, total, message.to_owned()).await;
    }
}

#[async_trait]
impl Tool for OwnTool {
    fn descriptor(&self) -> rmcp::model::Tool {
        let schema = Arc::new(self.input_schema.clone());
        rmcp::model::Tool::new(self.name.clone(), self.description.clone(), schema)
    }

    async fn call(&self, call: &Call, arguments: JsonObject) -> Result<Value, ToolError> {
        let call = OwnCall {
            caller: call.caller.clone(),
            cancelled: call.cancelled.clone(),
            progress: call.progress.clone(),
        };
        let run = (self.run)(call, arguments);
        run.await.map_err(ToolError::Own)
    }

    fn result(&self, value: Value) -> CallToolResult {
        match value {
            Value::Object(_) => CallToolResult::structured(value),
            Value::String(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            other => CallToolResult::success(vec![ContentBlock::text(other.to_string())]),
        }
    }
}

impl fmt::Debug for OwnTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnTool").field(&self.name).finish()
    }
}
