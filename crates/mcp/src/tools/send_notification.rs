use async_trait::async_trait;
use notification_event::{Draft, JsonObject, Notification, NotificationType};
use notification_hub::Hub;
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::tool::{Tool, ToolError};
use crate::toolbox::schema;

/// Publishes one notification.
pub(crate) struct SendNotification {
    hub: Hub,
}

impl SendNotification {
    pub(crate) fn new(hub: Hub) -> Self {
        Self { hub }
    }
}

#[async_trait]
impl Tool for SendNotification {
    fn descriptor(&self) -> rmcp::model::Tool {
        let max_data = Notification::MAX_DATA / 1024;
        let input = json!({
            "type": "object",
            "properties": {
                "message": {
                    "type": "string", "minLength": 1, "maxLength": Notification::MAX_MESSAGE,
                    "description": "What to tell people, as plain text"
                },
                "type": {
                    "type": "string", "enum": NotificationType::ALL.map(NotificationType::as_str),
                    "default": NotificationType::default().as_str(),
                    "description": "How it is meant: info is good to know, warning may need \
                                    attention, error says that something failed, success that \
                                    it worked"
                },
                "data": {
                    "type": "object",
                    "description": format!(
                        "Anything else that programs can use, at most {max_data} KiB of JSON"
                    )
                }
            },
            "required": ["message"],
            "additionalProperties": false
        });
        let output = json!({
            "type": "object",
            "properties": {
                "notification_id": {
                    "type": "string",
                    "description": "What identifies the notification in every stream"
                },
                "cursor": {
                    "type": "string",
                    "description": "Where it stands in the log: streams can resume after it"
                },
                "subscribers": {
                    "type": "integer", "minimum": 0,
                    "description": "How many open streams it went to"
                }
            },
            "required": ["notification_id", "cursor", "subscribers"],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "send_notification",
            "Broadcasts a message to everyone who is connected, at once, and keeps it in the log \
             for those who connect later. Answers when it is stored. Use it for something people \
             should know now; it cannot be taken back.",
            schema(input),
        )
        .with_title("Send notification")
        .with_raw_output_schema(schema(output))
        .with_annotations(
            ToolAnnotations::new()
                .read_only(false)
                .destructive(false)
                .idempotent(false)
                .open_world(false),
        )
    }

    async fn call(&self, mut arguments: JsonObject) -> Result<Value, ToolError> {
        // The events' own `type` is what the argument `type` is a type of.
        if let Some(notification_type) = arguments.insert("type".into(), "notification".into()) {
            arguments.insert("notification_type".into(), notification_type);
        }
        let draft = Draft::parse(arguments.into())?;
        let published = self.hub.publish_one(draft).await?;
        Ok(json!({
            "notification_id": published.event_id,
            "cursor": published.cursor,
            "subscribers": published.subscribers,
        }))
    }
}
