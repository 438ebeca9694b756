use async_trait::async_trait;
use notification_event::{EventId, Fields, JsonObject};
use notification_hub::Receipt;
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::schemas;
use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

/// Says who has got, and who has acknowledged, one event.
pub(crate) struct GetReceipts;

#[async_trait]
impl Tool for GetReceipts {
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
        let time = |description: &str| {
            json!({
                "type": ["string", "null"], "format": "date-time", "description": description
            })
        };
        let output = json!({
            "type": "object",
            "properties": {
                "event_id": { "type": "string", "description": "The event_id that was given" },
                "require_ack": {
                    "type": "boolean",
                    "description": "Whether the event asks for it; if not, there are no receipts"
                },
                "receipts": {
                    "type": "array",
                    "description": "Each client that the event was meant for by clients or groups, \
                                    or that has got it under its client_id, in order of the names",
                    "items": {
                        "type": "object",
                        "properties": {
                            "client_id": { "type": "string", "description": "Which client" },
                            "delivered_at": time("When it first got it; null: not yet"),
                            "acknowledged_at": time("When it acknowledged it; null: not yet")
                        },
                        "required": ["client_id", "delivered_at", "acknowledged_at"],
                        "additionalProperties": false
                    }
                }
            },
            "required": ["event_id", "require_ack", "receipts"],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "get_receipts",
            "Says who has got, and who has acknowledged, an event that was published with \
             require_ack. Changes nothing. Use it after send_notification with require_ack, to \
             see whether the people you told have seen it; give them time, and ask again.",
            schema(input),
        )
        .with_title("Get receipts")
        .with_raw_output_schema(schema(output))
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
    }

    async fn call(&self, call: &Call, arguments: JsonObject) -> Result<Value, ToolError> {
        let mut fields = Fields::new(arguments);
        let event_id = fields.required("event_id", Fields::parsed);
        fields.finish()?;
        let event_id: EventId = event_id.expect("what is not there was refused");
        match call.caller.receipts(event_id.clone()).await? {
            Some(found) => Ok(json!({
                "event_id": event_id,
                "require_ack": found.require_ack,
                "receipts": Vec::from_iter(found.receipts.iter().map(to_json)),
            })),
            None => Err(ToolError::Unknown(format!(
                "no event {event_id} is in the log: it was never published, or is not kept any more"
            ))),
        }
    }
}

fn to_json(receipt: &Receipt) -> Value {
    json!({
        "client_id": receipt.client,
        "delivered_at": receipt.delivered_at,
        "acknowledged_at": receipt.acknowledged_at,
    })
}
