use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::progress::percent_json;
use crate::schema::{self, and, described, one_of, reference, told_apart};
use crate::{
    Application, Audience, Body, Collapse, Draft, EventId, EventName, JsonObject, Notification,
    ParseError, Priority, Progress, Tag, Timestamp, Topic,
};

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
    /// A draft, published at `timestamp`, under a new id if it has none.
    pub fn new(draft: Draft, timestamp: Timestamp) -> Self {
        Self {
            id: draft.event_id.clone().unwrap_or_else(EventId::generate),
            timestamp,
            draft,
        }
    }

    /// What its publisher said, in one number: the same for the same draft,
    /// whenever it is published.
    fn fingerprint(&self) -> u64 {
        let timeless = Self {
            timestamp: Timestamp::from_millis(0),
            ..self.clone()
        };
        let timeless = timeless.without_start();
        // Some programs write the keys of an object in another order each time.
        let mut json = serde_json::to_value(&timeless).expect("strings as keys, finite numbers");
        json.sort_all_objects();
        let json = json.to_string();
        let audience = self.draft.audience.as_ref().map(Audience::to_json);
        let audience = Value::from(audience).to_string();
        fnv_1a(json.as_bytes().iter().chain(audience.as_bytes()))
    }

    fn without_start(mut self) -> Self {
        if let Body::Progress(progress) = &mut self.draft.body {
            progress.started_at = None;
        }
        self
    }

    /// The event's JSON and what decides who gets it.
    pub fn encode(self) -> EncodedEvent {
        let fingerprint = self.draft.event_id.is_some().then(|| self.fingerprint());
        let json = serde_json::to_vec(&self).expect("strings as keys, finite numbers");
        let event_type = self.draft.body.event_type();
        let key = self.draft.collapse_key.map(Collapse::Key);
        let (name, collapse) = match self.draft.body {
            Body::Notification(_) => (None, key),
            Body::Application(application) => (Some(application.name), key),
            Body::Progress(progress) => {
                let phase = progress.phase();
                let task = progress.task_id;
                (None, Some(Collapse::Task { task, phase }))
            }
        };
        EncodedEvent {
            head: Head {
                id: self.id,
                timestamp: self.timestamp,
                event_type,
                name,
                topic: self.draft.topic,
                audience: self.draft.audience,
                priority: self.draft.priority,
                tags: self.draft.tags,
                expires_at: self.draft.expiry.map(|e| e.after(self.timestamp)),
                collapse,
                require_ack: self.draft.require_ack,
                published_by: None,
            },
            json: json.into(),
            fingerprint,
        }
    }
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): the same in every version of this
/// program, which the standard library's hashes do not promise.
fn fnv_1a<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The fields that clients of the first version know come first, in their
/// order; what was added since follows. The audience is not shown: who else
/// gets an event is nobody's business.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let draft = &self.draft;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", draft.body.event_type().as_str())?;
        match &draft.body {
            Body::Notification(notification) => {
                map.serialize_entry("notification_id", &self.id)?;
                map.serialize_entry("notification_type", notification.notification_type.as_str())?;
                map.serialize_entry("message", &notification.message)?;
            }
            Body::Progress(progress) => {
                map.serialize_entry("task_id", &progress.task_id)?;
                map.serialize_entry("task_name", &progress.task_name)?;
                optional(&mut map, "progress", progress.progress.map(percent_json))?;
                optional(&mut map, "step", progress.step)?;
                optional(&mut map, "total_steps", progress.total_steps)?;
                map.serialize_entry("message", &progress.message)?;
            }
            Body::Application(application) => map.serialize_entry("name", &application.name)?,
        }
        map.serialize_entry("timestamp", &self.timestamp)?;
        match (&draft.data, &draft.body) {
            (Some(data), _) => map.serialize_entry("data", data)?,
            (None, Body::Application(_)) => map.serialize_entry("data", &JsonObject::new())?,
            (None, _) => {}
        }
        map.serialize_entry("event_id", &self.id)?;
        map.serialize_entry("topic", &draft.topic)?;
        optional(&mut map, "title", draft.title.as_ref())?;
        if let Body::Progress(progress) = &draft.body {
            map.serialize_entry("state", progress.state.as_str())?;
            optional(&mut map, "started_at", progress.started_at)?;
        }
        if draft.priority != Priority::default() {
            map.serialize_entry("priority", &draft.priority.number())?;
        }
        if !draft.tags.is_empty() {
            map.serialize_entry("tags", &*draft.tags)?;
        }
        let expires_at = draft.expiry.map(|expiry| expiry.after(self.timestamp));
        optional(&mut map, "expires_at", expires_at)?;
        optional(&mut map, "collapse_key", draft.collapse_key.as_ref())?;
        if draft.require_ack {
            map.serialize_entry("require_ack", &true)?;
        }
        map.end()
    }
}

