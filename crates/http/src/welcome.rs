use axum::extract::State;

use crate::http::Http;

/// `GET /`: what this is, and what to try first.
pub(crate) async fn welcome(State(http): State<Http>) -> String {
    let url = &http.config.base_url;
    format!(
        "This is a notification server.

Watch:    curl -N {url}/v1/stream
Publish:  curl -d 'Backup done' {url}/v1/topics/backups
Read:     curl {url}/v1/events
MCP:      {url}/mcp
Health:   {url}/healthz, {url}/readyz, {url}/metrics
"
    )
}
