use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::problem::Problem;
use crate::publish::json;
use crate::router::Http;

/// `GET /healthz`: the process is alive.
pub(crate) async fn alive() -> Response {
    json(&json!({"status": "alive"}))
}

/// `GET /readyz`: events can be published; 503 with the reason if not.
pub(crate) async fn ready(State(http): State<Http>) -> Result<Response, Problem> {
    if http.draining.is_cancelled() {
        let detail = "the server is shutting down";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    http.hub.ready()?;
    Ok(json(&json!({"status": "ready"})))
}
