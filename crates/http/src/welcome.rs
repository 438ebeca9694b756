use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use notification_dashboard::file;
use serde_json::json;

use crate::dashboard;
use crate::http::Http;
use crate::operation::Operation;

/// `GET /`: the dashboard, for browsers; for others, and where it is not built
/// in, what this is and what to try first.
pub(crate) async fn welcome(State(http): State<Http>, headers: HeaderMap) -> Response {
    dashboard::page(&headers).unwrap_or_else(|| text(&http).into_response())
}

fn text(http: &Http) -> String {
    let url = &http.config.base_url;
    let curl = match http.hub.access().is_open() {
        true => "curl",
        false => "curl -H \"Authorization: Bearer $KEY\"",
    };
    let dashboard = match file("/index.html") {
        Some(_) => format!("{url}/ in a browser"),
        None => "not built in: build the server where Node's npm is installed".to_owned(),
    };
    format!(
        "This is a notification server.

Look:     {dashboard}
Watch:    {curl} -N {url}/v1/stream
Publish:  {curl} -d 'Backup done' {url}/v1/topics/backups
Read:     {curl} {url}/v1/events
MCP:      {url}/mcp
API:      {url}/openapi.json
Health:   {url}/healthz, {url}/readyz, {url}/metrics
"
    )
}

pub(crate) fn describe() -> Operation {
    let text = json!({"type": "string"});
    Operation::new("welcome", "What this is, and what to try first").answers_in(
        "text/plain",
        StatusCode::OK,
        "For people",
        text,
    )
}
