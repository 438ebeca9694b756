use std::fmt::Write;
use std::time::SystemTime;

use axum::http::response::Parts;

/// The head of an answer whose body comes in chunks (RFC 9112, sections 4 and
/// 7.1), as hyper writes it.
pub(crate) fn head(parts: &Parts) -> Vec<u8> {
    let status = parts.status;
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in &parts.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    let mut rest = String::from("transfer-encoding: chunked\r\n");
    let date = httpdate::HttpDate::from(SystemTime::now());
    let _ = write!(rest, "date: {date}\r\n\r\n");
    head.extend_from_slice(rest.as_bytes());
    head
}
