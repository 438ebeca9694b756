use async_trait::async_trait;
use notification_event::{Fields, JsonObject, TaskId};
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::schemas;
use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

/// Says how far one job is.
pub(crate) struct GetTask;

#[async_trait]
impl Tool for GetTask {
    fn descriptor(&self) -> rmcp::model::Tool {
        let input = json!({
            "type": "object",
            "properties": {
                "task_id": schemas::identifier("Which task: the task_id of its reports"),
                "client_id": schemas::identifier(
                    "Who asks: a task that only some clients may see is shown if this is one of \
                     them"
                )
            },
            "required": ["task_id"],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "get_task",
            "Says how far one long-running job is, and whether it goes on, has stalled or has \
             ended, from its newest report. Changes nothing. Use it to follow a task whose \
             task_id you know; list_tasks finds those you do not know.",
            schema(input),
        )
        .with_title("Get task")
        .with_raw_output_schema(schema(schemas::task()))
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
    }

    async fn call(&self, call: &Call, arguments: JsonObject) -> Result<Value, ToolError> {
        let mut fields = Fields::new(arguments);
        let task_id = fields.required("task_id", Fields::parsed);
        let client = fields.optional("client_id", Fields::parsed);
        fields.finish()?;
        let task_id: TaskId = task_id.expect("what is not there was refused");
        match call.caller.task(&task_id, client).await? {
            Some(task) => Ok(json!(task)),
            None => Err(ToolError::Unknown(format!(
                "no task {task_id} is known: it never reported, or ended long ago, or only some \
                 clients may see it and client_id is none of them"
            ))),
        }
    }
}
