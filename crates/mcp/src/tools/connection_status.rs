use async_trait::async_trait;
use notification_event::JsonObject;
use rmcp::model::ToolAnnotations;
use serde_json::{Value, json};

use crate::tool::{Call, Tool, ToolError};
use crate::toolbox::schema;

/// Says who is listening, and how to listen.
pub(crate) struct ConnectionStatus {
    /// Whether there is an address at which streams are opened.
    listens: bool,
    endpoint: String,
    stream_endpoint: String,
    has_streams: bool,
}

/// What stands in place of an address where there is none but standard input.
const NO_ADDRESS: &str = "stdio:notification-server";

impl ConnectionStatus {
    /// Tells that the server is reached there; nowhere if it listens on no address.
    /// `has_streams` says whether there are streams for others than MCP clients.
    pub(crate) fn new(base_url: Option<&str>, has_streams: bool) -> Self {
        let Some(base_url) = base_url else {
            return Self {
                listens: false,
                endpoint: NO_ADDRESS.to_owned(),
                stream_endpoint: NO_ADDRESS.to_owned(),
                has_streams: false,
            };
        };
        let base_url = base_url.trim_end_matches('/');
        Self {
            listens: true,
            endpoint: format!("{base_url}/mcp"),
            stream_endpoint: format!("{base_url}/v1/stream"),
            has_streams,
        }
    }

    fn usage(&self) -> String {
        let Self {
            endpoint,
            stream_endpoint,
            ..
        } = self;
        if !self.listens {
            return "This server was started by its only client and listens on no address, so \
                    nobody else can receive events. To have others receive them, run \
                    `notification-server` and connect to it with `notification-server stdio --url`."
                .to_owned();
        }
        if !self.has_streams {
            return "Streams of events are switched off here (stream.enabled); MCP clients and \
                    webhooks get events all the same."
                .to_owned();
        }
        format!(
            "In a terminal:\n  curl -N -H 'Accept: text/event-stream' {endpoint}\n\
             In a browser:\n  new EventSource('{endpoint}').onmessage = ({{ data }}) => …\n\
             {stream_endpoint} is the same stream. Each event is one JSON object, whose type is \
             notification, progress, event or status, and its id is a cursor. To resume after it \
             and miss nothing, send it back in the header Last-Event-ID (an EventSource that \
             reconnects does) or as ?last_event_id=CURSOR. To replay older events, add \
             ?since=10m (or an RFC 3339 time, a cursor, or all)."
        )
    }
}

#[async_trait]
impl Tool for ConnectionStatus {
    fn descriptor(&self) -> rmcp::model::Tool {
        let input = json!({
            "type": "object",
            "properties": {},
            "additionalProperties": false
        });
        let output = json!({
            "type": "object",
            "properties": {
                "sse_enabled": {
                    "type": "boolean",
                    "description": "Whether events can be received over Server-Sent Events"
                },
                "active_connections": {
                    "type": "integer", "minimum": 0,
                    "description": "How many streams are open right now"
                },
                "endpoint": {
                    "type": "string", "format": "uri",
                    "description": "Where this server speaks MCP, and where GET opens a stream"
                },
                "stream_endpoint": {
                    "type": "string", "format": "uri",
                    "description": "Where GET opens a stream, too"
                },
                "uptime_seconds": {
                    "type": "number", "minimum": 0,
                    "description": "How long the server has been running"
                },
                "events_published": {
                    "type": "integer", "minimum": 0,
                    "description": "How many events were published since the server started"
                },
                "usage": {
                    "type": "string",
                    "description": "How to connect and how to resume, in words"
                }
            },
            "required": [
                "sse_enabled", "active_connections", "endpoint", "stream_endpoint",
                "uptime_seconds", "events_published", "usage"
            ],
            "additionalProperties": false
        });
        rmcp::model::Tool::new(
            "connection_status",
            "Says how many event streams are connected, how long the server has been running, \
             how many events it has published, and how to connect a stream. Changes nothing. \
             Use it before send_notification to see whether anyone is listening, or to tell \
             someone how to listen.",
            schema(input),
        )
        .with_title("Connection status")
        .with_raw_output_schema(schema(output))
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
    }

    async fn call(&self, call: &Call, _: JsonObject) -> Result<Value, ToolError> {
        Ok(json!({
            "sse_enabled": self.has_streams,
            "active_connections": call.caller.hub().connections(),
            "endpoint": self.endpoint,
            "stream_endpoint": self.stream_endpoint,
            "uptime_seconds": call.caller.hub().uptime().as_secs(),
            "events_published": call.caller.hub().events_published(),
            "usage": self.usage(),
        }))
    }
}
