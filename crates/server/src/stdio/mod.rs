//! MCP on standard input and output, for clients that start a process (revision
//! 2025-11-25, Transports, "stdio").
//!
//! - [`Stdio`] is the command: lines go in and come out, and a server answers
//!   them. `bridge.rs` takes each line and sees that a request gets one answer.
//! - A server (`server.rs`) is what a request is sent to: one in this process, on
//!   a data directory of its own (`own.rs`), or one that runs, by its URL
//!   (`remote.rs`). Both are asked over the endpoint `/mcp` and answer as it does,
//!   so that both lanes are the same here as over HTTP.
//! - A message (`message.rs`) is read as far as its headers need. `relay.rs` puts
//!   what the server answers into lines, with the events (`events.rs`) of streams.
//! - A client that begins with `initialize` gets a session (`session.rs`), which is
//!   begun again when the server has forgotten it, and a stream (`listen.rs`).
//! - `lines.rs` are standard input and output, each with a thread of its own.

mod bridge;
mod failure;
mod lines;
mod listen;
mod message;
mod own;
mod relay;
mod remote;
mod requests;
mod server;
mod session;

pub use bridge::Stdio;
pub use lines::{Input, Output, Writing};
pub use remote::endpoint_url;
