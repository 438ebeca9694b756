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
    let keeps = caller.retention()?;
    let retention = json!({
        "max_age_seconds": keeps.max_age.map(|age| age.as_secs()),
        "max_events": keeps.max_events,
        "max_bytes": keeps.max_bytes,
    });
    Ok(answer(&json!({
        "sample_seconds": SAMPLE.as_secs(), "samples": samples, "retention": retention,
    })))
}

pub(crate) fn describe() -> Operation {
    let samples = json!({"type": "array", "items": sample(), "maxItems": SAMPLES});
    let properties = json!({
        "sample_seconds": {"description": "How long one sample is", "type": "integer", "minimum": 1},
        "samples": samples,
        "retention": retention(),
    });
    Operation::new("getActivity", "What went on in the last hour").answers(
        StatusCode::OK,
        "The oldest first",
        object(properties, &["sample_seconds", "samples", "retention"]),
    )
}

fn retention() -> Value {
    let most = |of: &str| json!({"description": of, "type": ["integer", "null"], "minimum": 0});
    let properties = json!({
        "max_age_seconds": most("How old events get, if there is a bound"),
        "max_events": most("How many are kept"),
        "max_bytes": most("How many bytes of them"),
    });
    object(properties, &["max_age_seconds", "max_events", "max_bytes"])
}

fn sample() -> Value {
    let count = |of: &str| json!({"description": of, "type": "integer", "minimum": 0});
    let time = |of: &str| json!({"description": of, "type": ["number", "null"], "minimum": 0});
    let properties = json!({
        "timestamp": reference("Timestamp"),
        "published": count("Events committed to the log"),
        "delivered": count("Events handed to a stream, once for each stream"),
        "removed": count("Events that retention removed"),
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
        "removed",
        "connections",
        "publish_p50_ms",
        "publish_p99_ms",
        "log_events",
        "log_bytes",
    ];
    object(properties, &required)
}
