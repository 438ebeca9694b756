use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use notification_event::{Audience, Cursor, Draft, EventId, Invalid, ParseError, Timestamp};
use notification_hub::{PublishError, Published};
use serde::Serialize;
use serde_json::Value;

use crate::body::{read, read_json};
use crate::http::Http;
use crate::json::json;
use crate::lines;
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
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Query::new(query.as_deref())
        .finish()
        .map_err(Problem::bad_query)?;
    match media_type(&headers)? {
        MediaType::Json => {}
        MediaType::Lines => return Ok(lines::publish(http, body)),
    }
    let value = read_json(body).await?;
    let is_array = value.is_array();
    let drafts = Draft::parse_batch(value).map_err(Problem::unprocessable)?;
    let published = http.hub.publish(drafts).await;
    let published = published.map_err(|error| problem(error, is_array))?;
    let mut answers: Vec<_> = published.into_iter().map(Answer::from).collect();
    let status = match answers.iter().all(|answer| answer.duplicate) {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    let answer = match is_array {
        true => json(&answers),
        false => json(&answers.pop()),
    };
    Ok((status, answer).into_response())
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
    let message = String::from_utf8(read(body).await?.into())
        .map_err(|_| Problem::unprocessable(Invalid::field("message", "UTF-8 text")))?;
    let mut event = serde_json::json!({"type": "notification", "topic": topic, "message": message});
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
    let answer = Answer::from(http.hub.publish_one(draft).await?);
    Ok((answer.status(), json(&answer)).into_response())
}

/// What `POST /v1/events` takes.
#[derive(Debug, PartialEq, Eq)]
enum MediaType {
    Json,
    /// One JSON object on each line.
    Lines,
}

/// JSON is also what curl sends when it is not told what it sends.
fn media_type(headers: &HeaderMap) -> Result<MediaType, Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(MediaType::Json);
    };
    let essence = given
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" | "application/x-www-form-urlencoded" => Ok(MediaType::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(MediaType::Lines),
        other if other.starts_with("application/") && other.ends_with("+json") => {
            Ok(MediaType::Json)
        }
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type: expected application/json or application/x-ndjson",
        )),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_known_by_its_media_type() {
        let check = |given: Option<&'static str>, expected: Option<MediaType>| {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(header::CONTENT_TYPE, given.parse().unwrap());
            }
            assert_eq!(media_type(&headers).ok(), expected, "{given:?}");
        };
        check(None, Some(MediaType::Json));
        check(
            Some("application/json; charset=utf-8"),
            Some(MediaType::Json),
        );
        check(Some("Application/X-NDJSON"), Some(MediaType::Lines));
        check(Some("application/cloudevents+json"), Some(MediaType::Json));
        check(Some("text/plain"), None);
        check(Some(""), None);
    }
}
