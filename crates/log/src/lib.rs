//! The log: every event, in one order, for as long as it is kept.
//!
//! - [`EventLog`] is what the rest of the server knows: append a batch, read on
//!   from a position, find a time, prune what [`Retention`] no longer keeps.
//! - [`SqliteLog`] keeps it in one file that people can open, copy and query.
//! - [`MemoryLog`] keeps it as long as the process runs.
//! - `contract` (with the feature of that name) is the suite that every engine
//!   passes; read it for what the trait promises.
//!
//! Positions are dense: an engine gives each appended event the next one, so
//! counting events is subtraction, and finding a time or an amount of bytes is
//! a binary search. That is why the table needs no index but its key.
//!
//! This crate does not know who publishes or who listens, and reads no clock
//! to decide what is kept: time is passed in.

#[cfg(feature = "contract")]
pub mod contract;
mod event_log;
mod memory;
mod retention;
mod search;
mod sqlite;

pub use event_log::{Bounds, Entry, EventLog, LogError, Page, PageLimit};
pub use memory::MemoryLog;
pub use retention::Retention;
pub use sqlite::{OpenError, SqliteLog, Sync};
