use async_trait::async_trait;
use notification_event::{Draft, JsonObject, Priority};
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::names::Names;
use crate::schemas;
use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

const NAMES: Names = Names(&[
    ("clients", "audience.clients"),
    ("groups", "audience.groups"),
]);

/// Publishes one event of an application's own.
pub(crate) struct PublishEvent;

#[async_trait]
impl Tool for PublishEvent {
    fn descriptor(&self) -> rmcp::model::Tool {
        let max_data = Draft::MAX_DATA / 1024;
        let input = json!({
            "type": "object",
            "properties": {
                "name": schemas::identifier(
                    "What happened, such as incident.created: by this name programs know what \
                     data has"
                ),
                "topic": schemas::topic(
                    "Where it belongs, such as ops/incidents: 1 to 8 segments of A-Z a-z 0-9 . _ - \
                     separated by /. Left out, it is default"
                ),
                "data": {
                    "type": "object",
                    "description": format!(
                        "What programs need to know of it, at most {max_data} KiB of JSON"
                    )
                },
                "title": {
                    "type": "string", "minLength": 1, "maxLength": Draft::MAX_TITLE,
                    "description": "A few words for people who see it"
                },
                "tags": {
                    "type": "array", "items": schemas::identifier("One tag"),
                    "maxItems": Draft::MAX_TAGS,
                    "description": "Words by which subscribers can filter, such as db or billing"
                },
                "priority": {
                    "type": "integer", "minimum": Priority::Min.number(),
                    "maximum": Priority::Urgent.number(), "default": Priority::default().number(),
                    "description": "How urgent it is: 1 min, 2 low, 3 default, 4 high, 5 urgent"
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
                "collapse_key": schemas::identifier(
                    "What events that replace one another have in common: a newer one with the \
                     same key, topic and audience takes the place of one that has not been sent"
                ),
                "event_id": schemas::identifier(
                    "What identifies it, if you want to be able to try again: published again \
                     under the same event_id, it is the same event. Left out, the server chooses"
                ),
                "require_ack": {
                    "type": "boolean", "default": false,
                    "description": "Whether you want to know who has seen it: clients are asked to \
                                    acknowledge it, and get_receipts says who has"
                },
                "expires_in": {
                    "type": "integer", "minimum": 1, "maximum": Draft::MAX_EXPIRES_IN,
                    "description": "After how many seconds it is not worth delivering any more. \
                                    Either this or expires_at"
                },
                "expires_at": {
                    "type": "string", "format": "date-time",
                    "description": "From when on it is not worth delivering any more, as an RFC \
                                    3339 time. Either this or expires_in"
                }
            },
            "required": ["name"],
            "additionalProperties": false
        });
        let output = json!({
            "type": "object",
            "properties": {
                "event_id": {
                    "type": "string",
                    "description": "What identifies the event in every stream"
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
                },
                "duplicate": {
                    "type": "boolean",
                    "description": "Whether an event with this event_id had been published before, \
                                    and nothing was done now"
                }
            },
            "required": ["event_id", "cursor", "subscribers", "clients_away", "duplicate"],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "publish_event",
            "Publishes an event of your own for programs to act on: a name that says what \
             happened, and data. Everyone who is connected gets it at once, or, with clients or \
             groups, only those; it is kept in the log for those who connect later, and cannot \
             be taken back. Answers when it is stored. Use it where programs listen for events \
             of that name. To tell people something, use send_notification; for how far a long \
             job is, report_progress.",
            schema(input),
        )
        .with_title("Publish event")
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
        fields.insert("type".to_owned(), "event".into());
        let draft = Draft::parse(fields.into()).map_err(|invalid| NAMES.refused(invalid))?;
        let published = call.caller.publish_one(draft).await;
        let published = published.map_err(|error| NAMES.unpublished(error))?;
        Ok(json!({
            "event_id": published.event_id,
            "cursor": published.cursor,
            "subscribers": published.subscribers,
            "clients_away": published.clients_away,
            "duplicate": published.is_duplicate,
        }))
    }
}
