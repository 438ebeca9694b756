use async_trait::async_trait;
use notification_event::{ClientId, EventId, Fields, Invalid, JsonObject};
use notification_hub::Acknowledge;
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::schemas;
use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

/// The most events that the hub takes at once.
const MAX_EVENTS: usize = 1_000;

/// Notes what a client has seen.
pub(crate) struct AcknowledgeEvents;

#[async_trait]
impl Tool for AcknowledgeEvents {
    fn descriptor(&self) -> rmcp::model::Tool {
        // That it is one of the two is not in the schema: several models'
        // APIs refuse tools with a oneOf at the top.
        let input = json!({
            "type": "object",
            "properties": {
                "client_id": schemas::identifier(
                    "Which client acknowledges: the client_id under which the events were received"
                ),
                "event_ids": {
                    "type": "array", "items": schemas::identifier("An event_id"),
                    "minItems": 1, "maxItems": MAX_EVENTS,
                    "description": "These events, which have to be for this client. Either this \
                                    or cursor"
                },
                "cursor": {
                    "type": "string",
                    "description": "Everything up to and including this place in the log, as the \
                                    server gave it. Either this or event_ids"
                }
            },
            "required": ["client_id"],
            "additionalProperties": false
        });
        let output = json!({
            "type": "object",
            "properties": {
                "receipts": {
                    "type": "integer", "minimum": 0,
                    "description": "How many events that ask for it were acknowledged by this \
                                    client for the first time"
                },
                "cursor": {
                    "type": "string",
                    "description": "Where the client goes on when it comes back; absent if the \
                                    server does not keep its place"
                }
            },
            "required": ["receipts"],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "acknowledge",
            "Tells the server, on behalf of a client, that events have been seen or dealt with. \
             Use it for events that ask for it (require_ack is true in them), after acting on \
             them, so that whoever sent them finds out; and for clients whose stream waits for \
             acknowledgements before it goes on. Doing it twice changes nothing. Do not \
             acknowledge for a person who has not seen the event.",
            schema(input),
        )
        .with_title("Acknowledge events")
        .with_raw_output_schema(schema(output))
        .with_annotations(
            ToolAnnotations::new()
                .read_only(false)
                .destructive(false)
                .idempotent(true)
                .open_world(false),
        )
    }

    async fn call(&self, call: &Call, arguments: JsonObject) -> Result<Value, ToolError> {
        let mut fields = Fields::new(arguments);
        let client = fields.required("client_id", Fields::parsed);
        let events = fields.optional("event_ids", event_ids);
        let cursor = fields.optional("cursor", Fields::parsed);
        fields.finish()?;
        let client: ClientId = client.expect("what is not there was refused");
        let what = match (events, cursor) {
            (Some(events), None) => Acknowledge::Events(events),
            (None, Some(cursor)) => Acknowledge::Through(cursor),
            _ => {
                let expected = "exactly one of the two";
                return Err(Invalid::field("event_ids, cursor", expected).into());
            }
        };
        let acknowledged = call.caller.acknowledge(&client, what).await?;
        let mut answer = json!({ "receipts": acknowledged.receipts });
        if let Some(cursor) = acknowledged.cursor {
            answer["cursor"] = json!(cursor);
        }
        Ok(answer)
    }
}

fn event_ids(value: Value) -> Result<Vec<EventId>, Invalid> {
    let ids = value.as_array().into_iter().flatten().cloned();
    ids.map(Fields::parsed).collect()
}
