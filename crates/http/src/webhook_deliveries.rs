use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use notification_event::schema::{described, object, reference};
use notification_event::{EventId, Fields, Invalid};
use notification_hub::Caller;
use notification_webhook::Outcome;
use serde_json::{Value, json};

use crate::body::read_json;
use crate::http::Http;
use crate::json::json as answer;
use crate::media_type::only_json;
use crate::operation::Operation;
use crate::path::PathNames;
use crate::problem::Problem;
use crate::query::NoQuery;
use crate::webhooks::WebhookId;

/// How many events are named at once.
const MAX_NAMED: usize = 1_000;

/// `GET /v1/webhooks/{webhook_id}/attempts`: the newest.
pub(crate) async fn attempts(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<Response, Problem> {
    let WebhookId(id) = path.one("webhook_id")?;
    let attempts = http.config.webhooks.attempts(&caller, &id)?;
    let attempts: Vec<_> = attempts.iter().map(|it| it.to_json()).collect();
    Ok(answer(&json!({"attempts": attempts})))
}

pub(crate) fn describe_attempts() -> Operation {
    let attempts = json!({"type": "array", "items": reference("WebhookAttempt"), "maxItems": 50});
    WebhookId::within(Operation::new("listAttempts", "Attempts to deliver"))
        .says("The newest fifty since the server was started. Nothing of what was answered.")
        .answers(
            StatusCode::OK,
            "The newest first",
            object(json!({"attempts": attempts}), &["attempts"]),
        )
        .refuses(&[404, 422])
}

/// `GET /v1/webhooks/{webhook_id}/dead-letters`: what was given up.
pub(crate) async fn dead_letters(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<Response, Problem> {
    let WebhookId(id) = path.one("webhook_id")?;
    let letters = http.config.webhooks.dead_letters(&caller, &id)?;
    let letters: Vec<_> = letters.iter().map(|it| it.to_json()).collect();
    Ok(answer(&json!({"dead_letters": letters})))
}

pub(crate) fn describe_dead_letters() -> Operation {
    let letters = json!({"type": "array", "items": reference("DeadLetter"), "maxItems": 1000});
    WebhookId::within(Operation::new(
        "listDeadLetters",
        "Events that were given up",
    ))
    .says("The newest thousand. They can be sent again as long as the log has them.")
    .answers(
        StatusCode::OK,
        "In the order in which they were given up",
        object(json!({"dead_letters": letters}), &["dead_letters"]),
    )
    .refuses(&[404, 422])
}

/// `POST /v1/webhooks/{webhook_id}/dead-letters/redeliver`: sends them again.
pub(crate) async fn redeliver(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let WebhookId(id) = path.one("webhook_id")?;
    only_json(&headers)?;
    let body = read_json(body, http.config.body_timeout).await?;
    let events = parse(body).map_err(Problem::unprocessable)?;
    let redelivered = http.config.webhooks.redeliver(&caller, &id, events);
    let (count, gone) = redelivered.await?;
    let redelivering = json!({"redelivering": count, "gone": gone});
    Ok((StatusCode::ACCEPTED, answer(&redelivering)).into_response())
}

fn parse(body: Value) -> Result<Option<Vec<EventId>>, Invalid> {
    let Value::Object(body) = body else {
        return Err(Invalid::value("an object"));
    };
    let mut fields = Fields::new(body);
    let events = fields.optional("event_ids", |value| match value {
        Value::Array(ids) if (1..=MAX_NAMED).contains(&ids.len()) => {
            let ids = ids.into_iter().map(Fields::parsed);
            ids.collect::<Result<Vec<EventId>, _>>()
        }
        _ => Err(Invalid::value(format!("an array of 1 to {MAX_NAMED} ids"))),
    });
    fields.finish()?;
    Ok(events)
}

pub(crate) fn describe_redeliver() -> Operation {
    let ids = json!({
        "type": "array", "items": reference("EventId"), "minItems": 1, "maxItems": MAX_NAMED,
    });
    let redelivering = json!({
        "redelivering": described(json!({"type": "integer", "minimum": 0}), "How many are sent again"),
        "gone": described(
            json!({"type": "array", "items": reference("EventId")}),
            "Those that retention has removed from the log",
        ),
    });
    let operation = Operation::new("redeliver", "Sends dead letters again");
    WebhookId::within(operation)
        .says("All of them, or those that are named. What is taken is a dead letter no longer.")
        .body("application/json", object(json!({"event_ids": ids}), &[]))
        .answers(
            StatusCode::ACCEPTED,
            "They are being sent",
            object(redelivering, &["redelivering", "gone"]),
        )
        .refuses(&[404, 409, 415, 422, 503])
}

fn outcome() -> Value {
    json!({"type": "string", "enum": Outcome::ALL.map(Outcome::as_str)})
}

/// What `WebhookAttempt` is.
pub(crate) fn attempt_schema() -> Value {
    let properties = json!({
        "event_id": described(
            json!({"type": "string"}),
            "The event; begins with msg_ for what is none",
        ),
        "attempt": {"type": "integer", "minimum": 1},
        "at": reference("Timestamp"),
        "duration_ms": {"type": "integer", "minimum": 0},
        "outcome": outcome(),
    });
    let all = ["event_id", "attempt", "at", "duration_ms", "outcome"];
    object(properties, &all)
}

/// What `DeadLetter` is.
pub(crate) fn dead_letter_schema() -> Value {
    let properties = json!({
        "event_id": reference("EventId"),
        "given_up_at": reference("Timestamp"),
        "attempts": {"type": "integer", "minimum": 1},
        "last_outcome": outcome(),
    });
    let all = ["event_id", "given_up_at", "attempts", "last_outcome"];
    object(properties, &all)
}
