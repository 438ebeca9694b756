use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use notification_event::{ClientId, EventId, Head, Position, Timestamp};
use notification_log::{
    Bounds, Change, Commit, Entry, EventLog, LogError, MemoryLog, Page, PageLimit, Receipt,
    Records, Retention,
};

/// A moment in the life of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeAppend,
    AfterAppend,
    BeforeRead,
    AfterRead,
}

type Hook = dyn Fn(Moment) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A log in memory that waits for what a test has it wait for, and remembers
/// all that was ever appended.
pub(crate) struct Hooked {
    log: MemoryLog,
    hook: Box<Hook>,
    lost: Option<Position>,
    history: Mutex<History>,
}

/// All that was ever appended to a log.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The events, the first of which is at position 1.
    pub(crate) events: Vec<Appended>,
    /// The changes, and the newest position before each.
    pub(crate) changes: Vec<(Position, Change)>,
}

/// An event that was appended.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) head: Head,
    pub(crate) json: bytes::Bytes,
}

impl Hooked {
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(
        hook: impl Fn(Moment) -> F + Send + Sync + 'static,
    ) -> Self {
        Self {
            log: MemoryLog::new(),
            hook: Box::new(move |moment| Box::pin(hook(moment))),
            lost: None,
            history: Mutex::default(),
        }
    }

    /// The event at this position is not there when it is read.
    pub(crate) fn losing(self, position: Position) -> Self {
        Self {
            lost: Some(position),
            ..self
        }
    }

    /// Calls `look` with all that was ever appended.
    pub(crate) fn history<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.history.lock().unwrap())
    }

    /// The newest event with the id of the one at `position`.
    pub(crate) fn newest_of_same_id(&self, position: Position) -> Position {
        self.history(|history| {
            let id = &history.events[position.0 as usize - 1].head.id;
            let newest = history.events.iter().rposition(|it| it.head.id == *id);
            Position(newest.expect("there is one") as u64 + 1)
        })
    }

    fn note(&self, head: Position, commit: &Commit) {
        let mut history = self.history.lock().unwrap();
        assert_eq!(history.events.len() as u64, head.0, "positions are dense");
        let events = commit.events.iter().map(|event| Appended {
            head: event.head.clone(),
            json: event.json.clone(),
        });
        history.events.extend(events);
        let changes = commit.changes.iter().map(|change| (head, change.clone()));
        history.changes.extend(changes);
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.log.fmt(f)
    }
}

#[async_trait]
impl EventLog for Hooked {
    fn bounds(&self) -> Bounds {
        self.log.bounds()
    }

    async fn append(&self, commit: Arc<Commit>, now: Timestamp) -> Result<Position, LogError> {
        (self.hook)(Moment::BeforeAppend).await;
        let head = self.log.bounds().head;
        let result = self.log.append(commit.clone(), now).await;
        if result.is_ok() {
            self.note(head, &commit);
        }
        (self.hook)(Moment::AfterAppend).await;
        result
    }

    async fn read(&self, after: Position, limit: PageLimit) -> Result<Page, LogError> {
        (self.hook)(Moment::BeforeRead).await;
        let mut result = self.log.read(after, limit).await;
        if let Ok(page) = &mut result {
            page.entries
                .retain(|entry| Some(entry.position) != self.lost);
        }
        (self.hook)(Moment::AfterRead).await;
        result
    }

    async fn read_newest(
        &self,
        after: Position,
        through: Position,
        limit: PageLimit,
    ) -> Result<Page, LogError> {
        (self.hook)(Moment::BeforeRead).await;
        let result = self.log.read_newest(after, through, limit).await;
        (self.hook)(Moment::AfterRead).await;
        result
    }

    async fn find(&self, ids: Vec<EventId>) -> Result<Vec<Option<Entry>>, LogError> {
        (self.hook)(Moment::BeforeRead).await;
        let result = self.log.find(ids).await;
        (self.hook)(Moment::AfterRead).await;
        result
    }

    async fn records(&self) -> Result<Records, LogError> {
        self.log.records().await
    }

    async fn receipts(&self, event: EventId) -> Result<Vec<Receipt>, LogError> {
        (self.hook)(Moment::BeforeRead).await;
        let result = self.log.receipts(event).await;
        (self.hook)(Moment::AfterRead).await;
        result
    }

    async fn unacknowledged(
        &self,
        client: ClientId,
        through: Position,
    ) -> Result<Vec<EventId>, LogError> {
        (self.hook)(Moment::BeforeRead).await;
        let result = self.log.unacknowledged(client, through).await;
        (self.hook)(Moment::AfterRead).await;
        result
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, LogError> {
        self.log.position_at(time).await
    }

    async fn prune(
        &self,
        retention: &Retention,
        now: Timestamp,
        limit: u64,
    ) -> Result<u64, LogError> {
        self.log.prune(retention, now, limit).await
    }

    async fn probe(&self, bytes: usize) -> Result<(), LogError> {
        self.log.probe(bytes).await
    }

    async fn check(&self) -> Result<(), LogError> {
        self.log.check().await
    }

    async fn close(&self) -> Result<(), LogError> {
        self.log.close().await
    }
}
