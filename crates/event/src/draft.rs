use serde_json::Value;

use crate::fields::{Fields, object};
use crate::{Application, Audience, EventType, Invalid, JsonObject, Notification, Progress, Topic};

/// An event as its publisher described it, before it has an identity and a
/// place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Where it belongs.
    pub topic: Topic,
    /// Who it is for, if not for everyone who may read the topic.
    pub audience: Option<Audience>,
    /// What it says.
    pub body: Body,
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

    /// The payload that the publisher gave.
    pub(crate) fn data(&self) -> Option<&JsonObject> {
        match self {
            Self::Notification(notification) => notification.data.as_ref(),
            Self::Progress(_) => None,
            Self::Application(application) => Some(&application.data),
        }
    }
}

/// A body for everyone, on the default topic.
impl From<Body> for Draft {
    fn from(body: Body) -> Self {
        Self {
            topic: Topic::default(),
            audience: None,
            body,
        }
    }
}

impl Draft {
    /// Reads an event as publishers write it:
    ///
    /// - `{"type": "notification", "message", "notification_type"?, "title"?, "data"?}`
    /// - `{"type": "progress", "task_id", "task_name", "step", "total_steps", "progress"?, "message"?, "state"?}`
    /// - `{"type": "event", "name", "data"?}`
    ///
    /// each with `"topic"?` and `"audience"?`. What the server gives an event
    /// itself (`event_id`, `timestamp`) is refused like any other unknown field.
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
        let topic = fields.optional("topic", Fields::parsed);
        let audience = fields.optional("audience", |value| Audience::parse(object(value)?));
        fields.finish()?;
        Ok(Self {
            topic: topic.unwrap_or_default(),
            audience,
            body: body.expect("a body that could not be read was refused"),
        })
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
