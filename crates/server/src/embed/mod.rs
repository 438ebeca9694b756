//! The server within a program: tools of its own beside the server's, and
//! everything that is published going through the same log.
//!
//! - [`McpServer::builder`] puts it together; [`McpServer::run`] serves until
//!   Ctrl-C, [`McpServer::start`] until the program says so.
//! - A [`Tool`] is what models call. Each [`Call`] brings a [`Publisher`].
//! - A [`MessageStore`] is the log, as seen by one client after another.

mod builder;
mod publisher;
mod tool;

pub use builder::{BuildError, McpServer, McpServerBuilder, RunningServer};
pub use publisher::{MessageStore, Publisher, SendError};
pub use tool::{Call, Tool, ToolFailure, ToolResult};
