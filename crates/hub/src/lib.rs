//! The way of an event: publish → log → fan-out → a subscriber.
//!
//! - [`Hub`] is the handle that the doors hold. [`Hub::publish`] returns when the
//!   events are committed and have been handed to everyone they are for.
//! - The publisher (`publisher.rs`) is the one task that appends. Whatever waits
//!   while it commits goes into its next commit, all of it at once.
//! - A [`Frame`] is an event as it is written to receivers, made once.
//! - The fan-out (`fan_out.rs`) hands frames to the cohorts of subscribers that
//!   want them, found by a walk along the topic (`router.rs`).
//! - A [`Subscription`] is a position in the log and nothing else. What it has
//!   not seen comes from its cohort's ring if that still has it, else from the
//!   [tail](HubConfig::tail_events) of the log that is kept in memory, else from
//!   the log itself. All three are ordered by the same positions, so going from
//!   one to another can neither skip an event nor repeat one, and a reader that
//!   falls behind costs nothing but its position.
//!
//! - A transport that serves many streams on one thread hears of news by a [`Bell`]
//!   and reads the live end once for all that want the same, as a [`Feed`].
//!
//! Start reading at [`Hub::publish`], then [`Subscription::next`].
//!
//! Doors hold a [`Caller`], which is the hub as far as one principal may use it.
//!
//! The hub does not know HTTP or MCP, nor which engine keeps its log.

mod activity;
mod audit;
mod bell;
mod caller;
mod clients;
mod cohort;
mod connections;
mod control;
mod declarations;
mod explain;
mod fan_out;
mod feed;
mod follow;
mod frame;
mod groups;
mod health;
mod hub;
mod keeper;
mod metrics;
mod own_tasks;
mod page;
mod presence;
mod publisher;
mod rate;
mod receipts;
mod router;
mod shared;
mod snapshot;
mod start;
mod subscription;
mod tail;
mod tasks;
mod wording;

pub use activity::{SAMPLE, SAMPLES, Sample};
pub use audit::RefusalReason;
pub use bell::{Bell, Rung};
pub use caller::{Caller, CancelTask, KeyError, ReadError, TaskPage};
pub use clients::{ClientStatus, ClientsConfig, DurableError};
pub use connections::{ConnectionStatus, End, Peer, Transport};
pub use control::{Kind, StreamControl};
pub use declarations::{Breaks, DeclareError, Declared, EventTypesConfig, Occurrence, Origin};
pub use explain::{Explains, Explanation, Fate, Recipient, RecipientKind};
pub use feed::{Batch, Feed, News};
pub use follow::{Follow, Followed};
pub use frame::Frame;
pub use hub::{GroupError, Hub, HubConfig, Published, Subscribe, SubscribeError, TaskFilter};
pub use metrics::Metrics;
pub use notification_log::{AckMode, LogError, Receipt, Record, Retention};
pub use own_tasks::OwnTask;
pub use page::{Beginning, EventPage, NewestEvents, PageRequest};
pub use publisher::PublishError;
pub use rate::Rate;
pub use receipts::{Acknowledge, AcknowledgeError, Acknowledged, EventReceipts};
pub use start::Start;
pub use subscription::{Delivery, Step, Subscription, Take};
pub use tasks::TaskStatus;
pub use wording::{StreamOrder, Wording};
