use axum::body::{Body, HttpBody};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use notification_event::{Draft, EventId, Invalid, Timestamp};
use notification_hub::Published;
use serde::Serialize;
use serde_json::Value;

use crate::http::{BODY_TIMEOUT, Http, MAX_BODY};
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
    body: Body,
) -> Result<Response, Problem> {
    Query::new(query.as_deref())
        .finish()
        .map_err(Problem::bad_query)?;
    check_media_type(&headers)?;
    let body = read(body).await?;
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

/// Reads a body whole, if it is not too large, nor too slow.
async fn read(body: Body) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {MAX_BODY} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let whole = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body broke off: {error}"))),
        Err(_) => {
            let detail = format!("the body took longer than {} s", BODY_TIMEOUT.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_body_has_to_come_in_time() {
        let slow = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(BODY_TIMEOUT / 10).await;
            Some((Ok::<_, std::io::Error>("x"), ()))
        });
        let refusal = read(Body::from_stream(slow)).await.unwrap_err();
        let status = refusal.into_response().status();
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    }
}
