use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use notification_event::schema::{all_of, described, object, reference};
use notification_event::{ClientId, Cursor, EventId, Fields, Invalid};
use notification_hub::{Acknowledge, Caller, Receipt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::body::read_json;
use crate::http::Http;
use crate::json::json as answer;
use crate::media_type::only_json;
use crate::operation::Operation;
use crate::path::PathNames;
use crate::problem::Problem;
use crate::query::NoQuery;

/// The most events that the hub takes at once.
const MAX_EVENTS: usize = 1_000;

/// `GET /v1/events/{event_id}/receipts`: who has got, and who has acknowledged,
/// an event.
pub(crate) async fn receipts(
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<Response, Problem> {
    let event: EventId = path.one("event_id")?;
    let Some(found) = caller.receipts(event.clone()).await? else {
        return Err(Problem::not_found(format!(
            "no event {event} is in the log"
        )));
    };
    let receipts: Vec<_> = found.receipts.iter().map(receipt).collect();
    let mut shown = json!({
        "event_id": event, "require_ack": found.require_ack, "receipts": receipts,
    });
    if let Some(principal) = &found.published_by {
        shown["published_by"] = (&**principal).into();
    }
    Ok(answer(&shown))
}

fn receipt(receipt: &Receipt) -> Value {
    json!({
        "client_id": receipt.client,
        "delivered_at": receipt.delivered_at,
        "acknowledged_at": receipt.acknowledged_at,
    })
}

pub(crate) fn describe_receipts() -> Operation {
    let or_not_yet = json!({"oneOf": [reference("Timestamp"), {"type": "null"}]});
    let receipt = all_of(json!({
        "client_id": reference("ClientId"),
        "delivered_at": or_not_yet,
        "acknowledged_at": or_not_yet,
    }));
    let receipts = json!({
        "event_id": reference("EventId"),
        "require_ack": {"description": "Whether receipts are kept of it", "type": "boolean"},
        "receipts": {"type": "array", "items": receipt},
        "published_by": {"description": "The principal that published it", "type": "string"},
    });
    let receipts = object(receipts, &["event_id", "require_ack", "receipts"]);
    Operation::new(
        "getReceipts",
        "Who has got, and who has acknowledged, an event",
    )
    .name("event_id", "EventId")
    .answers(StatusCode::OK, "In order of the clients' names", receipts)
    .refuses(&[404, 422, 503])
}

/// The answer to acknowledging.
#[derive(Serialize)]
struct Acknowledged {
    receipts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
}

/// `POST /v1/clients/{client_id}/acks`: notes what a client acknowledges.
pub(crate) async fn acknowledge(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let client: ClientId = path.one("client_id")?;
    only_json(&headers)?;
    let what =
        parse(read_json(body, http.config.body_timeout).await?).map_err(Problem::unprocessable)?;
    let acknowledged = caller.acknowledge(&client, what).await?;
    Ok(answer(&Acknowledged {
        receipts: acknowledged.receipts,
        cursor: acknowledged.cursor,
    }))
}

pub(crate) fn describe_acknowledge() -> Operation {
    let events = json!({
        "type": "array", "items": reference("EventId"), "minItems": 1, "maxItems": MAX_EVENTS,
    });
    let cursor = described(reference("Cursor"), "Everything up to and including this");
    let mut either = object(json!({"event_ids": events, "cursor": cursor}), &[]);
    either["minProperties"] = 1.into();
    either["maxProperties"] = 1.into();
    let acknowledged = json!({
        "receipts": {
            "description": "How many events that ask for it were acknowledged for the first time",
            "type": "integer", "minimum": 0,
        },
        "cursor": described(reference("Cursor"), "Where a durable client now is"),
    });
    Operation::new("acknowledge", "Acknowledges events, all of them or none")
        .name("client_id", "ClientId")
        .body("application/json", either)
        .answers(
            StatusCode::OK,
            "It is noted",
            object(acknowledged, &["receipts"]),
        )
        .refuses(&[415, 422, 503])
}

/// Reads `{"event_ids": […]}` or `{"cursor": "…"}`.
fn parse(value: Value) -> Result<Acknowledge, Invalid> {
    let Value::Object(object) = value else {
        return Err(Invalid::value("an object"));
    };
    let given = (
        object.contains_key("event_ids"),
        object.contains_key("cursor"),
    );
    let mut fields = Fields::new(object);
    let events = fields.optional("event_ids", event_ids);
    let cursor = fields.optional("cursor", Fields::parsed);
    match given {
        (true, false) | (false, true) => {}
        (true, true) => {
            fields.refuse(Invalid::field(
                "cursor",
                "either cursor or event_ids, not both",
            ));
        }
        (false, false) => {
            let expected = "this field or cursor, one of which is required";
            fields.refuse(Invalid::field("event_ids", expected));
        }
    }
    fields.finish()?;
    Ok(match events {
        Some(events) => Acknowledge::Events(events),
        None => Acknowledge::Through(cursor.expect("one of the two was given")),
    })
}

fn event_ids(value: Value) -> Result<Vec<EventId>, Invalid> {
    let ids = value
        .as_array()
        .filter(|ids| (1..=MAX_EVENTS).contains(&ids.len()));
    let ids = ids.and_then(|ids| ids.iter().map(event_id).collect());
    ids.ok_or_else(|| Invalid::value(format!("an array of 1 to {MAX_EVENTS} event ids")))
}

fn event_id(value: &Value) -> Option<EventId> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_or_a_cursor_are_acknowledged() {
        let event = |id: &str| id.parse::<EventId>().unwrap();
        let check = |json: Value, expected: Result<Acknowledge, &str>| {
            let parsed = parse(json.clone()).map_err(|invalid| invalid.errors[0].field.clone());
            assert_eq!(parsed, expected.map_err(str::to_owned), "{json}");
        };
        let events = Acknowledge::Events(vec![event("a"), event("b")]);
        check(json!({"event_ids": ["a", "b"]}), Ok(events));
        let cursor = Acknowledge::Through("0123abcd-7".parse().unwrap());
        check(json!({"cursor": "0123abcd-7"}), Ok(cursor));
        check(json!({}), Err("event_ids"));
        check(
            json!({"event_ids": ["a"], "cursor": "0123abcd-7"}),
            Err("cursor"),
        );
        check(json!({"event_ids": ["a"], "cursor": 7}), Err("cursor"));
        check(json!({"event_ids": []}), Err("event_ids"));
        check(json!({"event_ids": ["a b"]}), Err("event_ids"));
        check(
            json!({"event_ids": vec!["a"; MAX_EVENTS + 1]}),
            Err("event_ids"),
        );
        check(json!({"cursor": "7"}), Err("cursor"));
        check(json!({"cursor": "0123abcd-7", "all": true}), Err("all"));
        check(json!([]), Err(""));
    }
}
