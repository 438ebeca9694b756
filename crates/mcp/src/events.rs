use std::sync::Arc;
use std::time::SystemTime;

use notification_event::{Invalid, Timestamp};
use notification_hub::{Frame, Start};
use serde_json::Value;

/// The events' JSON, as receivers get it.
pub(crate) fn to_json(frames: &[Arc<Frame>]) -> Value {
    frames.iter().map(|frame| one_to_json(frame)).collect()
}

pub(crate) fn one_to_json(frame: &Frame) -> Value {
    serde_json::from_slice(frame.json()).expect("events are JSON")
}

/// Reads from where on events are wanted.
pub(crate) fn since(value: &Value) -> Result<Start, Invalid> {
    let text = value.as_str().ok_or_else(|| Invalid::value("a string"))?;
    Ok(Start::parse(text, Timestamp::from(SystemTime::now()))?)
}
