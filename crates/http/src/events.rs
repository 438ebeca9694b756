use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use notification_event::ParseError;
use notification_hub::{EventPage, PageRequest, Start};
use serde_json::Value;

use crate::http::Http;
use crate::problem::Problem;
use crate::query::{Query, client, filter, start};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// `GET /v1/events`: a part of the log as
/// `{"events": […], "cursor": …, "has_more": …, "truncated": …}`.
pub(crate) async fn events(
    State(http): State<Http>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let request = PageRequest {
        filter: filter(&mut query),
        client: client(&mut query),
        start: start(&mut query, Http::now()).unwrap_or(Start::Beginning),
        limit: query.one("limit", limit).unwrap_or(DEFAULT_LIMIT),
    };
    query.finish().map_err(Problem::bad_query)?;
    let page = http.hub.page(request).await?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, write(&page)).into_response())
}

fn limit(text: &str) -> Result<usize, ParseError> {
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or(ParseError {
        what: "limit",
        expected: "an integer from 1 to 1000",
    })
}

/// The events are JSON already, and stay as they are.
fn write(page: &EventPage) -> Vec<u8> {
    let mut json = b"{\"events\":[".to_vec();
    for (index, frame) in page.frames.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(frame.json());
    }
    let rest = format!(
        "],\"cursor\":{},\"has_more\":{},\"truncated\":{}}}",
        Value::from(page.cursor.to_string()),
        page.has_more,
        page.truncated
    );
    json.extend_from_slice(rest.as_bytes());
    json
}
