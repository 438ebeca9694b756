use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use notification_access::TICKET_LIFE;
use notification_event::schema::{and, described, object, reference};
use notification_event::{ClientId, Fields, Filter, Invalid};
use notification_hub::Caller;
use serde_json::{Value, json};

use crate::body::read_json;
use crate::http::Http;
use crate::json::json as answer;
use crate::media_type::only_json;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::query::NoQuery;

/// `POST /v1/tickets`: a ticket for one stream, for who cannot send headers.
pub(crate) async fn issue(
    State(http): State<Http>,
    caller: Caller,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    only_json(&headers)?;
    let (filter, client) =
        parse(read_json(body, http.config.body_timeout).await?).map_err(Problem::unprocessable)?;
    let (text, ticket) = caller.issue_ticket(filter, client)?;
    let issued = json!({
        "ticket": text, "expires_at": ticket.expires_at, "filter": ticket.filter.to_json(),
    });
    Ok((StatusCode::CREATED, answer(&issued)).into_response())
}

pub(crate) fn describe_issue() -> Operation {
    let life = TICKET_LIFE.as_secs();
    let client = json!({"client_id": reference("ClientId")});
    let filter = and(Filter::schema()["properties"].clone(), client);
    let issued = json!({
        "ticket": {"description": "For ?ticket=", "type": "string"},
        "expires_at": reference("Timestamp"),
        "filter": described(reference("Filter"), "What is left of what was asked for"),
    });
    Operation::new(
        "issueTicket",
        "A ticket for one stream, for who cannot send headers",
    )
    .says(&format!(
        "Good once, for {life} seconds: GET /v1/stream?ticket=…"
    ))
    .body("application/json", object(filter, &[]))
    .answers(
        StatusCode::CREATED,
        "The ticket",
        object(issued, &["ticket", "expires_at", "filter"]),
    )
    .refuses(&[415, 422])
}

/// Reads a filter, and `client_id`.
fn parse(value: Value) -> Result<(Filter, Option<ClientId>), Invalid> {
    let Value::Object(object) = value else {
        return Err(Invalid::value("an object"));
    };
    let mut fields = Fields::new(object);
    let filter = Filter::read(&mut fields);
    let client = fields.optional("client_id", Fields::parsed);
    fields.finish()?;
    filter.check_size()?;
    Ok((filter, client))
}
