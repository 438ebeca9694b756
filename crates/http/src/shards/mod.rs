//! Plain HTTP/1.1 event streams, many on one thread: as close as it gets to one
//! `write` for each connection and event.
//!
//! ```text
//!   publisher ── Bell ──► thread ──► Shard ──► Feed: reads the live end once
//!    (one wake for         one         │        for all with the same filter
//!     each shard)          epoll       ▼
//!                                  Connection ──► Subscription, if it needs a
//!                                      │          look of its own
//!                                      ▼
//!                                   Socket: one write of frames that are ready
//! ```
//!
//! - A [`Connection`](connection::Connection) is a socket, a subscription and what is still to be
//!   written; its [`State`](connection::State) says what it waits for.
//! - A [`Shard`](shard::Shard) owns some of the connections. It waits for nothing itself: it is
//!   told what happened and does what follows, so that tests can tell it, too.
//! - A [thread] waits for each shard: for its bell, its sockets, its clock.
//! - [`Shards`] are all of them. A stream comes to them when its request was
//!   admitted like any other (`handoff.rs`), and stays on its thread.
//!
//! What that is good for: `stories.rs` and `simulation.rs`, on the sockets of `fake.rs`.
//!
//! Start reading at [`Shard::news`](shard::Shard::news).

mod connection;
#[cfg(test)]
mod fake;
mod outgoing;
mod shard;
#[cfg(test)]
mod simulation;
mod socket;
#[cfg(test)]
mod stories;
mod thread;

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::serve::Place;
use tokio::runtime::Handle;

pub(crate) use outgoing::chunk;
use socket::Socket;
use thread::Thread;

use crate::stream::Opened;
use crate::wire::Wire;

/// How the streams of a shard are treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardConfig {
    /// After how long a silence a comment is sent.
    pub(crate) heartbeat: Duration,
    /// The same, of streams that say so sooner.
    pub(crate) soonest: Duration,
    /// How long a peer may fail to confirm what it was sent.
    pub(crate) peer_timeout: Duration,
}

/// All the shards, one for each processor. Their threads end with this.
#[derive(Debug)]
pub(crate) struct Shards {
    threads: Vec<Thread>,
    next: AtomicUsize,
}

impl Shards {
    /// Starts them. What has to read the log does so on `runtime`.
    pub(crate) fn start(config: ShardConfig, runtime: &Handle) -> std::io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..count).map(|index| Thread::start(index, config, runtime.clone()));
        Ok(Self {
            threads: threads.collect::<Result<_, _>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Takes a stream over. Each thread gets as many as the others.
    pub(crate) fn take(&self, wire: Arc<Wire<TcpStream>>, stream: Opened, open: Place) {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.threads[next % self.threads.len()].take(wire, stream, open);
    }

    /// Cuts all connections off.
    pub(crate) fn kill(&self) {
        self.threads.iter().for_each(Thread::kill);
    }
}
