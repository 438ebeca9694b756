//! The notification server as a library: configuration, wiring, start and stop.
//!
//! - [`Config`] is everything that can be set, read from a file, the
//!   environment and flags (`config/`), each value with its origin.
//! - [`Server::start`] opens the log and wires hub, HTTP doors and MCP together;
//!   [`Server::run`] serves until it is told to stop, and then drains.
//! - [`McpServer`] is the server within a program, with tools of its own (`embed/`).
//! - [`Stdio`] speaks MCP over lines, for clients that start a process (`stdio/`).
//!
//! Start reading at [`Server::start`]: it is the whole server on one page.
//! Command line, signals and logging belong to the binary (`main.rs`, `cli.rs`).

mod access;
mod config;
mod embed;
mod event_stream;
mod jwks;
mod keys;
mod open_files;
mod openness;
mod reload;
mod server;
mod stdio;
mod tokens;

pub use access::SecretError;
pub use config::{
    AddressQuota, Auth, AuthMode, Clients, Config, ConfigError, DataDir, Durability,
    EventErrorCodes, Events, Flag, Http, Jwt, Limits, LogFormat, Logging, Mcp, Quota, Retention,
    Shutdown, Stream, Tasks, Tls, Webhooks,
};
pub use embed::{
    BuildError, Call, McpServer, McpServerBuilder, MessageStore, Publisher, RunningServer,
    SendError, Tool, ToolFailure, ToolResult,
};
pub use notification_event::{Declaration, Match};
pub use notification_hub::{Delivery, Published, Subscribe};

pub use jwks::{JwksFetcher, JwksSource, JwksUrl, NoRoots};
pub use keys::KeyStore;
pub use reload::Reloader;
pub use server::{Server, StartError};
pub use stdio::{Input, Output, Stdio, Writing, endpoint_url};
pub use tokens::{FileReason, KeySource, TokenFileError};
