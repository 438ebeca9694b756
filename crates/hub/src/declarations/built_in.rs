use notification_event::{Declaration, EventType, Filter, JsonObject, TaskPhase};
use serde_json::{Value, json};

use crate::Frame;

/// What the server itself declares, so that all that it knows can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BuiltIn {
    /// Somebody was told something.
    NotificationSent,
    /// A job has said how far it is.
    TaskProgressed,
    /// A job has ended.
    TaskFinished,
    /// A client is here.
    ClientJoined,
    /// A client has gone.
    ClientLeft,
}

impl BuiltIn {
    pub(super) const ALL: [Self; 5] = [
        Self::NotificationSent,
        Self::TaskProgressed,
        Self::TaskFinished,
        Self::ClientJoined,
        Self::ClientLeft,
    ];

    /// Which events are of this kind, as far as a filter can tell.
    pub(super) fn filter(self) -> Filter {
        match self {
            Self::NotificationSent => Filter {
                types: vec![EventType::Notification],
                ..Filter::default()
            },
            Self::TaskProgressed | Self::TaskFinished => Filter {
                types: vec![EventType::Progress],
                ..Filter::default()
            },
            Self::ClientJoined | Self::ClientLeft => Filter {
                topics: vec!["$presence".parse().expect("a pattern")],
                names: vec![self.name().parse().expect("a name")],
                ..Filter::default()
            },
        }
    }

    /// Whether an event that passes the filter is.
    pub(super) fn is(self, frame: &Frame) -> bool {
        use notification_event::Collapse;
        let has_ended = matches!(
            &frame.head.collapse,
            Some(Collapse::Task {
                phase: TaskPhase::Ended,
                ..
            })
        );
        match self {
            Self::TaskProgressed => !has_ended,
            Self::TaskFinished => has_ended,
            Self::NotificationSent | Self::ClientJoined | Self::ClientLeft => true,
        }
    }

    /// What is delivered of such an event: all that it says but what every event has.
    pub(super) fn data(self, mut event: JsonObject) -> JsonObject {
        if let Self::ClientJoined | Self::ClientLeft = self {
            return match event.remove("data") {
                Some(Value::Object(data)) => data,
                _ => JsonObject::new(),
            };
        }
        for common in ["type", "event_id", "notification_id", "timestamp"] {
            event.shift_remove(common);
        }
        event
    }

    fn name(self) -> &'static str {
        match self {
            Self::NotificationSent => "notification.sent",
            Self::TaskProgressed => "task.progressed",
            Self::TaskFinished => "task.finished",
            Self::ClientJoined => "client.joined",
            Self::ClientLeft => "client.left",
        }
    }

    pub(super) fn declaration(self) -> Declaration {
        let text = json!({"type": "string"});
        let task = |states: &[&str]| {
            json!({
                "task_id": text, "task_name": text, "topic": text, "message": text,
                "state": {"type": "string", "enum": states},
                "progress": {"type": "number", "minimum": 0, "maximum": 100},
                "step": {"type": "integer"}, "total_steps": {"type": "integer"},
                "started_at": {"type": "string", "format": "date-time"},
            })
        };
        let required_of_task = ["task_id", "task_name", "topic", "message", "state"];
        let by_task = json!({"topic": "glob", "task_id": "equals", "task_name": "glob"});
        let (description, properties, required, arguments) = match self {
            Self::NotificationSent => (
                "Somebody was told something: a notification was sent.",
                json!({
                    "notification_type": {
                        "type": "string", "enum": ["info", "success", "warning", "error"],
                    },
                    "message": text, "topic": text, "title": text,
                    "priority": {"type": "integer", "minimum": 1, "maximum": 5},
                    "tags": {"type": "array", "items": text},
                    "data": {"type": "object"},
                }),
                vec!["notification_type", "message", "topic"],
                json!({
                    "topic": "glob", "notification_type": "one_of", "message": "glob",
                    "priority": "min",
                }),
            ),
            Self::TaskProgressed => (
                "A job has said how far it is, or has not reported for long.",
                task(&["running", "stalled"]),
                required_of_task.to_vec(),
                by_task,
            ),
            Self::TaskFinished => {
                let mut by_end = by_task;
                by_end["state"] = "one_of".into();
                (
                    "A job has ended: it was completed, has failed, or was cancelled.",
                    task(&["completed", "failed", "cancelled"]),
                    required_of_task.to_vec(),
                    by_end,
                )
            }
            Self::ClientJoined => (
                "A client has its first connection.",
                json!({"client_id": text}),
                vec!["client_id"],
                json!({"client_id": "glob"}),
            ),
            Self::ClientLeft => (
                "A client has had no connection for a while.",
                json!({"client_id": text}),
                vec!["client_id"],
                json!({"client_id": "glob"}),
            ),
        };
        let declared = json!({
            "description": description,
            "payload_schema": {
                "type": "object", "properties": properties, "required": required,
            },
            "arguments": arguments,
        });
        let name = self.name().parse().expect("a name");
        Declaration::parse(name, declared).expect("a declaration")
    }
}
