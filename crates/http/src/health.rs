use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::Http;
use crate::json::json;
use crate::problem::Problem;

/// `GET /healthz`: the process is alive.
pub(crate) async fn alive() -> Response {
    json(&serde_json::json!({"status": "alive"}))
}

/// `GET /readyz`: events can be published; 503 with the reason if not.
pub(crate) async fn ready(State(http): State<Http>) -> Result<Response, Problem> {
    if http.draining.is_cancelled() {
        let detail = "the server is shutting down";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    http.hub.ready()?;
    Ok(json(&serde_json::json!({"status": "ready"})))
}
