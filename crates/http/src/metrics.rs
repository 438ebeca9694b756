use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use notification_hub::Caller;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::http::Http;
use crate::operation::Operation;
use crate::problem::Problem;

const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`: in the OpenMetrics text format, which Prometheus reads.
pub(crate) async fn metrics(State(http): State<Http>, caller: Caller) -> Result<Response, Problem> {
    let mut registry = Registry::default();
    caller.metrics()?.register(&mut registry);
    http.config.webhooks.metrics().register(&mut registry);
    http.config.capacity.register(&mut registry);
    if let Some(tls) = &http.config.tls {
        tls.register(&mut registry);
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a String takes whatever is written");
    Ok(([(header::CONTENT_TYPE, FORMAT)], text).into_response())
}

pub(crate) fn describe() -> Operation {
    let text = json!({"type": "string"});
    Operation::new("metrics", "What Prometheus reads").answers_in(
        FORMAT,
        StatusCode::OK,
        "In the OpenMetrics text format",
        text,
    )
}
