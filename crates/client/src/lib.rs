//! A client of a notification server.
//!
//! - [`Client`] publishes, acknowledges, and asks.
//! - [`Stream`] receives: it comes back by itself after cuts and restarts, where
//!   it was, hands on each event once, and says where events may be missing.
//! - [`TaskReporter`] reports how far a job is.
//!
//! ```no_run
//! # async fn example() -> Result<(), notification_client::Error> {
//! use notification_client::{Client, Item, StreamOptions};
//!
//! let client = Client::new("http://127.0.0.1:8005")?;
//! client.notify("Backup done").topic("ops/backups").send().await?;
//! let mut stream = client.stream(StreamOptions::default().topic("ops/**").since("all"));
//! loop {
//!     if let Item::Event(event) = stream.next().await? {
//!         println!("{}", event["message"]);
//!     }
//! }
//! # }
//! ```
//!
//! `sse.rs` reads the wire, `stream.rs` keeps a stream's course over its
//! connections, `connector.rs` makes those. It knows the server by its wire alone.

mod backoff;
mod client;
mod connector;
mod error;
mod query;
mod sse;
mod stream;
mod task;

pub use backoff::backoff;
pub use client::{Client, Notify};
pub use connector::{HttpClient, bearer, causes, http_client};
pub use error::{Error, FieldError, Refusal, RefusalKind};
pub use hyper::Method;
pub use query::StreamOptions;
pub use sse::{Message, SseParser};
pub use stream::{Item, Stream};
pub use task::TaskReporter;
