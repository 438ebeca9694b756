use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notification_event::{ClientId, Collapse, Cursor, GapReason, Position, TaskPhase, Timestamp};
use notification_log::{AckMode, LogError, PageLimit};
use tokio::time::Instant;
use uuid::Uuid;

use crate::Frame;
use crate::clients::Settle;
use crate::connections::Connection;
use crate::fan_out::Membership;
use crate::metrics::ReasonLabel;
use crate::rate::Bucket;
use crate::receipts::Delivered;
use crate::shared::Shared;
use crate::snapshot::Snapshot;

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

/// How often a stream that is held to a rate is told what it was not given.
const TELL_CONFLATED: Duration = Duration::from_secs(1);

/// One open stream: a filter and a position in the log.
///
/// Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Shared>,
    connection: Arc<Connection>,
    membership: Membership,
    /// Everything up to here has been delivered or was not wanted.
    position: Position,
    /// To be said before anything else.
    gap: Option<GapReason>,
    /// To be sent before what is new.
    snapshot: Option<Snapshot>,
    /// What the client had acknowledged beyond its cursor when it came.
    acknowledged: BTreeSet<Position>,
    rate: Option<Held>,
    /// How many events it was not given, and not told of.
    conflated: u64,
    /// It was told that it has to acknowledge something first.
    is_paused: bool,
}

/// A stream that is held to a rate.
#[derive(Debug)]
struct Held {
    bucket: Bucket,
    /// It has had to wait since it last had all there was.
    is_above: bool,
    /// When it was last told what it was not given.
    told: Instant,
}

/// What a subscriber gets next.
#[derive(Debug)]
pub enum Delivery {
    /// Events, in order, at least one.
    Events(Vec<Arc<Frame>>),
    /// Events of a snapshot, in order. They come before all others, and do not
    /// move the cursor.
    Snapshot(Vec<Arc<Frame>>),
    /// The snapshot is complete: so many events.
    SnapshotComplete(u64),
    /// Events may be missing; what comes next follows `cursor`.
    Gap {
        /// Where delivery goes on.
        cursor: Cursor,
        /// Why.
        reason: GapReason,
    },
    /// So many events were not given since this was last said, because newer
    /// ones took their place.
    Conflated(u64),
    /// Nothing more comes before the client has acknowledged something of the
    /// so many events that it was given beyond the oldest it has not.
    Paused(usize),
    /// There will be nothing more: somebody closed this stream.
    Closed,
    /// There will be nothing more: the server is stopping.
    Closing,
    /// There will be nothing more: what follows cannot be read.
    Failed(LogError),
}

/// Why an event does not go to a subscriber that its topic is for, or that it does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Deliver,
    NotForIt,
    Expired,
    /// A newer one has its place.
    Conflated(&'static str),
}

/// What a subscription begins with.
pub(crate) struct Opening {
    pub(crate) position: Position,
    pub(crate) gap: Option<GapReason>,
    pub(crate) snapshot: bool,
    pub(crate) acknowledged: BTreeSet<Position>,
}

