//! The MCP endpoint (`/mcp`): what a request there is, and the tools it can call.
//!
//! - [`Mcp`] is the handle: made from a hub, it hands out endpoints and stops
//!   what their calls have started.
//! - [`Endpoint`] is the service on `/mcp`. It tells the lanes apart
//!   (`lane.rs`): streams go to the service it was given for them, calls are
//!   answered here (`plain_calls.rs`, and `modern_calls.rs` for revision
//!   2026-07-28; both by `stateless.rs`, which is `rmcp` without sessions).
//! - A message (`message.rs`) is one JSON-RPC message, checked before `rmcp`
//!   sees it; `metadata.rs` checks what a modern one says of itself, and that its
//!   headers say the same. A refusal (`refusal.rs`) is a JSON-RPC error with its
//!   HTTP status. Answers are JSON or a stream (`stream.rs`).
//! - A tool (`tool.rs`) has a schema, against which its arguments are checked
//!   (`arguments.rs`), and runs on a task of its own (`toolbox.rs`), from where it
//!   can say how far it is (`progress.rs`). Each is a
//!   file in `tools/`; what their schemas share is in `schemas.rs`, and where
//!   an argument has another name than the event's field, `names.rs` translates.
//!   How events of the log are shown to models is in `events.rs`.
//! - A resource (`resource.rs`) is read by its URI. A prompt (`prompt.rs`) is a
//!   question to a model, with the events that it is about. What people type to
//!   name one is completed (`completion.rs`).
//! - Who wants to hear that a resource, or the list of them, has changed watches it
//!   (`watches.rs`): a session on its stream, others by `subscriptions/listen`
//!   (`listen.rs`).
//! - Event types are subscribed to with the methods of an extension
//!   (`event_methods/`).
//! - A call that takes long goes on as a task where the client takes a handle for
//!   an answer (`task_handle.rs`); tasks are the hub's.
//! - `fixtures/` has tools, resources and prompts that only tests of conformance
//!   know, in builds for these tests.
//!
//! Start reading at the `Service` implementation of [`Endpoint`], then
//! `PlainCalls::answer`, then `Toolbox::call`.
//!
//! This is the only crate that names `rmcp`. It does not know axum or hyper:
//! Host, Origin and CORS are settled before a request gets here, and the plain
//! event stream is handed in.

mod arguments;
mod body;
mod completion;
mod denied;
mod endpoint;
mod event_methods;
mod events;
#[cfg(feature = "conformance-fixtures")]
mod fixtures;
mod handler;
mod identity;
mod lane;
mod listen;
mod mcp;
mod message;
mod metadata;
mod modern_calls;
mod names;
mod own_tool;
mod plain_calls;
mod progress;
mod prompt;
mod refusal;
mod resource;
mod schemas;
mod sessions;
mod shorten;
mod stateless;
mod stream;
mod task_handle;
mod tool;
mod toolbox;
mod tools;
mod watches;

pub use body::{Body, BoxError};
pub use endpoint::Endpoint;
pub use event_methods::{ErrorCodes, EventsConfig};
pub use identity::Identity;
pub use mcp::{Mcp, McpConfig};
pub use own_tool::{OwnCall, OwnTool, RunOwnTool};
pub use refusal::refusal;
pub use sessions::SessionsConfig;

/// The largest message that is taken, in bytes.
pub const MAX_MESSAGE: usize = message::Message::MAX_BODY;

/// What the targets in `fuzz/` call.
#[cfg(fuzzing)]
pub mod fuzz {
    use bytes::Bytes;
    use serde_json::Value;

    use crate::message::Message;
    use crate::{handler, metadata};

    /// Panics if the reader of messages panics, or takes one that it does not
    /// take for the same when it has been written, or refuses it with something
    /// else than a JSON-RPC error.
    pub fn message(json: &[u8]) {
        match Message::read(json) {
            Ok(message) => {
                let again = Message::read(&message.to_json()).expect("what is written is taken");
                assert_eq!(again, message);
                let _ = handler::misfit(&message.method, &message.params);
                let _ = metadata::complete(&message);
            }
            Err(refusal) => {
                let body = refusal.into_response::<Bytes>().into_body();
                let error: Value = serde_json::from_slice(&body).expect("JSON");
                assert!(error["jsonrpc"] == "2.0" && error["error"]["code"].is_i64());
            }
        }
    }
}
