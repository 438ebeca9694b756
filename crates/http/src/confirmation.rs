use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use notification_event::Cursor;
use tokio::time::{Instant, Sleep};

use crate::wire::{Sent, Wire};

/// How often to look while something is to be confirmed.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

/// Finds out how much of a stream has reached the peer's machine: only what the
/// peer's kernel has confirmed has.
///
/// How many bytes a cursor is down the connection is not known. So this looks
/// from time to time: what the kernel had been given at one look has reached the
/// peer once as many bytes are confirmed as had been written then.
///
/// Where the kernel cannot be asked, being there counts.
#[derive(Debug, Default)]
pub(crate) struct Confirmation {
    /// A cursor, and how many bytes have to be confirmed for it to be reached.
    goal: Option<(Cursor, u64)>,
    reached: Option<Cursor>,
}

impl Confirmation {
    /// Looks. `in_kernel` is up to where everything has been given to the
    /// kernel, and `sent` what that knows. What was reached, if that is news.
    pub(crate) fn look(&mut self, in_kernel: Option<Cursor>, sent: Option<Sent>) -> Option<Cursor> {
        let Some(sent) = sent else {
            return self.reach(in_kernel);
        };
        let former = self.goal.take_if(|(_, bytes)| *bytes <= sent.confirmed);
        if self.goal.is_none() {
            self.goal = in_kernel.map(|cursor| (cursor, sent.written));
        }
        let goal = self.goal.take_if(|(_, bytes)| *bytes <= sent.confirmed);
        self.reach(goal.or(former).map(|(cursor, _)| cursor))
    }

    /// What has been reached.
    pub(crate) fn reached(&self) -> Option<Cursor> {
        self.reached
    }

    fn reach(&mut self, cursor: Option<Cursor>) -> Option<Cursor> {
        let news = cursor.filter(|cursor| self.reached != Some(*cursor));
        self.reached = cursor.or(self.reached);
        news
    }
}

/// The confirmation of a stream that hyper carries, which has a buffer of its
/// own: what the connection had taken before it last flushed is in the kernel.
///
/// Over HTTP/2 a stream has a buffer, too, and what lies there is not flushed
/// with the connection: it waits for the client to open the stream's window (RFC
/// 9113, section 5.2). How much lies there is not known, but hyper
/// holds a chunk back until the one before it has gone out to the connection
/// ([`SEND_BUFFER`](crate::http2)). So what was taken with the last chunk proves
/// nothing, and what was taken before that does; and after what matters comes
/// a comment, to prove it.
#[derive(Debug)]
pub(crate) struct BufferedConfirmation {
    wire: Option<Arc<Wire>>,
    /// Made when it is first needed: most streams have nothing to confirm.
    timer: Option<Pin<Box<Sleep>>>,
    /// What the connection had taken when it last asked for more.
    taken: Option<Taken>,
    /// Where the stream was when the connection last asked for more.
    asked: Option<Cursor>,
    /// Whether the last chunk was a comment, of which nobody wants to know
    /// whether it arrived.
    was_comment: bool,
    confirmation: Confirmation,
}

/// What the connection has taken, and how often it had flushed by then.
#[derive(Clone, Copy, Debug)]
struct Taken {
    cursor: Cursor,
    flushes: u64,
}

impl BufferedConfirmation {
    pub(crate) fn new(wire: Option<Arc<Wire>>) -> Self {
        Self {
            wire,
            timer: None,
            taken: None,
            asked: None,
            was_comment: false,
            confirmation: Confirmation::default(),
        }
    }

    /// The connection asks for more, and so has taken everything up to `cursor`.
    /// It was never given an empty chunk, for which nothing would be held back.
    pub(crate) fn taken(&mut self, cursor: Cursor) {
        let flushes = self.wire.as_ref().map_or(0, |wire| wire.flushes());
        let asked = self.asked.replace(cursor);
        let has_gone_out = match self.is_proven() {
            true => Some(cursor),
            false => asked,
        };
        if let Some(cursor) = has_gone_out {
            self.taken = Some(Taken { cursor, flushes });
        }
    }

    /// What the connection is given now, as it has asked for more.
    pub(crate) fn give(&mut self, is_comment: bool) {
        self.was_comment = is_comment;
    }

    /// Whether everything that matters has gone out by the time that the connection
    /// asks for more. If not, a comment is needed.
    pub(crate) fn is_proven(&self) -> bool {
        self.was_comment || !self.wire.as_ref().is_some_and(|wire| wire.is_multiplexed())
    }

    /// Waits until it is time to look, for ever if there is nothing to look for.
    pub(crate) async fn due(&mut self) {
        if self.confirmation.reached() == self.taken.map(|taken| taken.cursor) {
            return std::future::pending().await;
        }
        let timer = || Box::pin(tokio::time::sleep(INTERVAL));
        self.timer.get_or_insert_with(timer).await;
    }

    /// Looks. `cursor` is where the stream is now: what it passed over since
    /// the connection asked was for nobody here. What was reached, if that is news.
    pub(crate) fn look(&mut self, cursor: Cursor) -> Option<Cursor> {
        let is_proven = self.is_proven();
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + INTERVAL);
        }
        if let Some(taken) = &mut self.taken
            && is_proven
        {
            taken.cursor = cursor;
        }
        self.last_look()
    }

    /// What has been reached when the stream ends, if that is news.
    pub(crate) fn last_look(&mut self) -> Option<Cursor> {
        let wire = self.wire.as_deref();
        let is_flushed = |taken: &Taken| wire.is_none_or(|wire| wire.flushes() > taken.flushes);
        let in_kernel = self.taken.filter(is_flushed).map(|taken| taken.cursor);
        let sent = wire.and_then(Wire::sent);
        self.confirmation.look(in_kernel, sent)
    }
}
