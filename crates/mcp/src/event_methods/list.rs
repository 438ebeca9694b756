use notification_event::{Delivery, EventName};
use notification_hub::{Caller, Declared};
use rmcp::model::ErrorData;
use serde_json::{Value, json};

use super::errors::ErrorCodes;
use super::wanted::refused;
use crate::shorten::shorten;

/// How many are on a page.
const PAGE: usize = 100;

/// How the cursor of a page begins.
const AFTER: &str = "after:";

/// The ways in which events are delivered here.
const DELIVERED: [Delivery; 3] = [Delivery::Poll, Delivery::Push, Delivery::Webhook];

/// `events/list`: the event types there are.
pub(super) fn list(caller: &Caller, params: &Value, codes: ErrorCodes) -> Result<Value, ErrorData> {
    let after = match params.get("cursor") {
        None | Some(Value::Null) => None,
        Some(cursor) => Some(after(cursor)?),
    };
    let declared = caller
        .event_types()
        .map_err(|error| refused(error.into(), codes))?;
    let mut following = declared.iter().filter(|it| {
        after
            .as_ref()
            .is_none_or(|after| it.declaration.name > *after)
            && !modes(it).is_empty()
    });
    let page: Vec<_> = following.by_ref().take(PAGE).collect();
    let events: Vec<_> = page.iter().map(|declared| describe(declared)).collect();
    let mut result = json!({ "events": events });
    if let (Some(last), Some(_)) = (page.last(), following.next()) {
        result["nextCursor"] = format!("{AFTER}{}", last.declaration.name).into();
    }
    Ok(result)
}

fn modes(declared: &Declared) -> Vec<&'static str> {
    let declared = &declared.declaration.delivery;
    let modes = DELIVERED.iter().filter(|mode| declared.contains(mode));
    modes.map(|mode| mode.as_str()).collect()
}

fn describe(declared: &Declared) -> Value {
    let declaration = &declared.declaration;
    let payload = declaration.payload_schema.clone();
    let payload = payload.map_or_else(|| json!({ "type": "object" }), Value::Object);
    json!({
        "name": declaration.name,
        "description": declaration.description.as_deref().unwrap_or_default(),
        "delivery": modes(declared),
        "inputSchema": declaration.input_schema(),
        "payloadSchema": payload,
    })
}

fn after(cursor: &Value) -> Result<EventName, ErrorData> {
    let text = cursor.as_str();
    let name = text.and_then(|text| text.strip_prefix(AFTER)?.parse().ok());
    name.ok_or_else(|| {
        let cursor = shorten(&cursor.to_string());
        let message = format!("cursor: expected the nextCursor of a page, got {cursor}");
        ErrorData::invalid_params(message, None)
    })
}
