use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use notification_event::{Draft, EventId, Invalid, Timestamp};
use notification_hub::Published;
use serde::Serialize;
use serde_json::Value;

use crate::http::Http;
use crate::json::json;
use crate::problem::Problem;
use crate::query::Query;

/// The answer to one event that was published.
#[derive(Serialize)]
struct Answer {
    event_id: EventId,
    cursor: String,
    timestamp: Timestamp,
    subscribers: usize,
}

impl From<Published> for Answer {
    fn from(published: Published) -> Self {
        Self {
            event_id: published.event_id,
            cursor: published.cursor.to_string(),
            timestamp: published.timestamp,
            subscribers: published.subscribers,
        }
    }
}

/// `POST /v1/events`: one event or an array of them, as [`Draft::parse_batch`]
/// reads it; the answer has the same form.
pub(crate) async fn events(
    State(http): State<Http>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    Query::new(query.as_deref())
        .finish()
        .map_err(Problem::bad_query)?;
    check_media_type(&headers)?;
    let body = read(body)?;
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not JSON: {error}")))?;
    let is_array = value.is_array();
    let drafts = Draft::parse_batch(value).map_err(Problem::unprocessable)?;
    let published = http.hub.publish(drafts).await?;
    let mut answers: Vec<_> = published.into_iter().map(Answer::from).collect();
    let answer = match is_array {
        true => json(&answers),
        false => json(&answers.pop()),
    };
    Ok((StatusCode::CREATED, answer).into_response())
}

/// `POST /v1/topics/{topic}`: the body is the message of a notification.
pub(crate) async fn topic(
    State(http): State<Http>,
    Path(topic): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    Query::new(query.as_deref())
        .finish()
        .map_err(Problem::bad_query)?;
    let message = String::from_utf8(read(body)?.into())
        .map_err(|_| Problem::unprocessable(Invalid::field("message", "UTF-8 text")))?;
    let mut event = serde_json::json!({"type": "notification", "topic": topic, "message": message});
    for (header, field) in [("title", "title"), ("type", "notification_type")] {
        if let Some(value) = text_header(&headers, HeaderName::from_static(header))? {
            event[field] = value.into();
        }
    }
    let draft = Draft::parse(event).map_err(Problem::unprocessable)?;
    let published = http.hub.publish_one(draft).await?;
    Ok((StatusCode::CREATED, json(&Answer::from(published))).into_response())
}

/// JSON, or what curl says when it is not told what it sends.
fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = given
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" | "application/x-www-form-urlencoded" => Ok(()),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(()),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type: expected application/json",
        )),
    }
}

fn read(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is larger than {} bytes", crate::http::MAX_BODY);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        status => Problem::new(status, rejection.body_text()),
    })
}

fn text_header(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(&name) else {
        return Ok(None);
    };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(Problem::unprocessable(Invalid::field(
            name.as_str(),
            "UTF-8 text",
        ))),
    }
}
