use axum::http::{HeaderMap, StatusCode, header};

use crate::problem::Problem;

/// What bodies are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    Json,
    /// One JSON object on each line.
    Lines,
}

impl MediaType {
    /// What a request says its body is; none if it is something else. JSON is
    /// also what curl sends when it is not told what it sends.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let Some(given) = headers.get(header::CONTENT_TYPE) else {
            return Some(Self::Json);
        };
        let essence = given.to_str().ok()?.split(';').next()?;
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/json" | "application/x-www-form-urlencoded" => Some(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                Some(Self::Lines)
            }
            other if other.starts_with("application/") && other.ends_with("+json") => {
                Some(Self::Json)
            }
            _ => None,
        }
    }
}

/// JSON, or lines of it.
pub(crate) fn json_or_lines(headers: &HeaderMap) -> Result<MediaType, Problem> {
    let refused = || unsupported("application/json or application/x-ndjson");
    MediaType::of(headers).ok_or_else(refused)
}

/// Nothing but JSON.
pub(crate) fn only_json(headers: &HeaderMap) -> Result<(), Problem> {
    match MediaType::of(headers) {
        Some(MediaType::Json) => Ok(()),
        _ => Err(unsupported("application/json")),
    }
}

fn unsupported(expected: &str) -> Problem {
    let detail = format!("Content-Type: expected {expected}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_known_by_its_media_type() {
        let check = |given: Option<&'static str>, expected: Option<MediaType>| {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(header::CONTENT_TYPE, given.parse().unwrap());
            }
            assert_eq!(json_or_lines(&headers).ok(), expected, "{given:?}");
            let is_json = expected == Some(MediaType::Json);
            assert_eq!(only_json(&headers).is_ok(), is_json, "{given:?}");
        };
        check(None, Some(MediaType::Json));
        check(
            Some("application/json; charset=utf-8"),
            Some(MediaType::Json),
        );
        check(Some("Application/X-NDJSON"), Some(MediaType::Lines));
        check(Some("application/cloudevents+json"), Some(MediaType::Json));
        check(Some("text/plain"), None);
        check(Some(""), None);
    }
}
