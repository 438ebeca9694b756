use async_trait::async_trait;
use notification_event::{Draft, JsonObject, Notification, NotificationType, Priority};
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::names::Names;
use crate::schemas;
use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

/// The events' own `type` is what the argument `type` is a type of.
const NAMES: Names = Names(&[
    ("type", "notification_type"),
    ("clients", "audience.clients"),
    ("groups", "audience.groups"),
]);

/// Publishes one notification.
pub(crate) struct SendNotification;

#[async_trait]
impl Tool for SendNotification {
    fn descriptor(&self) -> rmcp::model::Tool {
        let max_data = Draft::MAX_DATA / 1024;
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
                },
                "topic": schemas::topic(
                    "Where it belongs, such as ops/backups, so that people can subscribe to what \
                     concerns them: 1 to 8 segments of A-Z a-z 0-9 . _ - separated by /. Left out, \
                     it is default"
                ),
                "title": {
                    "type": "string", "minLength": 1, "maxLength": Draft::MAX_TITLE,
                    "description": "A few words to stand above the message"
                },
                "priority": {
                    "type": "integer", "minimum": Priority::Min.number(),
                    "maximum": Priority::Urgent.number(), "default": Priority::default().number(),
                    "description": "How urgent it is: 1 min (nobody has to look), 2 low, \
                                    3 default, 4 high, 5 urgent (somebody has to look now). \
                                    People may be woken by 5"
                },
                "tags": {
                    "type": "array", "items": schemas::identifier("One tag"),
                    "maxItems": Draft::MAX_TAGS,
                    "description": "Words by which subscribers can filter, such as db or billing"
                },
                "clients": schemas::names(
                    "A client_id",
                    "Only these clients get it, and the members of groups, if there are any \
                     given; left out together with groups, everyone does"
                ),
                "groups": schemas::names(
                    "A group's name",
                    "Only the clients that are in one of these groups get it, and those in clients"
                ),
                "require_ack": {
                    "type": "boolean", "default": false,
                    "description": "Whether you want to know who has seen it: clients are asked to \
                                    acknowledge it, and get_receipts says who has"
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
                },
                "clients_away": {
                    "type": "integer", "minimum": 0,
                    "description": "How many clients that are not connected now will get it when \
                                    they come back, because the server keeps their place"
                }
            },
            "required": ["notification_id", "cursor", "subscribers", "clients_away"],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "send_notification",
            "Broadcasts a message to everyone who is connected, at once, and keeps it in the log \
             for those who connect later; with clients or groups, to those only. Answers when it \
             is stored. Use it for something people should know now; it cannot be taken back. \
             For how far a long job is, use report_progress instead.",
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

    async fn call(&self, call: &Call, arguments: JsonObject) -> Result<Value, ToolError> {
        let mut fields = NAMES.to_fields(arguments);
        fields.insert("type".to_owned(), "notification".into());
        let draft = Draft::parse(fields.into()).map_err(|invalid| NAMES.refused(invalid))?;
        let published = call.caller.publish_one(draft).await;
        let published = published.map_err(|error| NAMES.unpublished(error))?;
        Ok(json!({
            "notification_id": published.event_id,
            "cursor": published.cursor,
            "subscribers": published.subscribers,
            "clients_away": published.clients_away,
        }))
    }
}
