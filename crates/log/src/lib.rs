//! The log: every event, in one order, for as long as it is kept.
//!
//! - [`EventLog`] is what the rest of the server knows: append a [`Commit`], read
//!   on from a position, find a time, prune what [`Retention`] no longer keeps.
//! - A [`Change`] is what is recorded beside the events, in the same commit:
//!   who is in which group, where durable clients are, who has acknowledged what.
//! - [`SqliteLog`] keeps it in one file that people can open, copy and query.
//! - [`MemoryLog`] keeps it as long as the process runs.
//! - `contract` (with the feature of that name) is the suite that every engine
//!   passes; read it for what the trait promises.
//!
//! Positions are dense: an engine gives each appended event the next one, so
//! counting events is subtraction, and finding a time or an amount of bytes is
//! a binary search. Beside its key the table needs one index, of the ids.
//!
//! Some events have a state, and the newest event of a state supersedes those
//! before it: the newest value of a collapse key, the newest report of a task.
//! The log knows which are superseded; who leaves them out is others' business.
//!
//! This crate does not know who publishes or who listens, and reads no clock
//! to decide what is kept: time is passed in.

#[cfg(feature = "contract")]
pub mod contract;
mod event_log;
mod memory;
mod records;
mod retention;
mod search;
mod sqlite;

pub use event_log::{Bounds, Commit, Entry, EventLog, LogError, Page, PageLimit};
pub use memory::MemoryLog;
pub use records::{AckMode, Change, ClientRecord, Membership, Receipt, Record, Records};
pub use retention::Retention;
pub use sqlite::{OpenError, SqliteLog, Sync};
