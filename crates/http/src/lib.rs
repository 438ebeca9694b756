//! The HTTP doors: streams for browsers and curl, publishing, reading the log,
//! health and metrics.
//!
//! - [`router`] is all of it: a list of doors (`door.rs`), each a path with what
//!   is served there and how `/openapi.json` describes it (`operation.rs`,
//!   `openapi.rs`). What a door does is in the file of its noun: `stream.rs`,
//!   `publish.rs`, `events.rs`, `groups.rs`, …. All are behind the guard
//!   (`guard.rs`) that looks at Host and Origin before anything else, and behind
//!   `identity.rs`, which finds out who asks. What a door does it does through the
//!   `Caller` that comes of that. All answers have the
//!   headers of `headers.rs`.
//! - [`plain_stream`] is the event stream alone, for another crate to serve on
//!   a path that it shares.
//! - [`serve`] accepts connections until it is told to stop, and then lets them
//!   finish. `wire.rs` is one of them, as far as streams need to know of it;
//!   `peer.rs` tells peers that are gone from those that do not read. `head.rs`
//!   reads the heads of plain requests; `differential.rs` holds it against hyper.
//! - `shards/` are the streams that leave hyper. What brings them there is in
//!   `serve.rs`: `peek.rs` looks, the router admits, `handoff.rs` is what it leaves.
//! - [`Tls`] is what connections are encrypted with, if they are; `certificate.rs`
//!   reads it from files or makes one. `http2.rs` are the bounds of HTTP/2, which
//!   is spoken over TLS only, to clients that ask for it.
//! - `query.rs` reads query parameters and `path.rs` names in paths, strictly;
//!   `problem.rs` is what every refusal looks like.
//!
//! Start reading at [`router`]. This is the only crate that names axum and
//! hyper. It does not know MCP: what is served on `/mcp` is handed in.

mod activity;
mod address;
mod answer;
mod body;
mod capacity;
mod certificate;
mod clients;
mod confirmation;
mod connections;
mod dashboard;
mod deliveries;
#[cfg(any(test, fuzzing))]
mod differential;
mod door;
mod doorkeeper;
mod event_types;
mod events;
mod groups;
mod guard;
mod handoff;
mod head;
mod headers;
mod health;
mod http;
mod http2;
mod identity;
mod json;
mod keys;
mod lines;
mod media_type;
mod metrics;
mod openapi;
mod operation;
mod path;
mod peek;
mod peer;
mod plain;
mod problem;
mod publish;
mod query;
mod receipts;
mod resource_metadata;
mod router;
mod serve;
mod session;
#[cfg(unix)]
mod shards;
mod speech;
mod stream;
mod tasks;
mod tickets;
mod tls;
mod webhook_deliveries;
mod webhooks;
mod welcome;
mod wire;

pub use address::{ProxyHeader, TrustedProxies};
pub use capacity::Capacity;
pub use certificate::{Flaw, TlsError, TlsFiles};
pub use doorkeeper::Doorkeeper;
pub use guard::{GuardConfig, Origins};
pub use http::{Http, HttpConfig, Settings};
pub use ipnet::IpNet;
pub use router::{Mcp, plain_stream, router};
pub use serve::{Open, ServeConfig, serve};
pub use stream::StreamConfig;
pub use tls::Tls;

/// What the targets in `fuzz/` call.
#[cfg(fuzzing)]
pub mod fuzz {
    /// Panics if the reader of heads panics or disagrees with hyper about `bytes`.
    pub fn head(bytes: &[u8]) {
        crate::differential::check_head(bytes);
    }
}
