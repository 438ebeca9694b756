use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;

use crate::http::Http;
use crate::operation::Operation;

/// `GET /`: what this is, and what to try first.
pub(crate) async fn welcome(State(http): State<Http>) -> String {
    let url = &http.config.base_url;
    let curl = match http.hub.access().is_open() {
        true => "curl",
        false => "curl -H \"Authorization: Bearer $KEY\"",
    };
    format!(
        "This is a notification server.

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
