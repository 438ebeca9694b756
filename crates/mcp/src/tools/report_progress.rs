use async_trait::async_trait;
use notification_event::{
    ClientId, Fields, Invalid, JsonObject, Progress, Report, TaskId, TaskState, percent_json,
};
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::names::Names;
use crate::schemas;
use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

const NAMES: Names = Names(&[
    ("clients", "audience.clients"),
    ("groups", "audience.groups"),
]);

/// Publishes what a job says of itself.
pub(crate) struct ReportProgress;

#[async_trait]
impl Tool for ReportProgress {
    fn descriptor(&self) -> rmcp::model::Tool {
        let input = json!({
            "type": "object",
            "properties": {
                "task_id": schemas::identifier(
                    "What identifies the task: choose one at its first report that nothing else \
                     has, such as import-7f3a9c, and give the same in all that follow. 1 to 128 \
                     of the characters A-Z a-z 0-9 . _ : ~ -, not only dots"
                ),
                "task_name": {
                    "type": "string", "minLength": 1, "maxLength": Progress::MAX_TASK_NAME,
                    "description": "What people who watch will see the task called; required in \
                                    its first report"
                },
                "progress": {
                    "type": "number", "minimum": 0, "maximum": 100,
                    "description": "Percent done. Left out, it follows from step and total_steps"
                },
                "step": {
                    "type": "integer", "minimum": 0, "maximum": Progress::MAX_STEPS,
                    "description": "How many steps are done, at most total_steps"
                },
                "total_steps": {
                    "type": "integer", "minimum": 1, "maximum": Progress::MAX_STEPS,
                    "description": "How many steps there are; leave it out if you do not know"
                },
                "message": {
                    "type": "string", "minLength": 1, "maxLength": Progress::MAX_MESSAGE,
                    "description": "What it is doing, for people. Left out, it says how far it is"
                },
                "state": {
                    "type": "string", "enum": TaskState::REPORTED.map(TaskState::as_str),
                    "description": "Whether it goes on (running), or how it ended. Left out, it is \
                                    completed at the last step or at 100 percent, and running \
                                    before"
                },
                "topic": schemas::topic(
                    "Where its reports belong, such as jobs/imports: 1 to 8 segments of A-Z a-z \
                     0-9 . _ - separated by /. Say it in the first report; left out there, it is \
                     default"
                ),
                "clients": schemas::names(
                    "A client_id",
                    "Only these clients see the task, and the members of groups, if any are \
                     given; left out together with groups, everyone does. Say it in the first \
                     report"
                ),
                "groups": schemas::names(
                    "A group's name",
                    "Only the clients that are in one of these groups see the task, and those in \
                     clients. Say it in the first report"
                )
            },
            "required": ["task_id"],
            "additionalProperties": false
        });
        let output = json!({
            "type": "object",
            "properties": {
                "task_id": { "type": "string", "description": "The task_id that was given" },
                "state": {
                    "type": "string", "enum": TaskState::ALL.map(TaskState::as_str),
                    "description": "How the task stands now. Absent, like progress, if the task is \
                                    for groups or clients only and this call names none of those \
                                    clients first"
                },
                "progress": schemas::percent(),
                "cursor": {
                    "type": "string",
                    "description": "Where the report stands in the log"
                },
                "subscribers": {
                    "type": "integer", "minimum": 0,
                    "description": "How many open streams it went to"
                }
            },
            "required": ["task_id", "cursor", "subscribers"],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "report_progress",
            "Says how far a long-running job of yours is: publishes one progress event to \
             everyone who watches. Call it when the job begins, with a task_name; at each step, or \
             every few seconds; and once when it ends, with state completed, failed or cancelled. \
             What a report leaves out stays as it was. It cannot go backwards, and nothing follows \
             the end: a new attempt is a task with another task_id. A task that does not report \
             for minutes is shown as stalled.",
            schema(input),
        )
        .with_title("Report progress")
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
        let named = first_client(&arguments);
        let named = named.filter(|client| call.caller.principal().may_be(client).is_ok());
        let mut fields = NAMES.to_fields(arguments);
        let task_id = fields.shift_remove("task_id").unwrap_or_default();
        let task_id: TaskId = Fields::parsed(task_id).map_err(|i: Invalid| i.within("task_id"))?;
        let report = Report::parse(fields.into()).map_err(|invalid| NAMES.refused(invalid))?;
        let published = call.caller.report(task_id.clone(), report).await;
        let published = published.map_err(|error| NAMES.unpublished(error))?;
        let mut answer = json!({
            "task_id": task_id,
            "cursor": published.cursor,
            "subscribers": published.subscribers,
        });
        if let Some(status) = call.caller.hub().task(&task_id, named.as_ref()) {
            let progress = status.task.progress;
            answer["state"] = progress.state.as_str().into();
            if let Some(percent) = progress.progress {
                answer["progress"] = percent_json(percent);
            }
        }
        Ok(answer)
    }
}

/// Somebody whom the task is for: the hub shows it to nobody else.
fn first_client(arguments: &JsonObject) -> Option<ClientId> {
    let clients = arguments.get("clients")?.as_array()?;
    clients.first()?.as_str()?.parse().ok()
}
