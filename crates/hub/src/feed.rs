use std::cell::Cell;
use std::sync::Arc;

use notification_event::Position;
use prometheus_client::metrics::counter::Counter;

use crate::bell::Bell;
use crate::cohort::Cohort;
use crate::shared::Shared;
use crate::{Frame, Subscription};

/// The live end of what one filter lets through, read once for all the streams
/// of one thread that have this filter.
///
/// ```text
///        had everything that is wanted
///   ───────┬───────────────────┬─────────┬──────────► positions
///          from             position    head
///          └── nothing wanted ─┘└─ next ─┘
/// ```
///
/// A stream whose position is between `from` and `position` is live: it has had
/// everything, and what comes next is the same for all of them. Every other one
/// looks [for itself](Subscription::step), no further than
/// [`position`](Self::position), and is live then.
#[derive(Debug)]
pub struct Feed {
    hub: Arc<Shared>,
    cohort: Arc<Cohort>,
    bell: Arc<Bell>,
    token: usize,
    from: Position,
    position: Position,
}

/// What came next on a feed.
#[derive(Debug)]
pub enum News {
    /// Events for those who are live. There may be more.
    Events(Batch),
    /// Nothing that is wanted.
    None,
    /// The feed has moved on past what is in memory: nobody is live, and each
    /// stream has to look for itself.
    Passed,
}

/// Events that follow the same place for many streams.
#[derive(Debug)]
pub struct Batch {
    from: Position,
    after: Position,
    frames: Vec<Arc<Frame>>,
    through: Position,
    given: Cell<u64>,
    delivered: Counter,
}

impl Feed {
    /// The feed of what `subscription` wants. From now on `bell` says `token`
    /// when there is something new on it.
    pub fn open(subscription: &Subscription, bell: &Arc<Bell>, token: usize) -> Self {
        let (hub, cohort) = (subscription.hub().clone(), subscription.cohort().clone());
        cohort.add_feed(bell.clone(), token);
        let head = hub.fan_out.head();
        Self {
            hub,
            cohort,
            bell: bell.clone(),
            token,
            from: head,
            position: head,
        }
    }

    /// What names the feed among all that are open: the same for all
    /// subscriptions that it serves.
    pub fn key(&self) -> usize {
        Arc::as_ptr(&self.cohort).addr()
    }

    /// The key of the feed that serves a subscription, open or not.
    pub fn key_of(subscription: &Subscription) -> usize {
        Arc::as_ptr(subscription.cohort()).addr()
    }

    /// What its bell says for it.
    pub fn token(&self) -> usize {
        self.token
    }

    /// Up to where it was read.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether there will be nothing more.
    pub fn is_closed(&self) -> bool {
        self.hub.fan_out.is_closed()
    }

    /// Reads on.
    pub fn read(&mut self) -> News {
        // Before the ring, which had every frame up to the head before the head
        // was there to be read.
        let head = self.hub.fan_out.head();
        let mut batch = FrameBatch::new(FrameBatch::MAX_EVENTS);
        let read = self.cohort.read(self.position, |frame| batch.push(frame));
        let (from, after) = (self.from, self.position);
        if read.is_none() {
            if head <= after {
                // What made it so is being handed out, and the bell is rung then.
                return News::None;
            }
            (self.from, self.position) = (head, head);
            return News::Passed;
        }
        let Some(newest) = batch.frames.last() else {
            self.position = after.max(head);
            return News::None;
        };
        let through = newest.position;
        (self.from, self.position) = (through, through);
        News::Events(Batch {
            from,
            after,
            frames: batch.frames,
            through,
            given: Cell::new(0),
            delivered: self.hub.metrics.delivered.clone(),
        })
    }

    /// Whether a stream at `position` has had everything up to the feed's own.
    pub(crate) fn follows(&self, position: Position) -> bool {
        self.from <= position && position <= self.position
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.cohort.remove_feed(&self.bell, self.token);
    }
}

impl Batch {
    /// The events, in order, at least one.
    pub fn frames(&self) -> &[Arc<Frame>] {
        &self.frames
    }

    /// Where who has taken it is then.
    pub fn through(&self) -> Position {
        self.through
    }

    /// Whether it comes next for a stream at `position`.
    pub(crate) fn follows(&self, position: Position) -> bool {
        self.from <= position && position <= self.after
    }

    /// Takes note that one stream was given so many.
    pub(crate) fn count(&self, events: usize) {
        self.given.set(self.given.get() + events as u64);
    }
}

/// Counted together: a counter that all threads share costs more than a stream.
impl Drop for Batch {
    fn drop(&mut self) {
        self.delivered.inc_by(self.given.get());
    }
}

/// Frames that are being put together for one delivery.
#[derive(Debug)]
pub(crate) struct FrameBatch {
    pub(crate) frames: Vec<Arc<Frame>>,
    bytes: usize,
    max_events: usize,
}

impl FrameBatch {
    /// How much one delivery holds at most, and so what a reader that has
    /// stopped reading holds on to: beyond it, the reader is nothing but a position.
    pub(crate) const MAX_EVENTS: usize = 256;
    const MAX_BYTES: usize = 64 * 1024;

    pub(crate) fn new(max_events: usize) -> Self {
        Self {
            frames: Vec::new(),
            bytes: 0,
            max_events,
        }
    }

    /// Adds a frame, if there is room for it. There always is for the first.
    pub(crate) fn push(&mut self, frame: &Arc<Frame>) -> bool {
        let bytes = self.bytes + frame.chunk().len();
        let fits = self.frames.len() < self.max_events && bytes <= Self::MAX_BYTES;
        if fits || self.frames.is_empty() {
            self.bytes = bytes;
            self.frames.push(frame.clone());
            return true;
        }
        false
    }
}
