use std::sync::Arc;
use std::time::Duration;

use notification_event::{ClientId, Cursor, GapReason, Position};
use notification_log::{LogError, PageLimit};

use uuid::Uuid;

use crate::Frame;
use crate::connections::Connection;
use crate::fan_out::Membership;
use crate::metrics::ReasonLabel;
use crate::shared::Shared;
use crate::start::Place;

/// How much one delivery holds at most, and so what a reader that has stopped
/// reading holds on to: beyond it, the reader is nothing but a position.
const MAX_EVENTS: usize = 256;
const MAX_BYTES: usize = 64 * 1024;

/// How much of the log is looked at in one step of catching up.
const PAGE: PageLimit = PageLimit {
    events: 512,
    bytes: 256 * 1024,
};

/// How long a reader waits before it asks a log that failed again.
const RETRY: Duration = Duration::from_secs(1);

/// One open stream: a filter and a position in the log.
///
/// Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Shared>,
    connection: Arc<Connection>,
    membership: Membership,
    client: Option<ClientId>,
    /// Everything up to here has been delivered or was not wanted.
    position: Position,
    /// To be said before anything else.
    gap: Option<GapReason>,
}

/// What a subscriber gets next.
#[derive(Debug)]
pub enum Delivery {
    /// Events, in order, at least one.
    Events(Vec<Arc<Frame>>),
    /// Events may be missing; what comes next follows `cursor`.
    Gap {
        /// Where delivery goes on.
        cursor: Cursor,
        /// Why.
        reason: GapReason,
    },
    /// There will be nothing more: the server is stopping.
    Closing,
    /// There will be nothing more: what follows cannot be read.
    Failed(LogError),
}

impl Subscription {
    pub(crate) fn new(
        hub: Arc<Shared>,
        membership: Membership,
        client: Option<ClientId>,
        place: Place,
    ) -> Self {
        let position = place.position.unwrap_or(membership.joined_at);
        Self {
            connection: hub.connections.add(membership.group.clone(), position),
            hub,
            membership,
            client,
            position,
            gap: place.gap,
        }
    }

    /// What names this stream in the log, and to its client.
    pub fn id(&self) -> Uuid {
        self.connection.id
    }

    /// Where to resume: everything up to here has been delivered or was not
    /// wanted. It moves on in quiet times, too.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            epoch: self.hub.epoch,
            position: self.position,
        }
    }

    /// Whether the next thing it says is that events may be missing, so that
    /// its cursor is not yet where the reader should resume.
    pub fn begins_with_gap(&self) -> bool {
        self.gap.is_some()
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Delivery {
        loop {
            if let Some(reason) = self.gap.take() {
                return self.tell_gap(reason);
            }
            // In this order: seen, head, ring, closed. What happens after the
            // first of these wakes the wait below; the ring had
            // every frame up to the head before the head was there to be read.
            self.membership.newest.borrow_and_update();
            let head = self.hub.fan_out.head();
            let frames = match self.read_ring() {
                Some(frames) if frames.is_empty() => {
                    self.move_to(self.position.max(head));
                    self.hub.connections.caught_up(&self.connection);
                    if self.hub.fan_out.is_closed() {
                        return Delivery::Closing;
                    }
                    // The group, and with it the sender, lives as long as its members.
                    let _ = self.membership.newest.changed().await;
                    continue;
                }
                Some(frames) => frames,
                None => match self.catch_up().await {
                    Ok(frames) => frames,
                    Err(error) => match self.end_or_retry(error).await {
                        Some(end) => return end,
                        None => continue,
                    },
                },
            };
            if !frames.is_empty() {
                self.hub.metrics.delivered.inc_by(frames.len() as u64);
                return Delivery::Events(frames);
            }
            // Passing over what is not wanted may take long, and has nothing to
            // wait for if it is in memory.
            tokio::task::yield_now().await;
        }
    }

    fn tell_gap(&self, reason: GapReason) -> Delivery {
        let cursor = self.cursor();
        let reason_label = ReasonLabel {
            reason: reason.as_str(),
        };
        self.hub.metrics.gaps.get_or_create(&reason_label).inc();
        tracing::info!(connection = %self.id(), %cursor, reason = reason.as_str(), "gap");
        Delivery::Gap { cursor, reason }
    }

    /// Takes what follows from the ring; none if that does not go back far enough.
    fn read_ring(&mut self) -> Option<Vec<Arc<Frame>>> {
        if self.position < self.membership.joined_at {
            return None;
        }
        let mut batch = Batch::default();
        let mut position = self.position;
        let client = self.client.as_ref();
        self.membership.group.read(self.position, |frame| {
            let wanted = frame.is_for(client);
            if wanted && !batch.push(frame) {
                return false;
            }
            position = frame.position;
            true
        })?;
        self.move_to(position);
        Some(batch.frames)
    }

    /// Takes what follows from the tail or the log, and passes over what is
    /// not wanted. May find nothing, and still have moved on.
    async fn catch_up(&mut self) -> Result<Vec<Arc<Frame>>, LogError> {
        self.hub.connections.fell_behind(&self.connection);
        let page = self.hub.read(self.position, PAGE).await?;
        if self.position < page.floor {
            self.move_to(page.floor);
            self.gap = Some(GapReason::Retention);
            return Ok(Vec::new());
        }
        let mut batch = Batch::default();
        for frame in page.frames {
            let wanted = self.membership.group.filter.matches(&frame.head)
                && frame.is_for(self.client.as_ref());
            if wanted && !batch.push(&frame) {
                break;
            }
            self.move_to(frame.position);
        }
        Ok(batch.frames)
    }

    /// What a log that cannot be read means: the end, or none after a while,
    /// when it is worth another try.
    async fn end_or_retry(&self, error: LogError) -> Option<Delivery> {
        match error {
            LogError::Unavailable(reason) => {
                tracing::warn!(connection = %self.id(), reason, "cannot read the log yet");
                tokio::time::sleep(RETRY).await;
                self.hub.fan_out.is_closed().then_some(Delivery::Closing)
            }
            LogError::Closed => Some(Delivery::Closing),
            LogError::Damaged(_) => {
                tracing::error!(connection = %self.id(), %error, "stream ended");
                Some(Delivery::Failed(error))
            }
        }
    }

    fn move_to(&mut self, position: Position) {
        self.position = position;
        self.connection.moved_to(position);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.connections.remove(&self.connection);
        self.hub
            .fan_out
            .leave(&self.membership.group, self.client.as_ref());
    }
}

#[derive(Default)]
struct Batch {
    frames: Vec<Arc<Frame>>,
    bytes: usize,
}

impl Batch {
    /// Adds a frame, if there is room for it. There always is for the first.
    fn push(&mut self, frame: &Arc<Frame>) -> bool {
        let bytes = self.bytes + frame.sse().len();
        let fits = self.frames.len() < MAX_EVENTS && bytes <= MAX_BYTES;
        if fits || self.frames.is_empty() {
            self.bytes = bytes;
            self.frames.push(frame.clone());
            return true;
        }
        false
    }
}
