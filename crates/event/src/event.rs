use std::str::FromStr;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::{Audience, Body, Draft, EventId, EventName, ParseError, Timestamp, Topic};

/// The one record that flows through the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its identity, the same by every path.
    pub id: EventId,
    /// When it was published.
    pub timestamp: Timestamp,
    /// Everything its publisher said.
    pub draft: Draft,
}

impl Event {
    /// A draft, published at `timestamp` under a new id.
    pub fn new(draft: Draft, timestamp: Timestamp) -> Self {
        Self {
            id: EventId::generate(),
            timestamp,
            draft,
        }
    }

    /// The event's JSON and what decides who gets it.
    pub fn encode(self) -> EncodedEvent {
        let json = serde_json::to_vec(&self).expect("strings as keys, finite numbers");
        let event_type = self.draft.body.event_type();
        let name = match self.draft.body {
            Body::Application(application) => Some(application.name),
            _ => None,
        };
        EncodedEvent {
            head: Head {
                id: self.id,
                timestamp: self.timestamp,
                event_type,
                name,
                topic: self.draft.topic,
                audience: self.draft.audience,
            },
            json: json.into(),
        }
    }
}

/// The fields that clients of the first version know come first, in their
/// order; what was added since follows. The audience is not shown: who else
/// gets an event is nobody's business.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = &self.draft.body;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", body.event_type().as_str())?;
        match body {
            Body::Notification(notification) => {
                map.serialize_entry("notification_id", &self.id)?;
                map.serialize_entry("notification_type", notification.notification_type.as_str())?;
                map.serialize_entry("message", &notification.message)?;
            }
            Body::Progress(progress) => {
                map.serialize_entry("task_id", &progress.task_id)?;
                map.serialize_entry("task_name", &progress.task_name)?;
                map.serialize_entry("progress", &progress.percent_json())?;
                map.serialize_entry("step", &progress.step)?;
                map.serialize_entry("total_steps", &progress.total_steps)?;
                map.serialize_entry("message", &progress.message)?;
            }
            Body::Application(application) => map.serialize_entry("name", &application.name)?,
        }
        map.serialize_entry("timestamp", &self.timestamp)?;
        if let Some(data) = body.data() {
            map.serialize_entry("data", data)?;
        }
        map.serialize_entry("event_id", &self.id)?;
        map.serialize_entry("topic", &self.draft.topic)?;
        match body {
            Body::Notification(notification) => {
                if let Some(title) = &notification.title {
                    map.serialize_entry("title", title)?;
                }
            }
            Body::Progress(progress) => map.serialize_entry("state", progress.state.as_str())?,
            Body::Application(_) => {}
        }
        map.end()
    }
}

/// An event whose JSON has been written, once and for all receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEvent {
    /// What decides who gets it.
    pub head: Head,
    /// One JSON object, UTF-8, on one line.
    pub json: Bytes,
}

impl EncodedEvent {
    /// How many bytes it takes to keep: its JSON, and the names in its audience.
    pub fn size(&self) -> usize {
        let audience = self.head.audience.as_ref();
        self.json.len() + audience.map_or(0, Audience::size)
    }
}

/// What decides who gets an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its identity.
    pub id: EventId,
    /// When it was published.
    pub timestamp: Timestamp,
    /// Its `type`.
    pub event_type: EventType,
    /// The name of an application's own event.
    pub name: Option<EventName>,
    /// Where it belongs.
    pub topic: Topic,
    /// Who it is for, if not for everyone.
    pub audience: Option<Audience>,
}

/// The `type` of an event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// A message for people.
    Notification,
    /// How far a job is.
    Progress,
    /// An application's own event, which has a name.
    Application,
}

impl EventType {
    /// Every type, in the order in which documents list them.
    pub const ALL: [Self; 3] = [Self::Notification, Self::Progress, Self::Application];

    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Progress => "progress",
            Self::Application => "event",
        }
    }
}

impl FromStr for EventType {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let named = Self::ALL.into_iter().find(|t| t.as_str() == text);
        named.ok_or(ParseError {
            what: "event type",
            expected: "notification, progress or event",
        })
    }
}
