use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use notification_event::Cursor;
use notification_hub::Peer;
use tokio::time::{Instant, Sleep};

use crate::wire::Wire;

/// How often to look while something is to be confirmed.
const INTERVAL: Duration = Duration::from_millis(20);

/// Finds out how much of a stream has reached the peer's machine.
///
/// What a stream hands out is first in the HTTP connection's buffer, then in
/// the kernel's, then on its way; only what the peer's kernel has confirmed has
/// reached it. How many bytes a cursor is down the connection is not known here,
/// so this looks from time to time: what the connection had taken before it last
/// flushed is in the kernel, and has reached the peer once as many bytes are
/// confirmed as the kernel had been given by then.
///
/// Where the kernel cannot be asked, being there counts.
#[derive(Debug)]
pub(crate) struct Confirmation {
    wire: Option<Arc<Wire>>,
    /// Made when it is first needed: most streams have nothing to confirm.
    timer: Option<Pin<Box<Sleep>>>,
    /// What the connection had taken when it last asked for more.
    taken: Option<Taken>,
    /// A cursor, and how many bytes have to be confirmed for it to be reached.
    goal: Option<(Cursor, u64)>,
    reached: Option<Cursor>,
}

/// What the connection has taken, and how often it had flushed by then.
#[derive(Clone, Copy, Debug)]
struct Taken {
    cursor: Cursor,
    flushes: u64,
}

impl Confirmation {
    pub(crate) fn new(wire: Option<Arc<Wire>>) -> Self {
        Self {
            wire,
            timer: None,
            taken: None,
            goal: None,
            reached: None,
        }
    }

    /// The connection asks for more, and so has taken everything up to `cursor`.
    pub(crate) fn taken(&mut self, cursor: Cursor) {
        let flushes = self.wire.as_ref().map_or(0, |wire| wire.flushes());
        self.taken = Some(Taken { cursor, flushes });
    }

    /// Waits until it is time to look, for ever if there is nothing to look for.
    pub(crate) async fn due(&mut self) {
        if self.reached == self.taken.map(|taken| taken.cursor) {
            return std::future::pending().await;
        }
        let timer = || Box::pin(tokio::time::sleep(INTERVAL));
        self.timer.get_or_insert_with(timer).await;
    }

    /// Looks. `cursor` is where the stream is now: what it passed over since
    /// the connection asked was for nobody here. What was reached, if that is news.
    pub(crate) fn look(&mut self, cursor: Cursor) -> Option<Cursor> {
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + INTERVAL);
        }
        if let Some(taken) = &mut self.taken {
            taken.cursor = cursor;
        }
        self.reached_by_now()
    }

    /// What has been reached when the stream ends, if that is news.
    pub(crate) fn last_look(&mut self) -> Option<Cursor> {
        self.reached_by_now()
    }

    fn reached_by_now(&mut self) -> Option<Cursor> {
        let wire = self.wire.as_deref();
        let in_kernel = self
            .taken
            .filter(|taken| wire.is_none_or(|wire| wire.flushes() > taken.flushes))
            .map(|taken| taken.cursor);
        let Some(sent) = wire.and_then(Wire::sent) else {
            return self.reach(in_kernel);
        };
        let former = self.goal.take_if(|(_, bytes)| *bytes <= sent.confirmed);
        if self.goal.is_none() {
            self.goal = in_kernel.map(|cursor| (cursor, sent.written));
        }
        let goal = self.goal.take_if(|(_, bytes)| *bytes <= sent.confirmed);
        self.reach(goal.or(former).map(|(cursor, _)| cursor))
    }

    fn reach(&mut self, cursor: Option<Cursor>) -> Option<Cursor> {
        let news = cursor.filter(|cursor| self.reached != Some(*cursor));
        self.reached = cursor.or(self.reached);
        news
    }
}

impl Peer for Wire {
    fn address(&self) -> SocketAddr {
        self.peer()
    }

    fn bytes_pending(&self) -> Option<u64> {
        Wire::bytes_pending(self)
    }

    fn abort(&self) {
        Wire::abort(self);
    }
}
