use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use notification_event::Pattern;
use notification_event::schema::{described, object, reference};
use notification_hub::{Caller, EventPage, PageRequest, Start};
use serde_json::{Value, json};

use crate::http::Http;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::query::{
    MAX_LIMIT, Query, client, describe_client, describe_filter, describe_limit, describe_start,
    filter, limit, start,
};

/// `GET /v1/events`: a part of the log as
/// `{"events": […], "cursor": …, "has_more": …, "truncated": …}`.
pub(crate) async fn events(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let request = PageRequest {
        filter: filter(&mut query),
        client: client(&mut query),
        start: start(&mut query, Http::now()).unwrap_or(Start::Beginning),
        limit: limit(&mut query),
    };
    query.finish().map_err(Problem::bad_query)?;
    let page = caller.page(request).await?;
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((headers, write(&page)).into_response())
}

pub(crate) fn describe() -> Operation {
    let page = json!({
        "events": {"type": "array", "items": reference("Event"), "maxItems": MAX_LIMIT},
        "cursor": described(reference("Cursor"), "Where to read on"),
        "has_more": {"description": "Whether to read on now", "type": "boolean"},
        "truncated": {
            "description": "Whether events between the start and the first of these are gone",
            "type": "boolean",
        },
        "narrowed_to": narrowed_to(),
    });
    let page = object(page, &["events", "cursor", "has_more", "truncated"]);
    let operation = Operation::new("readEvents", "Reads a part of the log")
        .says("Read on with since=cursor while has_more, even if there are few events or none.");
    describe_limit(describe_start(describe_client(describe_filter(operation))))
        .answers(StatusCode::OK, "A page", page)
        .refuses(&[503])
}

/// Of what says that one may not see all that one asked for.
pub(crate) fn narrowed_to() -> Value {
    json!({
        "description": "The topics that are left of those asked for; only if one may not see all",
        "type": "array", "items": reference("Pattern"), "minItems": 1,
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
        "],\"cursor\":{},\"has_more\":{},\"truncated\":{}",
        Value::from(page.cursor.to_string()),
        page.has_more,
        page.truncated
    );
    json.extend_from_slice(rest.as_bytes());
    if let Some(topics) = &page.narrowed {
        let topics: Value = topics.iter().map(Pattern::as_str).collect();
        json.extend_from_slice(format!(",\"narrowed_to\":{topics}").as_bytes());
    }
    json.push(b'}');
    json
}
