use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use notification_event::{
    ClientId, Collapse, Cursor, GapReason, Pattern, Position, TaskPhase, Timestamp,
};
use notification_log::{AckMode, LogError, PageLimit};
use tokio::time::Instant;
use uuid::Uuid;

use crate::Frame;
use crate::bell::Bell;
use crate::clients::Settle;
use crate::cohort::Cohort;
use crate::connections::{Connection, End};
use crate::fan_out::Membership;
use crate::feed::{Batch, Feed, FrameBatch};
use crate::metrics::ReasonLabel;
use crate::rate::Bucket;
use crate::receipts::Delivered;
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// Beyond every event that there is.
const EVERYTHING: Position = Position(u64::MAX);

/// How much of the log is looked at in one step of catching up: no more than
/// one delivery holds, as what is left over would be read again.
const PAGE: PageLimit = PageLimit {
    events: 512,
    bytes: 64 * 1024,
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
    /// What whoever has a [say](crate::StreamControl) in it wants to be said.
    Asides(Vec<Bytes>),
    /// Its credential is good only until then, and the stream with it.
    CredentialExpiring(Timestamp),
    /// There will be nothing more: the server ended this stream.
    Ended(End),
    /// There will be nothing more: the server is stopping.
    Closing,
    /// There will be nothing more: what follows cannot be read.
    Failed(LogError),
}

/// What a stream does next, as far as that is known without waiting.
#[derive(Debug)]
pub enum Step {
    /// It is given something.
    Deliver(Delivery),
    /// Nothing yet, and it has moved on: to be asked again, after others.
    Again,
    /// It has to [read](Subscription::read) what is not in memory.
    Read,
    /// It waits until it is woken.
    Wait,
    /// It waits until then, or until it is woken.
    WaitUntil(Instant),
}

/// What became of a batch that was read for many streams.
#[derive(Debug)]
pub enum Take {
    /// It gets all of it.
    All,
    /// It gets these, perhaps none, and has to [look](Subscription::step)
    /// whether there is something to be said of the others.
    Some(Vec<Arc<Frame>>),
    /// It is somewhere else, or held to a rate and the like: it has to look for itself.
    Step,
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

    /// Whether its client has a name, so that somebody may [want to
    /// know](Self::needs_confirmation) what has reached it.
    pub fn is_named(&self) -> bool {
        self.connection.of.client.is_some()
    }

    /// The patterns that are left of those it asked for, if it may not see all of that.
    pub fn narrowed(&self) -> Option<&[Pattern]> {
        let filter = &self.membership.cohort.filter;
        (self.connection.of.admission.is_narrowed).then_some(&filter.topics)
    }

