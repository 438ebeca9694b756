use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use notification_event::schema::all_of;
use serde_json::json;

use crate::http::Http;
use crate::json::json as answer;
use crate::operation::Operation;
use crate::problem::Problem;

/// `GET /healthz`: the process is alive.
pub(crate) async fn alive() -> Response {
    answer(&json!({"status": "alive"}))
}

pub(crate) fn describe_alive() -> Operation {
    let alive = all_of(json!({"status": {"const": "alive"}}));
    Operation::new("alive", "Whether the process lives").answers(StatusCode::OK, "It does", alive)
}

/// `GET /readyz`: events can be published; 503 with the reason if not.
pub(crate) async fn ready(State(http): State<Http>) -> Result<Response, Problem> {
    if http.draining.is_cancelled() {
        let detail = "the server is shutting down";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    http.hub.ready()?;
    Ok(answer(&json!({"status": "ready"})))
}

pub(crate) fn describe_ready() -> Operation {
    let ready = all_of(json!({"status": {"const": "ready"}}));
    Operation::new("ready", "Whether events can be published")
        .answers(StatusCode::OK, "They can", ready)
        .refuses(&[503])
}
