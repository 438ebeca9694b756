use axum::http::StatusCode;
use axum::response::Response;
use notification_event::schema::{object, reference};
use notification_hub::{Caller, SAMPLE, SAMPLES};
use serde_json::{Value, json};

use crate::json::json as answer;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::query::NoQuery;

/// `GET /v1/activity`: what went on in the last hour.
pub(crate) async fn activity(caller: Caller, _: NoQuery) -> Result<Response, Problem> {
    let samples = caller.activity()?;
    Ok(answer(
        &json!({"sample_seconds": SAMPLE.as_secs(), "samples": samples}),
    ))
}

pub(crate) fn describe() -> Operation {
    let samples = json!({"type": "array", "items": sample(), "maxItems": SAMPLES});
    let properties = json!({
        "sample_seconds": {"description": "How long one sample is", "type": "integer", "minimum": 1},
        "samples": samples,
    });
    Operation::new("getActivity", "What went on in the last hour").answers(
        StatusCode::OK,
        "The oldest first",
        object(properties, &["sample_seconds", "samples"]),
    )
}

fn sample() -> Value {
    let count = |of: &str| json!({"description": of, "type": "integer", "minimum": 0});
    let time = |of: &str| json!({"description": of, "type": ["number", "null"], "minimum": 0});
    let properties = json!({
        "timestamp": reference("Timestamp"),
        "published": count("Events committed to the log"),
        "delivered": count("Events handed to a stream, once for each stream"),
        "connections": count("Streams open at its end"),
        "publish_p50_ms": time("From publishing to handed out: the median, if anything was published"),
        "publish_p99_ms": time("Likewise, what 99 of 100 did not exceed"),
        "log_events": count("Events in the log at its end"),
        "log_bytes": count("Bytes of the log at its end"),
    });
    let required = [
        "timestamp",
        "published",
        "delivered",
        "connections",
        "publish_p50_ms",
        "publish_p99_ms",
        "log_events",
        "log_bytes",
    ];
    object(properties, &required)
}
