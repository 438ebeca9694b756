use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use notification_event::schema::{described, object, reference};
use notification_event::{
    Audience, Cursor, Draft, EventId, Invalid, Notification, ParseError, Timestamp,
};
use notification_hub::{Caller, PublishError, Published};
use serde::Serialize;
use serde_json::{Value, json};

use crate::body::{read, read_json};
use crate::http::Http;
use crate::json::json as answer;
use crate::lines;
use crate::media_type::{MediaType, json_or_lines};
use crate::operation::Operation;
use crate::problem::Problem;
use crate::query::Query;

/// The answer to one event that was published.
#[derive(Serialize)]
pub(crate) struct Answer {
    event_id: EventId,
    cursor: Cursor,
    timestamp: Timestamp,
    subscribers: usize,
    clients_away: usize,
    /// Only if it had been published before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl Answer {
    /// 201 if it was published now, 200 if it had been before.
    pub(crate) fn status(&self) -> StatusCode {
        match self.duplicate {
            true => StatusCode::OK,
            false => StatusCode::CREATED,
        }
    }
}

/// JSON Schemas.
impl Answer {
    pub(crate) const REQUIRED: [&str; 5] = [
        "event_id",
        "cursor",
        "timestamp",
        "subscribers",
        "clients_away",
    ];

    pub(crate) fn schema() -> Value {
        object(Self::properties(), &Self::REQUIRED)
    }

    pub(crate) fn properties() -> Value {
        let count = |of: &str| json!({"description": of, "type": "integer", "minimum": 0});
        json!({
            "event_id": reference("EventId"),
            "cursor": reference("Cursor"),
            "timestamp": reference("Timestamp"),
            "subscribers": count("Open streams it was for"),
            "clients_away": count("Durable clients that are not connected and will get it"),
            "duplicate": {"description": "It had been published before", "const": true},
        })
    }
}

impl From<Published> for Answer {
    fn from(published: Published) -> Self {
        Self {
            event_id: published.event_id,
            cursor: published.cursor,
            timestamp: published.timestamp,
            subscribers: published.subscribers,
            clients_away: published.clients_away,
            duplicate: published.is_duplicate,
        }
    }
}

