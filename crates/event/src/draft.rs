use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fields::{Fields, MAX_DEPTH, array, boolean, integer, object, object_of_at_most, text};
use crate::report::publishable_topic;
use crate::schema::{self, and, described, reference, told_apart};
use crate::{
    Application, Audience, CollapseKey, EventId, EventType, Invalid, JsonObject, Notification,
    Priority, Progress, Tag, TaskId, Timestamp, Topic,
};

/// An event as its publisher described it, before it has a time and a place in
/// the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Its identity, if its publisher gave one: published again under the same
    /// id, it is the same event.
    pub event_id: Option<EventId>,
    /// Where it belongs.
    pub topic: Topic,
    /// Who it is for, if not for everyone who may read the topic.
    pub audience: Option<Audience>,
    /// How urgent it is.
    pub priority: Priority,
    /// 1 to 256 characters.
    pub title: Option<String>,
    /// Words to filter by, at most 32.
    pub tags: Arc<[Tag]>,
    /// Whatever else the publisher wants to say, at most 64 KiB of JSON, 100 levels deep.
    pub data: Option<JsonObject>,
    /// After which it is neither delivered nor replayed.
    pub expiry: Option<Expiry>,
    /// A newer event on the same topic, with the same key and audience,
    /// replaces it as long as it has not been sent.
    pub collapse_key: Option<CollapseKey>,
    /// Whether its publisher wants to know who has seen it.
    pub require_ack: bool,
    /// What it says.
    pub body: Body,
}

/// Until when an event is worth delivering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// For so long after it is published.
    In(Duration),
    /// Until then.
    At(Timestamp),
}

impl Expiry {
    /// The moment, for an event that is published at `timestamp`.
    pub fn after(self, timestamp: Timestamp) -> Timestamp {
        match self {
            Self::In(duration) => timestamp.after(duration),
            Self::At(time) => time,
        }
    }
}

/// What an event says: the fields of its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// `"type": "notification"`
    Notification(Notification),
    /// `"type": "progress"`
    Progress(Progress),
    /// `"type": "event"`
    Application(Application),
}

impl Body {
    /// The event's `type`.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::Notification(_) => EventType::Notification,
            Self::Progress(_) => EventType::Progress,
            Self::Application(_) => EventType::Application,
        }
    }
}

/// A body for everyone, on the default topic.
impl From<Body> for Draft {
    fn from(body: Body) -> Self {
        Self {
            event_id: None,
            topic: Topic::default(),
            audience: None,
            priority: Priority::default(),
            title: None,
            tags: Arc::default(),
            data: None,
            expiry: None,
            collapse_key: None,
            require_ack: false,
            body,
        }
    }
}

impl Draft {
    /// The longest title, in characters.
    pub const MAX_TITLE: usize = 256;
    /// The largest `data`, in bytes of JSON.
    pub const MAX_DATA: usize = 64 * 1024;
    /// The most tags.
    pub const MAX_TAGS: usize = 32;
    /// The longest `expires_in`, in seconds: ten years.
    pub const MAX_EXPIRES_IN: u64 = 10 * 366 * 24 * 60 * 60;

    /// The task of which it reports, if it does.
    pub fn task_id(&self) -> Option<&TaskId> {
        match &self.body {
            Body::Progress(progress) => Some(&progress.task_id),
            _ => None,
        }
    }

    /// Reads an event as publishers write it:
    ///
    /// - `{"type": "notification", "message", "notification_type"?}`
    /// - `{"type": "progress", "task_id", "task_name", "progress"?, "step"?, "total_steps"?, "message"?, "state"?}`
    /// - `{"type": "event", "name"}`
    ///
    /// each with `"event_id"?`, `"topic"?`, `"audience"?`, `"priority"?`, `"title"?`, `"tags"?`,
    /// `"data"?`, `"expires_in"?` (seconds) or `"expires_at"?`, `"collapse_key"?` and
    /// `"require_ack"?`. What only the server says (`timestamp`) is refused like any other
    /// unknown field.
    ///
    /// ```
    /// use notification_event::{Body, Draft};
    /// let draft = Draft::parse(serde_json::json!({"type": "notification", "message": "Backup done"}));
    /// assert!(matches!(draft.unwrap().body, Body::Notification(_)));
    /// ```
    pub fn parse(value: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::new(object(value)?);
        let Some(event_type) = fields.required("type", event_type) else {
            return Err(type_alone(fields));
        };
        let body = match event_type {
            EventType::Notification => Notification::take(&mut fields).map(Body::Notification),
            EventType::Progress => Progress::take(&mut fields).map(Body::Progress),
            EventType::Application => Application::take(&mut fields).map(Body::Application),
        };
        let event_id = fields.optional("event_id", Fields::parsed);
        let topic = fields.optional("topic", publishable_topic);
        let audience = fields.optional("audience", |value| Audience::parse(object(value)?));
        let priority = fields.optional("priority", Priority::parse);
        let title = fields.optional("title", text(1..=Self::MAX_TITLE));
        let tags = fields.optional("tags", tags);
        let data = fields.optional("data", object_of_at_most(Self::MAX_DATA));
        let expiry = expiry(&mut fields);
        let collapse_key = fields.optional("collapse_key", Fields::parsed);
        let require_ack = fields.optional("require_ack", boolean);
        if collapse_key.is_some() && event_type == EventType::Progress {
            fields.refuse(Invalid::field(
                "collapse_key",
                "no such field here: progress collapses by its task",
            ));
        }
        fields.finish()?;
        Ok(Self {
            event_id,
            topic: topic.unwrap_or_default(),
            audience,
            priority: priority.unwrap_or_default(),
            title,
            tags: tags.unwrap_or_default(),
            data,
            expiry,
            collapse_key,
            require_ack: require_ack.unwrap_or_default(),
            body: body.expect("a body that could not be read was refused"),
        })
    }
}

