//! MCP's extension for events, `io.modelcontextprotocol/events` (SEP-3415): event
//! types are listed, and what happens is asked for or comes on a stream. All of it
//! is read from the log, of which a cursor is a place.
//!
//! - What a subscription wants (`wanted.rs`) is an event type, arguments that choose
//!   among its events, and from where on.
//! - `list.rs`, `poll.rs`, `push.rs` and `webhook.rs` are the methods. A stream is one of
//!   events like any other, in other words, as that of a session is; what is posted is
//!   a webhook like any other.
//! - `errors.rs` are the errors, by the one or the other set of numbers.

mod errors;
mod list;
mod poll;
mod push;
mod wanted;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use notification_hub::{Caller, Hub, StreamOrder};
use notification_webhook::Webhooks;
use rmcp::model::ErrorData;
use serde_json::{Value, json};

pub use self::errors::ErrorCodes;
use self::push::Pushed;
use crate::Identity;
use crate::message::Message;

/// The name of the extension.
pub(crate) const EXTENSION: &str = "io.modelcontextprotocol/events";

/// Its methods.
pub(crate) const METHODS: [&str; 5] = [
    "events/list",
    "events/poll",
    "events/stream",
    "events/subscribe",
    "events/unsubscribe",
];

/// How events are subscribed to.
#[derive(Clone, Copy, Debug)]
pub struct EventsConfig {
    /// By which numbers errors go.
    pub error_codes: ErrorCodes,
    /// After how long a silence a stream says where it is: at most 30 seconds.
    pub heartbeat: Duration,
}

/// Answers the methods of the extension. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct EventMethods {
    config: EventsConfig,
    identity: Identity,
    pushed: Arc<Pushed>,
    webhooks: Webhooks,
}

/// What such a request is answered with.
pub(crate) enum Answered {
    Result(Value),
    Stream(Box<StreamOrder>),
}

impl EventMethods {
    pub(crate) fn new(config: EventsConfig, identity: Identity, webhooks: Webhooks) -> Self {
        Self {
            config,
            identity,
            webhooks,
            pushed: Arc::default(),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) async fn answer(
        &self,
        caller: &Caller,
        message: &Message,
    ) -> Result<Answered, ErrorData> {
        let codes = self.config.error_codes;
        let params = &message.params;
        let result = match message.method.as_str() {
            "events/list" => list::list(caller, params, codes)?,
            "events/poll" => poll::poll(caller, params, codes).await?,
            "events/subscribe" => webhook::subscribe(caller, &self.webhooks, params, codes).await?,
            "events/unsubscribe" => {
                webhook::unsubscribe(caller, &self.webhooks, params, codes).await?
            }
            _ => {
                let id = message.id.clone().unwrap_or_default();
                let heartbeat = self.config.heartbeat;
                let stream = self.pushed.stream(
                    caller,
                    &id,
                    params,
                    heartbeat,
                    codes,
                    self.identity.clone(),
                );
                return Ok(Answered::Stream(Box::new(stream.await?)));
            }
        };
        Ok(Answered::Result(result))
    }

    /// Ends the streams of event types that are not what they were, as they change,
    /// until it is dropped.
    pub(crate) async fn look_after(&self, hub: &Hub) {
        let mut changes = hub.event_types_changed();
        while changes.changed().await.is_ok() {
            self.pushed.look(hub);
        }
    }
}

/// What a server says that has the extension: of the extension, and as clients know
/// it that came before.
pub(crate) fn advertise(capabilities: &mut Value) {
    capabilities["extensions"][EXTENSION] = json!({ "listChanged": true });
    capabilities["events"] = json!({});
}
