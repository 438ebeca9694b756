use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use notification_event::schema::{object, reference};
use notification_event::{Pattern, Progress, Report, TaskId};
use notification_hub::{Caller, CancelTask, TaskFilter};
use serde_json::{Value, json};
use std::str::FromStr;

use crate::body::read_json;
use crate::events::narrowed_to;
use crate::http::Http;
use crate::json::json as answer;
use crate::media_type::only_json;
use crate::operation::Operation;
use crate::path::PathNames;
use crate::problem::Problem;
use crate::publish::Answer;
use crate::query::{MAX_LIMIT, NoQuery, Query, client, describe_client, describe_limit, limit};

/// `PUT /v1/tasks/{task_id}`: what a job says of itself, as [`Report::parse`]
/// reads it. 201 if it is the first it says.
pub(crate) async fn report(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let task: TaskId = path.one("task_id")?;
    only_json(&headers)?;
    let report = Report::parse(read_json(body, http.config.body_timeout).await?)
        .map_err(Problem::unprocessable)?;
    let status = match caller.hub().knows_task(&task) {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    let published = caller.report(task, report).await?;
    Ok((status, answer(&Answer::from(published))).into_response())
}

pub(crate) fn describe_report() -> Operation {
    let published = || reference("Published");
    Operation::new("reportTask", "Publishes what a job says of itself")
        .says(
            "What is not said stays as it was. The first report needs a task_name. Progress never \
             goes backwards, and ends with the task.",
        )
        .name("task_id", "TaskId")
        .body("application/json", reference("Report"))
        .answers(StatusCode::OK, "Committed", published())
        .answers(
            StatusCode::CREATED,
            "Committed, the first report of the task",
            published(),
        )
        .refuses(&[409, 415, 422, 503])
}

/// `POST /v1/tasks/{task_id}/cancel`: has a task end that the server runs itself.
/// It says when it has.
pub(crate) async fn cancel(
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<Response, Problem> {
    let task: TaskId = path.one("task_id")?;
    let conflict = |why: &str| {
        let detail = format!("the task {task} {why}");
        Err(Problem::new(StatusCode::CONFLICT, detail))
    };
    match caller.cancel_task(&task).await? {
        CancelTask::Told => {
            Ok((StatusCode::ACCEPTED, answer(&json!({"task_id": task}))).into_response())
        }
        CancelTask::Ended => conflict("has ended"),
        CancelTask::NotOurs => {
            conflict("is reported by a program of its own, and only that can end it")
        }
        CancelTask::Unknown => Err(Problem::not_found(format!("no task {task} is known"))),
    }
}

pub(crate) fn describe_cancel() -> Operation {
    let told = object(json!({"task_id": reference("TaskId")}), &["task_id"]);
    Operation::new("cancelTask", "Has a task end that the server runs itself")
        .says("What a job reports of itself only that job can end.")
        .name("task_id", "TaskId")
        .answers(
            StatusCode::ACCEPTED,
            "It was told, and says when it has",
            told,
        )
        .refuses(&[404, 409, 422])
}

/// `GET /v1/tasks`: the tasks that are wanted, the most recently updated first.
pub(crate) async fn list(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let wanted = TaskFilter {
        topics: query.all("topic", FromStr::from_str),
        states: query.all("state", FromStr::from_str),
        client: client(&mut query),
    };
    let limit = limit(&mut query);
    query.finish().map_err(Problem::bad_query)?;
    let page = caller.tasks(wanted, limit).await?;
    let mut shown = json!({"tasks": page.tasks, "has_more": page.has_more});
    if let Some(topics) = &page.narrowed {
        shown["narrowed_to"] = topics.iter().map(Pattern::as_str).collect();
    }
    Ok(answer(&shown))
}

pub(crate) fn describe_list() -> Operation {
    let tasks = json!({
        "tasks": {"type": "array", "items": reference("Task"), "maxItems": MAX_LIMIT},
        "has_more": {"description": "Whether there are more", "type": "boolean"},
        "narrowed_to": narrowed_to(),
    });
    let tasks = object(tasks, &["tasks", "has_more"]);
    let operation = Operation::new("listTasks", "The tasks that are known")
        .queries("topic", reference("Pattern"))
        .queries("state", reference("TaskState"));
    describe_limit(describe_client(operation)).answers(
        StatusCode::OK,
        "The most recently updated first",
        tasks,
    )
}

/// `GET /v1/tasks/{task_id}`: one task.
pub(crate) async fn one(
    caller: Caller,
    path: PathNames,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let client = client(&mut query);
    query.finish().map_err(Problem::bad_query)?;
    let task: TaskId = path.one("task_id")?;
    match caller.task(&task, client).await? {
        Some(status) => Ok(answer(&status)),
        None => Err(Problem::not_found(format!("no task {task} is known"))),
    }
}

pub(crate) fn describe_one() -> Operation {
    let operation = Operation::new("getTask", "A task").name("task_id", "TaskId");
    describe_client(operation)
        .answers(
            StatusCode::OK,
            "As its newest report left it",
            reference("Task"),
        )
        .refuses(&[404, 422])
}

/// Of a [`TaskStatus`](notification_hub::TaskStatus).
pub(crate) fn schema() -> Value {
    let text = json!({"type": "string"});
    let steps = |of: &str| json!({"description": of, "type": "integer", "minimum": 0, "maximum": Progress::MAX_STEPS});
    let properties = json!({
        "task_id": reference("TaskId"),
        "task_name": text,
        "state": reference("TaskState"),
        "progress": {"description": "Percent", "type": "number", "minimum": 0, "maximum": 100},
        "step": steps("How many are done"),
        "total_steps": steps("How many there are"),
        "message": text,
        "topic": reference("Topic"),
        "started_at": reference("Timestamp"),
        "updated_at": reference("Timestamp"),
        "cursor": reference("Cursor"),
        "event_id": reference("EventId"),
    });
    let required = [
        "task_id",
        "task_name",
        "state",
        "message",
        "topic",
        "updated_at",
        "cursor",
        "event_id",
    ];
    object(properties, &required)
}
