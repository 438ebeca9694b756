use std::str::FromStr;

use crate::fields::{Fields, object_of_at_most, text};
use crate::{JsonObject, ParseError};

/// A message for people: what `send_notification` broadcasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// How it is meant.
    pub notification_type: NotificationType,
    /// 1 to 4096 characters.
    pub message: String,
    /// 1 to 256 characters.
    pub title: Option<String>,
    /// Whatever else the publisher wants to say, at most 64 KiB of JSON.
    pub data: Option<JsonObject>,
}

impl Notification {
    /// The longest message, in characters.
    pub const MAX_MESSAGE: usize = 4_096;
    /// The longest title, in characters.
    pub const MAX_TITLE: usize = 256;
    /// The largest `data`, in bytes of JSON.
    pub const MAX_DATA: usize = 64 * 1024;

    pub(crate) fn take(fields: &mut Fields) -> Option<Self> {
        let notification_type = fields.optional("notification_type", Fields::parsed);
        let message = fields.required("message", text(1..=Self::MAX_MESSAGE));
        let title = fields.optional("title", text(1..=Self::MAX_TITLE));
        let data = fields.optional("data", object_of_at_most(Self::MAX_DATA));
        Some(Self {
            notification_type: notification_type.unwrap_or_default(),
            message: message?,
            title,
            data,
        })
    }
}

/// How a notification is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotificationType {
    /// Good to know.
    #[default]
    Info,
    /// Something may need attention.
    Warning,
    /// Something failed.
    Error,
    /// Something worked.
    Success,
}

impl NotificationType {
    /// Every type, in the order in which documents list them.
    pub const ALL: [Self; 4] = [Self::Info, Self::Warning, Self::Error, Self::Success];

    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Success => "success",
        }
    }
}

impl FromStr for NotificationType {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let named = Self::ALL.into_iter().find(|t| t.as_str() == text);
        named.ok_or(ParseError {
            what: "notification type",
            expected: "info, warning, error or success",
        })
    }
}
