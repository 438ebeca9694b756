//! What the hub's tests share.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use notification_event::{EncodedEvent, Position, Timestamp};
use notification_log::{Bounds, EventLog, LogError, MemoryLog, Page, PageLimit, Retention};

/// A moment in the life of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeAppend,
    AfterAppend,
    BeforeRead,
    AfterRead,
}

type Hook = dyn Fn(Moment) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A log in memory that waits for what a test has it wait for.
pub(crate) struct Hooked {
    log: MemoryLog,
    hook: Box<Hook>,
    lost: Option<Position>,
}

impl Hooked {
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(
        hook: impl Fn(Moment) -> F + Send + Sync + 'static,
    ) -> Self {
        Self {
            log: MemoryLog::new(),
            hook: Box::new(move |moment| Box::pin(hook(moment))),
            lost: None,
        }
    }

    /// The event at this position is not there when it is read.
    #[allow(dead_code, reason = "not every test loses events")]
    pub(crate) fn losing(self, position: Position) -> Self {
        Self {
            lost: Some(position),
            ..self
        }
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

    async fn append(
        &self,
        batch: Arc<[EncodedEvent]>,
        now: Timestamp,
    ) -> Result<Position, LogError> {
        (self.hook)(Moment::BeforeAppend).await;
        let result = self.log.append(batch, now).await;
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
