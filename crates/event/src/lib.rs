//! The vocabulary of the notification server: what an event is, who it is for,
//! and where it stands in the log, as types that cannot hold a wrong value.
//!
//! The nouns, in the order in which an event meets them:
//!
//! - [`Draft`]: what a publisher sent, parsed and checked; everything but its identity.
//! - [`Event`]: a draft with an [`EventId`] and a [`Timestamp`]. It is encoded once,
//!   into an [`EncodedEvent`]: its JSON, and the [`Head`] that decides who gets it.
//! - [`Report`] and [`Task`]: what a job says of itself, and what is then known of it.
//! - [`Topic`], [`Pattern`], [`Filter`] and [`Audience`]: where it belongs and who it is for.
//! - [`Declaration`]: what is known of an application's events of one name, and
//!   [`Selector`], which of them somebody wants.
//! - [`Cursor`]: a place in the log, as clients see it.
//! - [`Status`]: what the server tells one connection about itself. Never in the log.
//!
//! - [`schema`]: JSON Schemas of all of these that have a JSON.
//!
//! Start reading at [`Draft::parse`]. Everything that comes from outside is parsed
//! here, into these types, and reported as an [`Invalid`] that names each field and
//! what was expected of it; nothing further in has to check again.
//!
//! This crate knows nothing of tasks, files or sockets, and reads no clock: time is passed in.

mod application;
mod audience;
mod collapse;
mod cursor;
mod declaration;
mod declaration_builder;
mod draft;
mod event;
mod fields;
mod filter;
mod identifier;
mod invalid;
mod notification;
mod pattern;
mod priority;
mod progress;
mod report;
pub mod schema;
mod status;
mod timestamp;
mod topic;

pub use application::Application;
pub use audience::Audience;
pub use collapse::{Collapse, TaskPhase};
pub use cursor::{Cursor, Epoch, Position};
pub use declaration::{Breaking, Declaration, Delivery, Match, Selector};
pub use declaration_builder::DeclarationBuilder;
pub use draft::{Body, Draft, Expiry};
pub use event::{EncodedEvent, Event, EventType, Head};
pub use fields::{Fields, whole};
pub use filter::Filter;
pub use identifier::{ClientId, CollapseKey, EventId, EventName, GroupName, Tag, TaskId};
pub use invalid::{FieldError, Invalid, ParseError};
pub use notification::{Notification, NotificationType};
pub use pattern::{Pattern, Segment};
pub use priority::Priority;
pub use progress::{Progress, TaskState, percent_json};
pub use report::{Report, Task};
pub use status::{GapReason, Status};
pub use timestamp::Timestamp;
pub use topic::Topic;

/// A JSON object, in the order in which its publisher wrote it.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;