/// JSON Schemas.
impl Event {
    /// Of what is written for receivers, by name.
    pub(crate) fn schemas() -> [(&'static str, Value); 4] {
        let variants = [
            (EventType::Notification.as_str(), "NotificationEvent"),
            (EventType::Progress.as_str(), "ProgressEvent"),
            (EventType::Application.as_str(), "ApplicationEvent"),
        ];
        let notification = and(
            Notification::properties(),
            json!({"notification_id": reference("EventId")}),
        );
        let progress = and(
            Progress::properties(),
            json!({"state": reference("TaskState"), "started_at": reference("Timestamp")}),
        );
        let variant = Self::variant;
        let says = ["notification_id", "notification_type", "message"];
        let reports = ["task_id", "task_name", "message", "state"];
        [
            ("Event", told_apart("type", &variants)),
            (
                "NotificationEvent",
                variant(EventType::Notification, notification, &says),
            ),
            (
                "ProgressEvent",
                variant(EventType::Progress, progress, &reports),
            ),
            (
                "ApplicationEvent",
                variant(
                    EventType::Application,
                    Application::properties(),
                    &["name", "data"],
                ),
            ),
        ]
    }

    fn variant(event_type: EventType, own: Value, required: &[&str]) -> Value {
        let own = and(json!({"type": {"const": event_type.as_str()}}), own);
        let common = json!({
            "timestamp": reference("Timestamp"),
            "data": Draft::data_schema(),
            "event_id": reference("EventId"),
            "topic": reference("Topic"),
            "title": schema::text(1, Draft::MAX_TITLE),
            "priority": described(Priority::number_schema(), "3 if absent"),
            "tags": Draft::tags_schema(),
            "expires_at": reference("Timestamp"),
            "require_ack": {"const": true},
        });
        let mut properties = and(own, common);
        if event_type != EventType::Progress {
            properties["collapse_key"] = reference("CollapseKey");
        }
        let always = ["type", "timestamp", "event_id", "topic"];
        schema::object(properties, &[&always, required].concat())
    }
}

fn optional<M: SerializeMap>(
    map: &mut M,
    name: &str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, &value),
        None => Ok(()),
    }
}

/// An event whose JSON has been written, once and for all receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEvent {
    /// What decides who gets it.
    pub head: Head,
    /// One JSON object, UTF-8, on one line.
    pub json: Bytes,
    /// What its publisher said, in one number, if it also gave the id: to tell
    /// the same event again from another one under the same id.
    pub fingerprint: Option<u64>,
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
    /// How urgent it is.
    pub priority: Priority,
    /// Words to filter by.
    pub tags: Arc<[Tag]>,
    /// When it is no longer worth delivering.
    pub expires_at: Option<Timestamp>,
    /// What newer events take its place.
    pub collapse: Option<Collapse>,
    /// Whether its publisher wants to know who has seen it.
    pub require_ack: bool,
    /// The principal that published it, by name. None of those that nobody had
    /// to vouch for. Kept beside the event, and shown to nobody who receives it.
    pub published_by: Option<Arc<str>>,
}

impl Head {
    /// Whether it is not worth delivering at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|time| time <= now)
    }
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

    /// Its JSON Schema.
    pub fn schema() -> Value {
        one_of(&Self::ALL.map(Self::as_str))
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
