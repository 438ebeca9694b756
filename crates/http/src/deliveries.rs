use axum::http::StatusCode;
use axum::response::Response;
use notification_event::EventId;
use notification_event::schema::{described, object, reference};
use notification_hub::{Caller, Fate, RecipientKind};
use serde_json::{Value, json};

use crate::json::json as answer;
use crate::operation::Operation;
use crate::path::PathNames;
use crate::problem::Problem;
use crate::query::NoQuery;

/// `GET /v1/events/{event_id}/deliveries`: who got an event, and who did not, and why.
pub(crate) async fn explain(
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<Response, Problem> {
    let event: EventId = path.one("event_id")?;
    let explained = caller.explain(event.clone()).await?;
    let unknown = || Problem::not_found(format!("no event {event} is in the log"));
    Ok(answer(&explained.ok_or_else(unknown)?.to_json()))
}

pub(crate) fn describe_explain() -> Operation {
    let counts = json!({
        "type": "object", "additionalProperties": {"type": "integer", "minimum": 1},
    });
    let explanation = json!({
        "event_id": reference("EventId"),
        "cursor": reference("Cursor"),
        "topic": {"type": "string"},
        "timestamp": reference("Timestamp"),
        "outcomes": described(counts.clone(), "How many there are of each"),
        "reasons": described(counts, "How many there are of each"),
        "recipients": {
            "type": "array", "items": reference("Recipient"), "maxItems": 1000,
        },
        "omitted": described(
            json!({"type": "integer", "minimum": 0}),
            "How many recipients are counted and not named",
        ),
    });
    let all = [
        "event_id",
        "cursor",
        "topic",
        "timestamp",
        "outcomes",
        "reasons",
        "recipients",
        "omitted",
    ];
    Operation::new(
        "explainDelivery",
        "Who got an event, and who did not, and why",
    )
    .says(
        "Of the streams that are open now, of clients whose place is kept or that have \
             receipts, and of webhooks. Those who wanted the event come first.",
    )
    .name("event_id", "EventId")
    .answers(
        StatusCode::OK,
        "What became of it",
        object(explanation, &all),
    )
    .refuses(&[404, 422, 503])
}

/// What `Recipient` is.
pub(crate) fn schema() -> Value {
    let properties = json!({
        "kind": {"type": "string", "enum": RecipientKind::ALL.map(RecipientKind::as_str)},
        "id": {"description": "Of the stream, client or webhook", "type": "string"},
        "client_id": reference("ClientId"),
        "transport": {"type": "string"},
        "outcome": {"type": "string", "enum": Fate::WORDS},
        "reason": {"description": "Why it has not, or not yet, got it", "type": "string"},
        "delivered_at": described(reference("Timestamp"), "If that is known"),
        "acknowledged_at": reference("Timestamp"),
    });
    object(properties, &["kind", "id", "transport", "outcome"])
}
