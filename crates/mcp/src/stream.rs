use http::{HeaderMap, header};

/// Whether an answer is a `text/event-stream`.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE);
    media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}