/// `POST /v1/events`: one event or an array of them, as [`Draft::parse_batch`]
/// reads it, or one on each line; the answer has the same form.
pub(crate) async fn events(
    State(http): State<Http>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Query::new(query.as_deref())
        .finish()
        .map_err(Problem::bad_query)?;
    match json_or_lines(&headers)? {
        MediaType::Json => {}
        MediaType::Lines => return Ok(lines::publish(caller, body, http.config.body_timeout)),
    }
    let value = read_json(body, http.config.body_timeout).await?;
    let is_array = value.is_array();
    let drafts = Draft::parse_batch(value).map_err(Problem::unprocessable)?;
    let published = caller.publish(drafts).await;
    let published = published.map_err(|error| problem(error, is_array))?;
    let mut answers: Vec<_> = published.into_iter().map(Answer::from).collect();
    let status = match answers.iter().all(|answer| answer.duplicate) {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    let body = match is_array {
        true => answer(&answers),
        false => answer(&answers.pop()),
    };
    Ok((status, body).into_response())
}

pub(crate) fn describe_events() -> Operation {
    let one_or_more = |of: &str, max: usize| {
        let array =
            json!({"type": "array", "items": reference(of), "minItems": 1, "maxItems": max});
        json!({"oneOf": [reference(of), array]})
    };
    let published = || one_or_more("Published", Draft::MAX_BATCH);
    Operation::new(
        "publishEvents",
        "Publishes one event, or an array of them: all or none",
    )
    .says(
        "Or one on each line of application/x-ndjson: each is read, committed and answered by \
             itself, on a line of its own.",
    )
    .body("application/json", one_or_more("Draft", Draft::MAX_BATCH))
    .body(lines::MEDIA_TYPE, lines::schema())
    .answers(StatusCode::CREATED, "Committed", published())
    .answers(
        StatusCode::OK,
        "All of it had been published before; or lines",
        published(),
    )
    .answers_in(
        lines::MEDIA_TYPE,
        StatusCode::OK,
        "All of it had been published before; or lines",
        lines::answer_schema(),
    )
    .refuses(&[409, 415, 422, 503])
}

/// Names the event of an array that is to blame.
fn problem(error: PublishError, is_array: bool) -> Problem {
    let within = |index: usize, invalid: Invalid| match is_array {
        true => invalid.within(&format!("[{index}]")),
        false => invalid,
    };
    match error {
        PublishError::Invalid { index, invalid } => Problem::unprocessable(within(index, invalid)),
        PublishError::Conflict { index, invalid } => Problem::conflict(within(index, invalid)),
        other => other.into(),
    }
}

/// `POST /v1/topics/{topic}`: the body is the message of a notification.
pub(crate) async fn topic(
    State(http): State<Http>,
    caller: Caller,
    topic: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Query::new(query.as_deref())
        .finish()
        .map_err(Problem::bad_query)?;
    let Path(topic) =
        topic.map_err(|_| Problem::unprocessable(Invalid::field("topic", "a topic in UTF-8")))?;
    let message = String::from_utf8(read(body, http.config.body_timeout).await?.into())
        .map_err(|_| Problem::unprocessable(Invalid::field("message", "UTF-8 text")))?;
    let mut event = json!({"type": "notification", "topic": topic, "message": message});
    for (header, field) in [
        ("title", "title"),
        ("type", "notification_type"),
        ("priority", "priority"),
    ] {
        if let Some(value) = text_header(&headers, HeaderName::from_static(header))? {
            event[field] = value.into();
        }
    }
    if let Some(tags) = text_header(&headers, HeaderName::from_static("tags"))? {
        event["tags"] = tags.split(',').map(|tag| Value::from(tag.trim())).collect();
    }
    if let Some(audience) = text_header(&headers, HeaderName::from_static("audience"))? {
        let audience: Audience = audience.parse().map_err(|error: ParseError| {
            Problem::unprocessable(Invalid::field("audience", error.expected))
        })?;
        event["audience"] = audience.to_json().into();
    }
    let draft = Draft::parse(event).map_err(Problem::unprocessable)?;
    let published = Answer::from(caller.publish_one(draft).await?);
    Ok((published.status(), answer(&published)).into_response())
}

pub(crate) fn describe_topic() -> Operation {
    let name = r"\.{0,127}[A-Za-z0-9_:~-][A-Za-z0-9._:~-]{0,127}";
    let names = format!("{name}(, ?{name})*");
    let tags = json!({"type": "string", "format": "tags", "pattern": format!("^{name}(, ?{name}){{0,31}}$")});
    let audience = json!({
        "description": "clients=alice,bob; groups=ops",
        "type": "string", "format": "audience",
        "pattern": format!("^(clients={names}(; ?groups={names})?|groups={names})$"),
    });
    let title = json!({"type": "string", "minLength": 1, "maxLength": Draft::MAX_TITLE});
    let message = json!({"type": "string", "minLength": 1, "maxLength": Notification::MAX_MESSAGE});
    Operation::new(
        "publishText",
        "Publishes the body as the message of a notification",
    )
    .path(
        "topic",
        described(
            reference("PublishableTopic"),
            "Its slashes are written as they are",
        ),
    )
    .header("Title", title)
    .header("Type", reference("NotificationType"))
    .header("Priority", reference("Priority"))
    .header("Tags", tags)
    .header("Audience", audience)
    .body("text/plain", message)
    .answers(StatusCode::CREATED, "Committed", reference("Published"))
    .refuses(&[422, 503])
}

fn text_header(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(&name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(&name) {
            true => Err(Problem::unprocessable(Invalid::field(
                name.as_str(),
                "this header once",
            ))),
            false => Ok(None),
        };
    };
    let text = std::str::from_utf8(value.as_bytes());
    let expected = |_| Problem::unprocessable(Invalid::field(name.as_str(), "UTF-8 text"));
    text.map(|text| Some(text.to_owned())).map_err(expected)
}
