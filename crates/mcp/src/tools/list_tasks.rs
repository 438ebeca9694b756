use async_trait::async_trait;
use notification_event::{Fields, JsonObject, Pattern, TaskState};
use notification_hub::TaskFilter;
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::schemas;
use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 500;

/// Lists the jobs that report their progress.
pub(crate) struct ListTasks;

#[async_trait]
impl Tool for ListTasks {
    fn descriptor(&self) -> rmcp::model::Tool {
        let input = json!({
            "type": "object",
            "properties": {
                "topic": schemas::topics(
                    "Only tasks on topics of this pattern: * stands for one segment, a final ** \
                     for any rest, as in jobs/**"
                ),
                "state": {
                    "type": "string", "enum": TaskState::ALL.map(TaskState::as_str),
                    "description": "Only tasks in this state: running, stalled (has not reported \
                                    for long), completed, failed or cancelled"
                },
                "client_id": schemas::identifier(
                    "Also tasks that only some clients may see, if this is one of them"
                ),
                "limit": {
                    "type": "integer", "minimum": 1, "maximum": MAX_LIMIT,
                    "default": DEFAULT_LIMIT,
                    "description": "How many tasks at most"
                }
            },
            "additionalProperties": false
        });
        let output = json!({
            "type": "object",
            "properties": {
                "tasks": {
                    "type": "array", "items": schemas::task(), "maxItems": MAX_LIMIT,
                    "description": "The tasks, the most recently updated first"
                },
                "more": {
                    "type": "boolean",
                    "description": "Whether there are more than limit; ask for fewer by topic or \
                                    state, or raise limit"
                },
                "narrowed_to": {
                    "type": "array", "items": { "type": "string" },
                    "description": "The topics of which you may see tasks, if not all of those \
                                    you asked for"
                }
            },
            "required": ["tasks", "more"],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "list_tasks",
            "Lists the long-running jobs that report their progress, the most recently updated \
             first: how far each is, and whether it goes on, has stalled or has ended. Changes \
             nothing. Use it to see what is going on, or to find a task_id; for one task that you \
             know, use get_task. Tasks that have ended or stalled are listed for a while, by default \
             a day.",
            schema(input),
        )
        .with_title("List tasks")
        .with_raw_output_schema(schema(output))
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
    }

    async fn call(&self, call: &Call, arguments: JsonObject) -> Result<Value, ToolError> {
        let limit = arguments.get("limit").and_then(Value::as_u64);
        let limit = limit.unwrap_or(DEFAULT_LIMIT) as usize;
        let mut fields = Fields::new(arguments);
        let wanted = TaskFilter {
            topics: Vec::from_iter(fields.optional("topic", Fields::parsed)),
            states: Vec::from_iter(fields.optional("state", Fields::parsed)),
            client: fields.optional("client_id", Fields::parsed),
        };
        fields.optional("limit", Ok);
        fields.finish()?;
        let page = call.caller.tasks(wanted, limit).await?;
        let mut answer = json!({ "tasks": page.tasks, "more": page.has_more });
        if let Some(topics) = &page.narrowed {
            answer["narrowed_to"] = topics.iter().map(Pattern::as_str).collect();
        }
        Ok(answer)
    }
}
