//! Puts a load on a server of events, and checks every delivery: numbered
//! messages are published at a steady rate, and many open streams are read.
//!
//! - [`Target`]: the server, by its address; a loopback one, or one that is said to be one's own.
//! - [`Receivers`]: many open streams, read by one thread, and the check of each.
//! - [`Message`]: the requests that publish numbered messages; [`Connection`]: one request after the other.
//! - [`Pace`]: puts them together, and says what came of it as [`Delivered`].
//! - [`Latencies`], [`Tally`]: what is measured, and what is found wrong.
//!
//! Inside, `http.rs` and `sequence.rs` have the little of HTTP and of event streams that has
//! to be understood, for as few cycles as possible: the load shares its machine with the server.
//!
//! It stands outside: it knows nothing of the server but its addresses, and talks to it over sockets.

mod connection;
mod error;
mod files;
mod http;
mod latencies;
mod message;
mod pace;
mod receivers;
mod sequence;
mod socket;
mod target;

pub use connection::Connection;
pub use error::LoadError;
pub use files::{FileLimit, raise_file_limit};
pub use http::{BadAnswer, whole_answer};
pub use latencies::Latencies;
pub use message::{MAX_MESSAGES, Message, SIZE};
pub use pace::{Delivered, Pace};
pub use receivers::{Arrival, Receivers};
pub use sequence::Tally;
pub use target::{BadUrl, NotLoopback, PATIENCE, Target, address_of};
