use async_trait::async_trait;
use notification_event::{EventId, Fields, JsonObject};
use notification_hub::{Fate, RecipientKind};
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::schemas;
use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

/// Says who got an event, and who did not, and why.
pub(crate) struct ExplainDelivery;

#[async_trait]
impl Tool for ExplainDelivery {
    fn descriptor(&self) -> rmcp::model::Tool {
        let input = json!({
            "type": "object",
            "properties": {
                "event_id": schemas::identifier(
                    "Which event: its event_id, or the notification_id that send_notification \
                     answered"
                )
            },
            "required": ["event_id"],
            "additionalProperties": false
        });
        let text = |description: &str| json!({ "type": "string", "description": description });
        let time = |description: &str| json!({ "type": "string", "format": "date-time", "description": description });
        let counts = |description: &str| {
            json!({
                "type": "object", "description": description,
                "additionalProperties": { "type": "integer" }
            })
        };
        let output = json!({
            "type": "object",
            "properties": {
                "event_id": text("The event_id that was given"),
                "cursor": text("Its place in the log"),
                "topic": text("Its topic"),
                "timestamp": time("When it was published"),
                "outcomes": counts("How many recipients there are of each outcome"),
                "reasons": counts("How many there are of each reason"),
                "recipients": {
                    "type": "array",
                    "description": "Open streams, clients whose place is kept, and webhooks; \
                                    those who wanted the event first",
                    "items": {
                        "type": "object",
                        "properties": {
                            "kind": {
                                "type": "string", "enum": RecipientKind::ALL.map(RecipientKind::as_str),
                                "description": "What it is"
                            },
                            "id": text("What names it"),
                            "client_id": text("Which client it is, if it has a name"),
                            "transport": text("How it is reached"),
                            "outcome": {
                                "type": "string", "enum": Fate::WORDS,
                                "description": "What became of the event"
                            },
                            "reason": text("Why it has not, or not yet, got it"),
                            "delivered_at": time("When it got it, if that is known"),
                            "acknowledged_at": time("When it acknowledged it")
                        },
                        "required": ["kind", "id", "transport", "outcome"],
                        "additionalProperties": false
                    }
                },
                "omitted": {
                    "type": "integer",
                    "description": "How many recipients are counted and not named"
                }
            },
            "required": [
                "event_id", "cursor", "topic", "timestamp", "outcomes", "reasons", "recipients",
                "omitted"
            ],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "explain_delivery",
            "Says who got an event, and who did not, and why: its filter or grants did not let it \
             through, it was for others, it had expired, a newer one took its place, its reader \
             is behind, its webhook is suspended. Changes nothing. Use it when somebody should \
             have been told and was not.",
            schema(input),
        )
        .with_title("Explain delivery")
        .with_raw_output_schema(schema(output))
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
    }

    async fn call(&self, call: &Call, arguments: JsonObject) -> Result<Value, ToolError> {
        let mut fields = Fields::new(arguments);
        let event_id = fields.required("event_id", Fields::parsed);
        fields.finish()?;
        let event_id: EventId = event_id.expect("what is not there was refused");
        match call.caller.explain(event_id.clone()).await? {
            Some(explanation) => Ok(explanation.to_json()),
            None => Err(ToolError::Unknown(format!(
                "no event {event_id} is in the log: it was never published, or is not kept any more"
            ))),
        }
    }
}
