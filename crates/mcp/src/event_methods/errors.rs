use notification_event::{Breaking, EventName, Invalid};
use notification_webhook::Ending;
use rmcp::model::{ErrorCode, ErrorData};
use serde_json::{Value, json};

use crate::shorten::shorten;

/// By which numbers errors go that the extension defines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorCodes {
    /// Those of the specification (SEP-3415, "Errors").
    #[default]
    Sep3415,
    /// Those of the proposal that came before it, which some clients know.
    Sketch,
}

impl ErrorCodes {
    fn not_found(self) -> ErrorCode {
        match self {
            Self::Sep3415 => ErrorCode(-32023),
            Self::Sketch => ErrorCode(-32011),
        }
    }

    fn forbidden(self) -> ErrorCode {
        match self {
            Self::Sep3415 => ErrorCode(-32024),
            Self::Sketch => ErrorCode(-32012),
        }
    }

    fn resource_exhausted(self) -> ErrorCode {
        match self {
            Self::Sep3415 => ErrorCode(-32025),
            Self::Sketch => ErrorCode(-32013),
        }
    }

    fn unsupported(self) -> ErrorCode {
        match self {
            Self::Sep3415 => ErrorCode(-32026),
            Self::Sketch => ErrorCode(-32014),
        }
    }

    fn callback_endpoint(self) -> ErrorCode {
        match self {
            Self::Sep3415 => ErrorCode(-32027),
            Self::Sketch => ErrorCode(-32015),
        }
    }

    /// Why a subscription has ended, as its receiver is told.
    pub fn of_ending(self, ending: &Ending) -> Value {
        json!(match ending {
            Ending::Removed(name) => self.no_event(name.as_str()),
            Ending::Changed(name, what) => self.has_changed(name, *what),
            Ending::Unauthorized(reason) => self.may_not(reason.clone()),
        })
    }

    /// Whoever is at an address does not want to be sent anything.
    pub(super) fn unverified(self, reason: &str, message: String) -> ErrorData {
        let data = json!({ "reason": reason });
        ErrorData::new(self.callback_endpoint(), message, Some(data))
    }

    /// There is no such event type, or not any more.
    pub(super) fn no_event(self, name: &str) -> ErrorData {
        let message = format!(
            "no event type {}: events/list has those there are",
            shorten(name)
        );
        ErrorData::new(self.not_found(), message, Some(json!({ "kind": "event" })))
    }

    /// Whoever asks may not.
    pub(super) fn may_not(self, message: String) -> ErrorData {
        ErrorData::new(self.forbidden(), message, None)
    }

    /// There is as much as there may be.
    pub(super) fn too_much(self, limit: &str, max: Option<u64>, message: String) -> ErrorData {
        let mut data = json!({ "limit": limit });
        if let Some(max) = max {
            data["max"] = max.into();
        }
        ErrorData::new(self.resource_exhausted(), message, Some(data))
    }

    /// The event type is not delivered so.
    pub(super) fn not_delivered_by(self, name: &EventName, mode: &str) -> ErrorData {
        let message = format!("the event type {name} is not delivered by {mode}");
        let data = json!({ "feature": "delivery", "value": mode });
        ErrorData::new(self.unsupported(), message, Some(data))
    }

    /// The event type is not what it was when it was subscribed to.
    pub(super) fn has_changed(self, name: &EventName, what: Breaking) -> ErrorData {
        let feature = match what {
            Breaking::Payload => "payloadSchema",
            Breaking::Arguments => "inputSchema",
            Breaking::Delivery => "delivery",
        };
        let message = format!("the event type {name} has changed: read events/list again");
        let data = json!({ "feature": feature, "reason": "schema_changed" });
        ErrorData::new(self.unsupported(), message, Some(data))
    }
}

/// Params that make no sense.
pub(super) fn misfit(invalid: &Invalid) -> ErrorData {
    let fields: Vec<_> = invalid.errors.iter().map(|it| json!(it)).collect();
    let data = json!({ "errors": fields });
    ErrorData::invalid_params(invalid.to_string(), Some(data))
}
