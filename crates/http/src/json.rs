use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An answer in JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    let json = serde_json::to_vec(value).expect("strings and numbers");
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}
