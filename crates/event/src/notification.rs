use std::str::FromStr;

use serde_json::{Value, json};

use crate::ParseError;
use crate::fields::{Fields, text};
use crate::schema::{self, one_of, reference};

/// A message for people: what `send_notification` broadcasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// How it is meant.
    pub notification_type: NotificationType,
    /// 1 to 4096 characters.
    pub message: String,
}

impl Notification {
    /// The longest message, in characters.
    pub const MAX_MESSAGE: usize = 4_096;

    /// The JSON Schemas of its fields.
    pub(crate) fn properties() -> Value {
        json!({
            "message": schema::text(1, Self::MAX_MESSAGE),
            "notification_type": reference("NotificationType"),
        })
    }

    pub(crate) fn take(fields: &mut Fields) -> Option<Self> {
        let notification_type = fields.optional("notification_type", Fields::parsed);
        let message = fields.required("message", text(1..=Self::MAX_MESSAGE));
        Some(Self {
            notification_type: notification_type.unwrap_or_default(),
            message: message?,
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

    /// Its JSON Schema.
    pub fn schema() -> Value {
        one_of(&Self::ALL.map(Self::as_str))
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
