//! Webhooks: events are posted to whoever has subscribed, signed, until they are taken.
//!
//! A webhook is a place in the log, as every receiver is, with a small window of events
//! that are under way. What is stored of it is that place (and what beyond it was taken
//! already), so after a crash everything that nobody has taken is sent again, and
//! nothing else is.
//!
//! ```text
//!   log ──► Subscription ──► worker: window ──► sender: sign, attempt, wait, … ──► receiver
//!             (the hub's)       │    ▲                │
//!                               │    └── taken or ◄───┘
//!                               ▼        given up
//!               place, dead letters: stored once a second
//! ```
//!
//! - [`Webhooks`] (`webhooks.rs`) is what doors hold: webhooks of services, and
//!   subscriptions of MCP clients, which are the same but for who names them.
//! - `worker.rs` reads for one webhook, `sender.rs` sends one thing until it is taken or
//!   given up ([`RetryConfig`]), and `destination.rs` bounds what one place is sent.
//! - `client.rs` connects, only to addresses that the [`Guard`] permits; what an
//!   [`Endpoint`] is, `endpoint.rs` says.
//! - `secret.rs` signs (Standard Webhooks), `verification.rs` asks an endpoint whether it
//!   wants to be sent anything, `health.rs` knows when to leave one alone, `record.rs` is
//!   what is stored.

mod attempt;
mod client;
mod config;
mod destination;
mod endpoint;
mod explain;
mod guard;
mod health;
mod metrics;
mod record;
mod retry;
mod secret;
mod sender;
mod shared;
mod verification;
mod webhook;
mod webhooks;
mod worker;

pub use attempt::{Attempt, DeadLetter, Outcome};
pub use client::{Resolve, SystemResolver};
pub use config::WebhooksConfig;
pub use destination::DestinationLimits;
pub use endpoint::Endpoint;
pub use guard::{Guard, is_public};
pub use health::SuspensionConfig;
pub use ipnet::IpNet;
pub use metrics::Metrics;
pub use retry::RetryConfig;
pub use secret::Secret;
pub use webhook::{Condition, Ending};
pub use webhooks::{
    Change, DeliveryStatus, Granted, Life, NewSubscription, NewWanted, NewWebhook, VerifyError,
    WebhookError, Webhooks,
};
