use std::time::Duration;

use hyper::StatusCode;
use notification_event::{EventId, JsonObject, Timestamp};
use serde_json::{Value, json};

use crate::client::{Answer, Failure};

/// What became of one attempt to deliver. Nothing of what the receiver said but
/// the class of its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took it: 2xx.
    Delivered,
    /// It sends elsewhere, where nobody goes: 3xx.
    Redirected,
    /// It does not want it: 4xx.
    Rejected,
    /// It wants nothing like it any more: 410.
    Gone,
    /// It is too large for it (413), or for any receiver.
    TooLarge,
    /// Too much at once: 429.
    Throttled,
    /// It cannot: 5xx.
    Failed,
    /// Nobody listens, or nobody is reached.
    ConnectionRefused,
    /// It broke off before it answered.
    Broken,
    /// Its name has no address.
    Unresolved,
    /// None of its addresses is public.
    Blocked,
    /// It is not who it should be.
    Tls,
    /// It took too long.
    Timeout,
}

impl Outcome {
    pub(crate) fn of(sent: &Result<Answer, Failure>) -> Self {
        match sent {
            Ok(answer) => Self::of_status(answer.status),
            Err(Failure::Refused) => Self::ConnectionRefused,
            Err(Failure::Unresolved) => Self::Unresolved,
            Err(Failure::Blocked) => Self::Blocked,
            Err(Failure::Tls) => Self::Tls,
            Err(Failure::TimedOut) => Self::Timeout,
            Err(Failure::Broken) => Self::Broken,
        }
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::GONE => Self::Gone,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::TOO_MANY_REQUESTS => Self::Throttled,
            status if status.is_success() => Self::Delivered,
            status if status.is_client_error() => Self::Rejected,
            status if status.is_server_error() => Self::Failed,
            _ => Self::Redirected,
        }
    }

    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Delivered,
        Self::Redirected,
        Self::Rejected,
        Self::Gone,
        Self::TooLarge,
        Self::Throttled,
        Self::Failed,
        Self::ConnectionRefused,
        Self::Broken,
        Self::Unresolved,
        Self::Blocked,
        Self::Tls,
        Self::Timeout,
    ];

    /// The word for it in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Redirected => "http_3xx",
            Self::Rejected => "http_4xx",
            Self::Gone => "http_410",
            Self::TooLarge => "http_413",
            Self::Throttled => "http_429",
            Self::Failed => "http_5xx",
            Self::ConnectionRefused => "connection_refused",
            Self::Broken => "connection_broken",
            Self::Unresolved => "unresolved",
            Self::Blocked => "address_blocked",
            Self::Tls => "tls_error",
            Self::Timeout => "timeout",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }

    /// The word among those that MCP Events has ("Webhook delivery status").
    pub fn category(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Redirected | Self::Rejected | Self::Gone | Self::TooLarge | Self::Throttled => {
                "http_4xx"
            }
            Self::Failed => "http_5xx",
            Self::ConnectionRefused | Self::Broken | Self::Unresolved | Self::Blocked => {
                "connection_refused"
            }
            Self::Tls => "tls_error",
            Self::Timeout => "timeout",
        }
    }

    pub(crate) fn is_delivered(self) -> bool {
        self == Self::Delivered
    }

    /// Whether another attempt of the same would come to the same (Standard
    /// Webhooks, "Operational considerations").
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Gone | Self::TooLarge)
    }

    /// Whether the receiver, rather than what it thinks of the event, is in trouble.
    pub(crate) fn is_unreachable(self) -> bool {
        matches!(
            self,
            Self::ConnectionRefused
                | Self::Broken
                | Self::Unresolved
                | Self::Blocked
                | Self::Tls
                | Self::Timeout
        )
    }
}

/// One attempt to deliver, as it is remembered.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What; the id of a message that is no event begins with `msg_`.
    pub id: String,
    /// Which attempt of that: 1, 2, …
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What became of it.
    pub outcome: Outcome,
}

impl Attempt {
    /// `{"event_id", "attempt", "at", "duration_ms", "outcome"}`
    pub fn to_json(&self) -> Value {
        json!({
            "event_id": self.id,
            "attempt": self.number,
            "at": self.at,
            "duration_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "outcome": self.outcome.as_str(),
        })
    }
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which.
    pub event: EventId,
    /// When it was given up.
    pub at: Timestamp,
    /// After how many attempts.
    pub attempts: u32,
    /// What became of the last.
    pub outcome: Outcome,
}

impl DeadLetter {
    /// `{"event_id", "given_up_at", "attempts", "last_outcome"}`
    pub fn to_json(&self) -> JsonObject {
        let json = json!({
            "event_id": self.event,
            "given_up_at": self.at,
            "attempts": self.attempts,
            "last_outcome": self.outcome.as_str(),
        });
        match json {
            Value::Object(object) => object,
            _ => unreachable!("it is written as an object"),
        }
    }

    pub(crate) fn from_json(object: &JsonObject) -> Option<Self> {
        let text = |name: &str| object.get(name)?.as_str();
        Some(Self {
            event: text("event_id")?.parse().ok()?,
            at: text("given_up_at")?.parse().ok()?,
            attempts: object.get("attempts")?.as_u64()?.try_into().ok()?,
            outcome: Outcome::from_word(text("last_outcome")?)?,
        })
    }
}