    /// Where to resume: everything up to here has been delivered or was not
    /// wanted. It moves on in quiet times, too.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            epoch: self.hub.epoch,
            position: self.position,
        }
    }

    /// The newest position when it was opened. What it is given up to here comes
    /// from the log: an event for somebody who was not there is on no feed.
    pub fn joined_at(&self) -> Position {
        self.membership.joined_at
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
            match self.step(EVERYTHING) {
                Step::Deliver(delivery) => return delivery,
                Step::Again => tokio::task::yield_now().await,
                Step::Read => match self.read().await {
                    Some(delivery) => return delivery,
                    // Passing over what is not wanted may take long.
                    None => tokio::task::yield_now().await,
                },
                Step::Wait => self.wait(None).await,
                Step::WaitUntil(due) => self.wait(Some(due)).await,
            }
        }
    }

    /// What comes next without waiting, of what is not after `limit`.
    ///
    /// Whoever serves many streams calls this for those that need a look of
    /// their own, and [`Feed`](crate::Feed) for all others.
    pub fn step(&mut self, limit: Position) -> Step {
        if let Some(end) = self.connection.end() {
            return Step::Deliver(Delivery::Ended(end));
        }
        if let Some(expires_at) = self.connection.take_warning() {
            return Step::Deliver(Delivery::CredentialExpiring(expires_at));
        }
        if let Some(control) = &self.connection.of.control
            && let Some(asides) = control.take_asides()
        {
            return Step::Deliver(Delivery::Asides(asides));
        }
        if let Some(reason) = self.gap.take() {
            return Step::Deliver(self.tell_gap(reason));
        }
        if self.snapshot.is_some() {
            return Step::Read;
        }
        // Before the ring, which had every frame up to the head before the head
        // was there to be read.
        let head = self.hub.fan_out.head();
        let allowance = match self.allowance() {
            Ok(allowance) => allowance,
            Err(Hold::Tell(delivery)) => return Step::Deliver(delivery),
            Err(_) if self.hub.fan_out.is_closed() => return Step::Deliver(Delivery::Closing),
            Err(Hold::Until(due)) => return Step::WaitUntil(due),
            Err(Hold::UntilWoken) => return Step::Wait,
        };
        match self.read_ring(allowance, limit) {
            Some(frames) if frames.is_empty() => {
                self.move_to(self.position.max(head.min(limit)));
                self.at_the_end()
            }
            Some(frames) => Step::Deliver(self.deliver(frames)),
            None => self.read_tail(allowance, limit),
        }
    }

    /// It has all there is, up to its limit.
    fn at_the_end(&mut self) -> Step {
        if let Some(delivery) = self.caught_up() {
            return Step::Deliver(delivery);
        }
        // In this order: the last was handed out before the end was said.
        let is_closed = self.hub.fan_out.is_closed();
        match is_closed && self.position >= self.hub.fan_out.head() {
            true => Step::Deliver(Delivery::Closing),
            false => Step::Wait,
        }
    }

    /// Does what [`Step::Read`] asks for: reads on in the log. None if that
    /// found nothing that is wanted, and the stream has only moved on.
    pub async fn read(&mut self) -> Option<Delivery> {
        let read = match self.snapshot.is_some() {
            true => self.read_snapshot().await.map(Some),
            false => self.read_log().await,
        };
        match read {
            Ok(delivery) => delivery,
            Err(error) => self.end_or_retry(error).await,
        }
    }

    /// Has `bell` say `token`, from now on, when this stream is to look again
    /// and nobody waits in [`next`](Self::next).
    pub fn attach(&self, bell: &Arc<Bell>, token: usize) {
        self.connection.attach(bell.clone(), token);
    }

    /// Gives it what a feed read for all, if it is where that begins.
    pub fn take(&mut self, batch: &Batch) -> Take {
        let needs_a_look = self.rate.is_some()
            || self.connection.of.durable == Some(AckMode::Manual)
            || self.is_before_cursor();
        if needs_a_look
            || !batch.follows(self.position)
            || self.position < self.membership.joined_at
        {
            return Take::Step;
        }
        let verdict = |frame: &Arc<Frame>| self.verdict(frame);
        let others = batch
            .frames()
            .iter()
            .position(|f| verdict(f) != Verdict::Deliver);
        let taken = match others {
            None => {
                self.count(batch.frames());
                batch.count(batch.frames().len());
                Take::All
            }
            Some(_) => {
                let mut frames = Vec::new();
                let mut not_given = Vec::new();
                for frame in batch.frames() {
                    match self.verdict(frame) {
                        Verdict::Deliver => frames.push(frame.clone()),
                        Verdict::NotForIt => {}
                        verdict => not_given.push((frame.position, verdict)),
                    }
                }
                self.not_give(not_given);
                self.count(&frames);
                batch.count(frames.len());
                Take::Some(frames)
            }
        };
        self.move_to(batch.through());
        self.hub.connections.caught_up(&self.connection);
        taken
    }

    /// Takes note that nothing came that a feed's streams want, if it is one that
    /// has had all of the others.
    pub fn catch_up_with(&mut self, feed: &Feed) {
        if feed.follows(self.position) && self.position >= self.membership.joined_at {
            self.move_to(feed.position());
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
    fn allowance(&mut self) -> Result<usize, Hold> {
        let mut allowance = FrameBatch::MAX_EVENTS;
        if let (Some(client), Some(AckMode::Manual)) =
            (&self.connection.of.client, self.connection.of.durable)
        {
            let room = self.hub.clients.room(client, self.id());
            if room == 0 {
                if std::mem::replace(&mut self.is_paused, true) {
                    return Err(Hold::UntilWoken);
                }
                self.hub.metrics.paused.inc();
                tracing::info!(connection = %self.id(), %client, "stream waits for acknowledgements");
                return Err(Hold::Tell(Delivery::Paused(self.hub.clients.window())));
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
                    return Err(Hold::Tell(self.tell_conflated()));
                }
                return Err(Hold::Until(held.bucket.next()));
            }
            allowance = allowance.min(available);
        }
        Ok(allowance)
    }

    /// Where its feed is, for all who want the same.
    pub(crate) fn cohort(&self) -> &Arc<Cohort> {
        &self.membership.cohort
    }

    pub(crate) fn hub(&self) -> &Arc<Shared> {
        &self.hub
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
        self.count(frames);
        self.hub.metrics.delivered.inc_by(frames.len() as u64);
    }

    /// The same, where somebody else counts what all are given.
    fn count(&self, frames: &[Arc<Frame>]) {
        self.connection.sent(frames.len());
        if self.connection.of.client.is_some() && frames.iter().any(|f| f.head.require_ack) {
            let asking = frames.iter().filter(|frame| frame.head.require_ack);
            let asking = asking.map(|frame| (frame.position, frame.head.id.clone()));
            self.connection.unconfirmed(asking);
        }
    }

    /// Takes what follows from the ring; none if that does not go back far enough.
    fn read_ring(&mut self, allowance: usize, limit: Position) -> Option<Vec<Arc<Frame>>> {
        if self.position < self.membership.joined_at {
            return None;
        }
        let mut page = FrameBatch::new(allowance);
        let mut position = self.position;
        let mut not_given = Vec::new();
        let cohort = &self.membership.cohort;
        cohort.read(self.position, |frame| {
            if frame.position > limit {
                return false;
            }
            match self.verdict(frame) {
                Verdict::Deliver if !page.push(frame) => return false,
                Verdict::Deliver | Verdict::NotForIt => {}
                verdict => not_given.push((frame.position, verdict)),
            }
            position = frame.position;
            true
        })?;
        self.not_give(not_given);
        self.move_to(position);
        Some(page.frames)
    }

    /// Takes what follows from the part of the log that is in memory.
    fn read_tail(&mut self, allowance: usize, limit: Position) -> Step {
        if self.position >= limit {
            return Step::Wait;
        }
        self.hub.connections.fell_behind(&self.connection);
        let Some(frames) = self.hub.fan_out.read_tail(self.position, PAGE.events) else {
            return Step::Read;
        };
        let frames = self.choose(frames, allowance, limit);
        match frames.is_empty() {
            true => Step::Again,
            false => Step::Deliver(self.deliver(frames)),
        }
    }

    /// Takes what follows from the log.
    async fn read_log(&mut self) -> Result<Option<Delivery>, LogError> {
        let page = self.hub.read(self.position, PAGE).await?;
        if self.position < page.floor {
            self.move_to(page.floor);
            self.let_go(&Settle::Through(page.floor));
            return Ok(Some(self.tell_gap(GapReason::Retention)));
        }
        // Asked for again: time has passed.
        let allowance = match self.allowance() {
            Ok(allowance) => allowance,
            Err(Hold::Tell(delivery)) => return Ok(Some(delivery)),
            Err(Hold::Until(_) | Hold::UntilWoken) => return Ok(None),
        };
        let frames = self.choose(page.frames, allowance, EVERYTHING);
        Ok((!frames.is_empty()).then(|| self.deliver(frames)))
    }

    /// Takes what is wanted of frames that follow each other, and passes over
    /// the rest. May find nothing, and still have moved on.
    fn choose(
        &mut self,
        frames: Vec<Arc<Frame>>,
        allowance: usize,
        limit: Position,
    ) -> Vec<Arc<Frame>> {
        let mut page = FrameBatch::new(allowance);
        let mut not_given = Vec::new();
        for frame in frames {
            if frame.position > limit {
                break;
            }
            if self.membership.cohort.filter.matches(&frame.head) {
                match self.verdict(&frame) {
                    Verdict::Deliver if !page.push(&frame) => break,
                    Verdict::Deliver | Verdict::NotForIt => {}
                    verdict => not_given.push((frame.position, verdict)),
                }
            }
            self.move_to(frame.position);
        }
        self.not_give(not_given);
        page.frames
    }

    /// What becomes of an event that the filter lets through.
    fn verdict(&self, frame: &Frame) -> Verdict {
        let control = self.connection.of.control.as_ref();
        if !self.hub.is_for(frame, self.connection.of.client.as_ref())
            || control.is_some_and(|control| !control.gives(frame))
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
        for (position, verdict) in &frames {
            if let Verdict::Conflated(reason) = verdict {
                self.conflated += 1;
                self.hub.connections.conflated(&self.connection, reason, 1);
                let why = if *reason == "rate" {
                    "rate"
                } else {
                    "superseded"
                };
                self.connection.not_given(*position, why);
            } else {
                self.hub.metrics.expired.inc();
                self.connection.not_given(*position, "expired");
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
        if let Some(control) = &self.connection.of.control {
            control.detach(&self.connection, self.cursor());
        }
        let cohort = &self.membership.cohort;
        self.hub.fan_out.leave(cohort, self.client());
        if let Some(client) = self.client() {
            if self.connection.of.durable.is_some()
                && let Some(filter) = self.hub.clients.detach(client, self.id(), now())
            {
                self.hub.fan_out.went_away(filter, client.clone());
            }
            if !self.connection.of.is_unattended {
                self.hub.presence.disconnected(client, Instant::now());
            }
        }
    }
}

/// Why a subscriber may not be given events yet.
enum Hold {
    /// It is told something first.
    Tell(Delivery),
    /// Its rate does not allow it before then.
    Until(Instant),
    /// Its client has to acknowledge something, and then it is woken.
    UntilWoken,
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