impl Subscription {
    pub(crate) fn new(
        hub: Arc<Shared>,
        connection: Arc<Connection>,
        membership: Membership,
        opening: Opening,
    ) -> Self {
        let Opening {
            position,
            gap,
            snapshot,
            acknowledged,
        } = opening;
        let now = Instant::now();
        let held = |rate| Held {
            bucket: Bucket::new(rate, now),
            is_above: false,
            told: now,
        };
        Self {
            rate: connection.of.max_rate.map(held),
            snapshot: snapshot.then(|| Snapshot::new(hub.log.bounds().floor, position)),
            hub,
            connection,
            membership,
            position,
            gap,
            acknowledged,
            conflated: 0,
            is_paused: false,
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

    /// Whether what it says next comes before its cursor (a gap, a snapshot),
    /// so that this is not yet where the reader should resume.
    pub fn is_before_cursor(&self) -> bool {
        self.gap.is_some() || self.snapshot.is_some()
    }

    /// Whether somebody waits to hear what has [reached](Self::confirm) the reader.
    pub fn needs_confirmation(&self) -> bool {
        self.connection.of.durable.is_some() || self.connection.has_unconfirmed()
    }

    /// Takes note that everything up to `cursor` has reached the reader's machine.
    pub fn confirm(&mut self, cursor: Cursor) {
        let Some(client) = &self.connection.of.client else {
            return;
        };
        if self.connection.of.durable.is_some() {
            let clients = &self.hub.clients;
            clients.confirm(client, self.connection.id, cursor.position);
        }
        for event in self.connection.confirmed(cursor.position) {
            let client = client.clone();
            self.hub.receipts.delivered(Delivered { event, client });
        }
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Delivery {
        loop {
            // First of all: what happens after this ends the waits below.
            self.membership.newest.borrow_and_update();
            if self.connection.is_closed() {
                return Delivery::Closed;
            }
            if let Some(reason) = self.gap.take() {
                return self.tell_gap(reason);
            }
            if self.snapshot.is_some() {
                match self.read_snapshot().await {
                    Ok(delivery) => return delivery,
                    Err(error) => match self.end_or_retry(error).await {
                        Some(end) => return end,
                        None => continue,
                    },
                }
            }
            // In this order: head, ring, closed. The ring had every frame up to
            // the head before the head was there to be read.
            let head = self.hub.fan_out.head();
            let allowance = match self.allowance() {
                Ok(allowance) => allowance,
                Err(Wait::Tell(delivery)) => return delivery,
                Err(Wait::Until(due)) => {
                    if self.hub.fan_out.is_closed() {
                        return Delivery::Closing;
                    }
                    self.wait(due).await;
                    continue;
                }
            };
            let frames = match self.read_ring(allowance) {
                Some(frames) if frames.is_empty() => {
                    self.move_to(self.position.max(head));
                    if let Some(delivery) = self.caught_up() {
                        return delivery;
                    }
                    if self.hub.fan_out.is_closed() {
                        return Delivery::Closing;
                    }
                    // The cohort, and with it the sender, lives as long as its members.
                    let _ = self.membership.newest.changed().await;
                    continue;
                }
                Some(frames) => frames,
                None => match self.catch_up(allowance).await {
                    Ok(frames) => frames,
                    Err(error) => match self.end_or_retry(error).await {
                        Some(end) => return end,
                        None => continue,
                    },
                },
            };
            if !frames.is_empty() {
                return self.deliver(frames);
            }
            // Passing over what is not wanted may take long, and has nothing to
            // wait for if it is in memory. A gap is told before anything else.
            if self.gap.is_none() {
                tokio::task::yield_now().await;
            }
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

    async fn read_snapshot(&mut self) -> Result<Delivery, LogError> {
        let snapshot = self.snapshot.as_mut().expect("asked for by who has one");
        while let Some(frames) = snapshot.read(&self.hub).await? {
            let now = now();
            let wanted = |frame: &Arc<Frame>| {
                let is_over = matches!(
                    frame.head.collapse,
                    Some(Collapse::Task {
                        phase: TaskPhase::Ended,
                        ..
                    })
                );
                self.membership.cohort.filter.matches(&frame.head)
                    && self.hub.is_for(frame, self.connection.of.client.as_ref())
                    && !is_over
                    && !frame.head.is_expired(now)
            };
            let frames: Vec<_> = frames.into_iter().filter(wanted).collect();
            if !frames.is_empty() {
                snapshot.count(frames.len());
                self.note(&frames);
                return Ok(Delivery::Snapshot(frames));
            }
        }
        let events = snapshot.events();
        self.snapshot = None;
        Ok(Delivery::SnapshotComplete(events))
    }

    /// How many events may be given now, or what to wait for before.
    fn allowance(&mut self) -> Result<usize, Wait> {
        let mut allowance = MAX_EVENTS;
        if let (Some(client), Some(AckMode::Manual)) =
            (&self.connection.of.client, self.connection.of.durable)
        {
            let room = self.hub.clients.room(client, self.id());
            if room == 0 {
                if std::mem::replace(&mut self.is_paused, true) {
                    return Err(Wait::Until(None));
                }
                self.hub.metrics.paused.inc();
                tracing::info!(connection = %self.id(), %client, "stream waits for acknowledgements");
                return Err(Wait::Tell(Delivery::Paused(self.hub.clients.window())));
            }
            self.is_paused = false;
            allowance = allowance.min(room);
        }
        if let Some(held) = &mut self.rate {
            let now = Instant::now();
            let available = held.bucket.available(now);
            if available == 0 {
                held.is_above = true;
                if self.conflated > 0 && now >= held.told + TELL_CONFLATED {
                    return Err(Wait::Tell(self.tell_conflated()));
                }
                return Err(Wait::Until(Some(held.bucket.next())));
            }
            allowance = allowance.min(available);
        }
        Ok(allowance)
    }

    /// Waits until `due` or until it is to look again.
    async fn wait(&mut self, due: Option<Instant>) {
        let look_again = self.membership.newest.changed();
        match due {
            // What is published meanwhile changes nothing, but a stream that
            // ends does not wait.
            Some(due) => tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                _ = look_again => {}
            },
            None => drop(look_again.await),
        }
    }

    /// It has all there is.
    fn caught_up(&mut self) -> Option<Delivery> {
        self.hub.connections.caught_up(&self.connection);
        if let Some(held) = &mut self.rate {
            held.is_above = false;
        }
        (self.conflated > 0).then(|| self.tell_conflated())
    }

    fn tell_conflated(&mut self) -> Delivery {
        if let Some(held) = &mut self.rate {
            held.told = Instant::now();
        }
        Delivery::Conflated(std::mem::take(&mut self.conflated))
    }

    fn deliver(&mut self, frames: Vec<Arc<Frame>>) -> Delivery {
        if let Some(held) = &mut self.rate {
            held.bucket.take(frames.len());
        }
        if let (Some(client), Some(AckMode::Manual)) = (self.client(), self.connection.of.durable) {
            let positions = frames.iter().map(|frame| frame.position);
            let clients = &self.hub.clients;
            clients.given(client, self.id(), positions, self.position);
        }
        self.note(&frames);
        Delivery::Events(frames)
    }

    /// Takes note of what it is given.
    fn note(&mut self, frames: &[Arc<Frame>]) {
        self.hub.connections.sent(&self.connection, frames.len());
        if self.connection.of.client.is_some() {
            let asking = frames.iter().filter(|frame| frame.head.require_ack);
            let asking = asking.map(|frame| (frame.position, frame.head.id.clone()));
            self.connection.unconfirmed(asking);
        }
    }

    /// Takes what follows from the ring; none if that does not go back far enough.
    fn read_ring(&mut self, allowance: usize) -> Option<Vec<Arc<Frame>>> {
        if self.position < self.membership.joined_at {
            return None;
        }
        let mut batch = Batch::new(allowance);
        let mut position = self.position;
        let mut not_given = Vec::new();
        let cohort = &self.membership.cohort;
        cohort.read(self.position, |frame| {
            match self.verdict(frame) {
                Verdict::Deliver if !batch.push(frame) => return false,
                Verdict::Deliver | Verdict::NotForIt => {}
                verdict => not_given.push((frame.position, verdict)),
            }
            position = frame.position;
            true
        })?;
        self.not_give(not_given);
        self.move_to(position);
        Some(batch.frames)
    }

    /// Takes what follows from the tail or the log, and passes over what is
    /// not wanted. May find nothing, and still have moved on.
    async fn catch_up(&mut self, allowance: usize) -> Result<Vec<Arc<Frame>>, LogError> {
        self.hub.connections.fell_behind(&self.connection);
        let page = self.hub.read(self.position, PAGE).await?;
        if self.position < page.floor {
            self.move_to(page.floor);
            self.gap = Some(GapReason::Retention);
            self.let_go(&Settle::Through(page.floor));
            return Ok(Vec::new());
        }
        let mut batch = Batch::new(allowance);
        let mut not_given = Vec::new();
        for frame in page.frames {
            if self.membership.cohort.filter.matches(&frame.head) {
                match self.verdict(&frame) {
                    Verdict::Deliver if !batch.push(&frame) => break,
                    Verdict::Deliver | Verdict::NotForIt => {}
                    verdict => not_given.push((frame.position, verdict)),
                }
            }
            self.move_to(frame.position);
        }
        self.not_give(not_given);
        Ok(batch.frames)
    }

    /// What becomes of an event that the filter lets through.
    fn verdict(&self, frame: &Frame) -> Verdict {
        if !self.hub.is_for(frame, self.connection.of.client.as_ref())
            || self.acknowledged.contains(&frame.position)
        {
            return Verdict::NotForIt;
        }
        if frame.head.expires_at.is_some() && frame.head.is_expired(now()) {
            return Verdict::Expired;
        }
        let is_above = self.rate.as_ref().is_some_and(|held| held.is_above);
        match frame.replaced_for(&self.membership.cohort.filter, is_above) {
            // It gets the newer one, too.
            Some(reason) if self.hub.is_for_since(frame, self.client()) => {
                Verdict::Conflated(reason)
            }
            _ => Verdict::Deliver,
        }
    }

    /// Takes note of what it would have been given, but for its verdict.
    fn not_give(&mut self, frames: Vec<(Position, Verdict)>) {
        for (_, verdict) in &frames {
            if let Verdict::Conflated(reason) = verdict {
                self.conflated += 1;
                self.hub.connections.conflated(&self.connection, reason, 1);
            } else {
                self.hub.metrics.expired.inc();
            }
        }
        if !frames.is_empty() {
            let positions = frames.into_iter().map(|(position, _)| position);
            self.let_go(&Settle::Events(positions.collect()));
        }
    }

    /// No place has to wait until this is acknowledged.
    fn let_go(&self, what: &Settle) {
        if let (Some(client), Some(AckMode::Manual)) = (self.client(), self.connection.of.durable) {
            for connection in self.hub.clients.let_go(client, what) {
                self.hub.connections.wake(connection);
            }
        }
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

    fn client(&self) -> Option<&ClientId> {
        self.connection.of.client.as_ref()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.connections.remove(&self.connection);
        let cohort = &self.membership.cohort;
        self.hub.fan_out.leave(cohort, self.client());
        if let Some(client) = self.client() {
            if self.connection.of.durable.is_some()
                && let Some(filter) = self.hub.clients.detach(client, self.id(), now())
            {
                self.hub.fan_out.went_away(filter, client.clone());
            }
            self.hub.presence.disconnected(client, Instant::now());
        }
    }
}

/// What a subscriber that may not be given events yet does instead.
enum Wait {
    /// It is told something.
    Tell(Delivery),
    /// It waits until then, or until it is woken.
    Until(Option<Instant>),
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

struct Batch {
    frames: Vec<Arc<Frame>>,
    bytes: usize,
    max_events: usize,
}

impl Batch {
    fn new(max_events: usize) -> Self {
        Self {
            frames: Vec::new(),
            bytes: 0,
            max_events,
        }
    }

    /// Adds a frame, if there is room for it. There always is for the first.
    fn push(&mut self, frame: &Arc<Frame>) -> bool {
        let bytes = self.bytes + frame.sse().len();
        let fits = self.frames.len() < self.max_events && bytes <= MAX_BYTES;
        if fits || self.frames.is_empty() {
            self.bytes = bytes;
            self.frames.push(frame.clone());
            return true;
        }
        false
    }
}
