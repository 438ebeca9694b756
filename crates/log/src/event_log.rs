use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use notification_event::{ClientId, EncodedEvent, Epoch, EventId, Position, Timestamp};

use crate::{Change, Receipt, Records, Retention};

/// A log of events, of which there is one for each server, and the records that
/// belong to it: groups, durable clients, receipts. They are one trait because
/// they share commits: whoever is told that an event was published knows that
/// its receipts are expected, too.
///
/// Appends come from one writer at a time, which batches what waits (see the
/// hub's publisher); reads come from anywhere, at any time.
#[async_trait]
pub trait EventLog: Debug + Send + Sync + 'static {
    /// What the log holds right now. Costs nothing: no file is touched.
    fn bounds(&self) -> Bounds;

    /// Makes all the changes and appends all the events of `commit`, or does
    /// nothing. When this returns, both are as durable as the engine makes them
    /// and can be read. The first event is at the position returned, the others
    /// follow it; without events it is where the next one will be.
    ///
    /// An id that is in the log already, or twice in `commit`, is an error:
    /// whoever appends has to [`find`](Self::find) out before.
    async fn append(&self, commit: Arc<Commit>, now: Timestamp) -> Result<Position, LogError>;

    /// Reads on from `after`: the events that follow it, as many as `limit`
    /// allows, and at least one if there is one. If retention has passed
    /// `after`, the page begins at the floor that it reports.
    async fn read(&self, after: Position, limit: PageLimit) -> Result<Page, LogError>;

    /// Reads on from `after` like [`read`](Self::read), up to and including
    /// `through`, but only what [has a state](notification_event::Head::collapse)
    /// and is the newest of it in the whole log. One state is one topic, one
    /// [`Collapse`] as it is displayed, and one audience.
    ///
    /// [`Collapse`]: notification_event::Collapse
    async fn read_newest(
        &self,
        after: Position,
        through: Position,
        limit: PageLimit,
    ) -> Result<Page, LogError>;

    /// Finds events by their ids, all at one moment. The answers are in the
    /// order of `ids`; none for what is not in the log.
    async fn find(&self, ids: Vec<EventId>) -> Result<Vec<Option<Entry>>, LogError>;

    /// Everything that was recorded beside the events, but receipts.
    async fn records(&self) -> Result<Records, LogError>;

    /// Who has got, and has acknowledged, an event: in order of the names.
    async fn receipts(&self, event: EventId) -> Result<Vec<Receipt>, LogError>;

    /// The events up to and including `through` for which a client has a
    /// receipt, and which it has not acknowledged: in their order.
    async fn unacknowledged(
        &self,
        client: ClientId,
        through: Position,
    ) -> Result<Vec<EventId>, LogError>;

    /// The place to read on from for everything appended at `time` or later.
    async fn position_at(&self, time: Timestamp) -> Result<Position, LogError>;

    /// Removes at most `limit` of the oldest events that `retention` does not
    /// keep, with what was recorded of them, and says how many. Call it until
    /// that is 0; other calls get in between.
    async fn prune(
        &self,
        retention: &Retention,
        now: Timestamp,
        limit: u64,
    ) -> Result<u64, LogError>;

    /// Writes `bytes` that mean nothing, and takes them back, to see whether an
    /// append of that size would work.
    async fn probe(&self, bytes: usize) -> Result<(), LogError>;

    /// Looks whether what is stored is still where it was put, without writing.
    async fn check(&self) -> Result<(), LogError>;

    /// Writes out what is in flight and lets go of the files. Later calls fail
    /// with [`LogError::Closed`].
    async fn close(&self) -> Result<(), LogError>;
}

/// What is written at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// These hold for the events already: who joins a group here gets what is
    /// published to it here.
    pub changes: Vec<Change>,
    /// These follow the log's head.
    pub events: Vec<EncodedEvent>,
}

/// What a log holds: the events after `floor`, up to and including `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Which log this is.
    pub epoch: Epoch,
    /// The newest event that retention has removed; 0 if it removed none.
    pub floor: Position,
    /// The newest event; the floor if there is none.
    pub head: Position,
    /// How many bytes the events that are kept take, as [`EncodedEvent::size`] counts them.
    pub bytes: u64,
    /// When the event at the floor was appended; none if none was removed.
    pub pruned_until: Option<Timestamp>,
}

impl Bounds {
    /// The bounds of a new log.
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            floor: Position::START,
            head: Position::START,
            bytes: 0,
            pruned_until: None,
        }
    }

    /// How many events are kept.
    pub fn events(&self) -> u64 {
        self.head.since(self.floor)
    }
}

/// How much one read returns at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Events, at least 1.
    pub events: usize,
    /// Bytes, as [`EncodedEvent::size`] counts them; the event that passes this bound is the page's last.
    pub bytes: usize,
}

/// A part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The log's floor when the page was read: a reader that asked for
    /// something before it has missed events.
    pub floor: Position,
    /// The events, in order.
    pub entries: Vec<Entry>,
}

/// An event in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// What stands there.
    pub event: EncodedEvent,
    /// Whether a newer event has taken its place: it has a state, and is not
    /// the newest of it. True of what was read, which is of one moment.
    pub is_superseded: bool,
}

/// Why the log could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The storage refuses, for now: full, unplugged, read-only. It may recover.
    #[error("the log cannot be used: {0}")]
    Unavailable(String),
    /// What is stored makes no sense.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// The server is stopping.
    #[error("the log is closed")]
    Closed,
}