/// JSON Schemas.
impl Draft {
    /// Of what [`Draft::parse`] reads, by name.
    pub(crate) fn schemas() -> [(&'static str, Value); 4] {
        let variants = [
            (EventType::Notification.as_str(), "NotificationDraft"),
            (EventType::Progress.as_str(), "ProgressDraft"),
            (EventType::Application.as_str(), "ApplicationDraft"),
        ];
        let (notification, progress) = (Notification::properties(), Progress::properties());
        let variant = Self::variant;
        [
            ("Draft", told_apart("type", &variants)),
            (
                "NotificationDraft",
                variant(EventType::Notification, notification, &["message"]),
            ),
            (
                "ProgressDraft",
                variant(EventType::Progress, progress, &["task_id", "task_name"]),
            ),
            (
                "ApplicationDraft",
                variant(EventType::Application, Application::properties(), &["name"]),
            ),
        ]
    }

    fn variant(event_type: EventType, own: Value, required: &[&str]) -> Value {
        let own = and(json!({"type": {"const": event_type.as_str()}}), own);
        let common = json!({
            "event_id": described(reference("EventId"), "The same event again has the same"),
            "topic": reference("PublishableTopic"),
            "audience": described(reference("Audience"), "Nobody else gets it"),
            "priority": reference("Priority"),
            "title": schema::text(1, Self::MAX_TITLE),
            "tags": Self::tags_schema(),
            "data": Self::data_schema(),
            "expires_in": described(schema::integer(1, Self::MAX_EXPIRES_IN), "Seconds"),
            "expires_at": reference("Timestamp"),
            "require_ack": {"description": "Whether receipts are kept", "type": "boolean"},
        });
        let mut properties = and(own, common);
        if event_type != EventType::Progress {
            properties["collapse_key"] = reference("CollapseKey");
        }
        let mut schema = schema::object(properties, &[&["type"], required].concat());
        schema["not"] = json!({"required": ["expires_in", "expires_at"]});
        schema
    }

    pub(crate) fn tags_schema() -> Value {
        json!({"type": "array", "items": reference("Tag"), "maxItems": Self::MAX_TAGS})
    }

    pub(crate) fn data_schema() -> Value {
        let kib = Self::MAX_DATA / 1024;
        let description = format!("At most {kib} KiB of JSON, {MAX_DEPTH} levels deep");
        json!({"type": "object", "description": description})
    }
}

fn event_type(value: Value) -> Result<EventType, Invalid> {
    if value == "status" {
        return Err(Invalid::value(
            "notification, progress or event; status is the server's own",
        ));
    }
    Fields::parsed(value)
}

/// Without a type nothing is known of the other fields, so only it is refused.
fn type_alone(fields: Fields) -> Invalid {
    let mut invalid = fields.finish().expect_err("the type was refused");
    invalid.errors.retain(|error| error.field == "type");
    Invalid {
        unnamed: 0,
        ..invalid
    }
}

fn tags(value: Value) -> Result<Arc<[Tag]>, Invalid> {
    let max = Draft::MAX_TAGS;
    let expected = || {
        Invalid::value(format!(
            "an array of up to {max} tags, each 1 to 128 of the characters A-Z a-z 0-9 . _ : ~ -, not only dots"
        ))
    };
    let values = array(value).map_err(|_| expected())?;
    if values.len() > max {
        return Err(expected());
    }
    let tags = values.into_iter().map(Fields::parsed);
    tags.collect::<Result<_, _>>().map_err(|_| expected())
}

fn expiry(fields: &mut Fields) -> Option<Expiry> {
    let seconds = fields.optional("expires_in", integer(1..=Draft::MAX_EXPIRES_IN));
    let time = fields.optional("expires_at", Fields::parsed);
    match (seconds, time) {
        (Some(_), Some(_)) => {
            let expected = "either expires_in or expires_at, not both";
            fields.refuse(Invalid::field("expires_in", expected));
            None
        }
        (Some(seconds), None) => Some(Expiry::In(Duration::from_secs(seconds))),
        (None, time) => time.map(Expiry::At),
    }
}

/// A batch as publishers write it: one event, or an array of them, each of
/// which has to be right.
impl Draft {
    /// The most events in one array.
    pub const MAX_BATCH: usize = 1_000;

    /// Reads one event or an array of 1 to [`Self::MAX_BATCH`]; all or nothing.
    pub fn parse_batch(value: Value) -> Result<Vec<Self>, Invalid> {
        let Value::Array(values) = value else {
            return Ok(vec![Self::parse(value)?]);
        };
        if values.is_empty() || values.len() > Self::MAX_BATCH {
            let max = Self::MAX_BATCH;
            return Err(Invalid::value(format!(
                "an event or an array of 1 to {max} events"
            )));
        }
        let mut drafts = Vec::with_capacity(values.len());
        let mut refusals = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            match Self::parse(value) {
                Ok(draft) => drafts.push(draft),
                Err(invalid) => refusals.push(invalid.within(&format!("[{index}]"))),
            }
        }
        Invalid::collect(refusals)?;
        Ok(drafts)
    }
}
