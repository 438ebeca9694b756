use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::http::Http;

/// `GET /metrics`: in the OpenMetrics text format, which Prometheus reads.
pub(crate) async fn metrics(State(http): State<Http>) -> Response {
    let mut registry = Registry::default();
    http.hub.metrics().register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).expect("a String takes whatever is written");
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], text).into_response()
}
