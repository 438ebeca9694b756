//! Sessions, for clients of the revisions that begin with `initialize`.
//!
//! - A [`Session`](session::Session) is what is known of one such client. Its
//!   GET stream is a stream of events like any other, in the words of MCP
//!   (`wording.rs`): a place in the log. So it is resumed from the log, and
//!   nothing is kept for a client that does not read.
//! - A [`Reply`](reply::Reply) is what a call is answered with, kept for a
//!   while in case that the connection breaks under it.
//! - [`Sessions`](registry::Sessions) are all of them, each for its principal only.
//! - [`SessionCalls`] answers requests that name a session, and begins them.

mod calls;
mod level;
mod registry;
mod reply;
mod session;
mod wording;

pub(crate) use calls::{SessionCalls, Stream, takes_streams};
pub(crate) use registry::Sessions;
pub use registry::SessionsConfig;
