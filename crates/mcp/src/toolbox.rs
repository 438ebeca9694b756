use std::sync::Arc;

use notification_event::JsonObject;
use rmcp::model::{CallToolResult, ContentBlock, ErrorData};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::arguments::Arguments;
use crate::denied::DeniedSlot;
use crate::shorten::shorten;
use crate::tool::{Call, Tool, ToolError};

/// The tools by name, each with its input schema compiled once.
pub(crate) struct Toolbox {
    entries: Vec<Entry>,
    running: TaskTracker,
}

struct Entry {
    descriptor: rmcp::model::Tool,
    arguments: Arguments,
    tool: Arc<dyn Tool>,
}

impl Toolbox {
    /// No tools yet; calls run in `running`.
    pub(crate) fn new(running: TaskTracker) -> Self {
        Self {
            entries: Vec::new(),
            running,
        }
    }

    /// Adds a tool, in place of one of the same name.
    ///
    /// # Panics
    /// If its input schema is not a JSON Schema: that is a mistake in this program.
    #[must_use]
    pub(crate) fn with(mut self, tool: impl Tool) -> Self {
        let descriptor = tool.descriptor();
        self.entries
            .retain(|entry| entry.descriptor.name != descriptor.name);
        self.entries.push(Entry {
            arguments: Arguments::new(&descriptor.input_schema),
            descriptor,
            tool: Arc::new(tool),
        });
        self
    }

    pub(crate) fn descriptors(&self) -> Vec<rmcp::model::Tool> {
        let descriptors = self.entries.iter().map(|entry| &entry.descriptor);
        descriptors.cloned().collect()
    }

    pub(crate) fn descriptor(&self, name: &str) -> Option<&rmcp::model::Tool> {
        self.entry(name).map(|entry| &entry.descriptor)
    }

    /// Calls the tool `name`.
    ///
    /// It runs on a task of its own, so it ends even if the caller hangs up,
    /// and a panic in it becomes an answer (`rmcp` would leave the caller waiting).
    pub(crate) async fn call(
        &self,
        name: &str,
        arguments: JsonObject,
        call: Call,
        denied: &DeniedSlot,
    ) -> Result<CallToolResult, ErrorData> {
        let entry = self.entry(name).ok_or_else(|| self.unknown(name))?;
        let arguments = match entry.arguments.check(arguments) {
            Ok(arguments) => arguments,
            Err(invalid) => return Ok(failed(invalid.into())),
        };
        let tool = entry.tool.clone();
        let called = async move { tool.call(&call, arguments).await };
        match self.running.spawn(called).await {
            Ok(Ok(value)) => Ok(entry.tool.result(value)),
            Ok(Err(error)) => {
                denied.fill(error.denied());
                Ok(failed(error))
            }
            Err(error) => {
                tracing::error!(tool = name, %error, "a tool call died");
                let message = format!("{name} failed unexpectedly");
                Err(ErrorData::internal_error(message, None))
            }
        }
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.descriptor.name == name)
    }

    fn unknown(&self, name: &str) -> ErrorData {
        let known: Vec<_> = self.entries.iter().map(|e| &*e.descriptor.name).collect();
        let (name, known) = (shorten(name), known.join(", "));
        let message = format!("unknown tool `{name}`; known are {known}");
        ErrorData::invalid_params(message, None)
    }
}

/// A result that tells the model what to correct. It has no structured
/// content: clients check that against the output schema, even in errors.
fn failed(error: ToolError) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(error.to_string())])
}

/// Reads a JSON object literal as a schema.
pub(crate) fn schema(value: Value) -> Arc<JsonObject> {
    match value {
        Value::Object(schema) => Arc::new(schema),
        other => unreachable!("a schema is an object, not {other}"),
    }
}
