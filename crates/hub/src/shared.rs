use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notification_event::{
    ClientId, Draft, Epoch, Event, Expiry, Invalid, Position, Task, Timestamp,
};
use notification_log::{Change, EventLog, LogError, Page, PageLimit};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, Now, Totals};
use crate::audit::Audit;
use crate::clients::{ClientStatus, Clients};
use crate::connections::{Connection, Connections, End};
use crate::declarations::Declarations;
use crate::fan_out::FanOut;
use crate::groups::Groups;
use crate::health::Health;
use crate::metrics::ReasonLabel;
use crate::own_tasks::OwnTasks;
use crate::presence::Presence;
use crate::publisher::{Prepared, Publisher};
use crate::receipts::Receipts;
use crate::tasks::Tasks;
use crate::{Explains, Frame, HubConfig, Metrics, PublishError, Published};

/// How long a stream that is to end has for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long before its credential expires a stream is told.
const EXPIRES_SOON: Duration = Duration::from_secs(60);

/// What the hub's handles and subscriptions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) epoch: Epoch,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) fan_out: Arc<FanOut>,
    pub(crate) connections: Connections,
    pub(crate) groups: Arc<Groups>,
    pub(crate) clients: Clients,
    pub(crate) presence: Presence,
    pub(crate) receipts: Receipts,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) own_tasks: OwnTasks,
    pub(crate) declarations: Declarations,
    pub(crate) config: HubConfig,
    pub(crate) metrics: Metrics,
    pub(crate) activity: Arc<Activity>,
    pub(crate) audit: Audit,
    /// Held by whoever stores keys, from when they were read or changed until
    /// that is on its way to the log, so that nothing older is stored after it.
    pub(crate) storing_keys: Mutex<()>,
    pub(crate) publisher: Publisher,
    pub(crate) health: Arc<Health>,
    /// No further events are taken.
    pub(crate) closing: CancellationToken,
    pub(crate) workers: TaskTracker,
    pub(crate) started: Instant,
    /// Who else knows what became of events.
    pub(crate) explains: std::sync::Mutex<Vec<Arc<dyn Explains>>>,
}

/// A part of the log, as frames.
pub(crate) struct FramePage {
    pub(crate) floor: Position,
    pub(crate) frames: Vec<Arc<Frame>>,
}

impl Shared {
    /// Publishes events and makes changes, all or nothing.
    pub(crate) async fn publish(
        &self,
        drafts: Vec<Draft>,
        changes: Vec<Change>,
    ) -> Result<Vec<Published>, PublishError> {
        self.publish_as(drafts, changes, None, |_, _| Ok(())).await
    }

    /// Likewise, noting that it was `publisher`, if `admit` takes so many events of so many bytes.
    pub(crate) async fn publish_as(
        &self,
        drafts: Vec<Draft>,
        changes: Vec<Change>,
        publisher: Option<Arc<str>>,
        admit: impl FnOnce(usize, usize) -> Result<(), PublishError>,
    ) -> Result<Vec<Published>, PublishError> {
        let now = Timestamp::from(SystemTime::now());
        let prepared = drafts.into_iter().enumerate().map(|(index, mut draft)| {
            self.declarations.place(&mut draft);
            let declared = self.declarations.check(&draft);
            declared.map_err(|invalid| PublishError::Invalid { index, invalid })?;
            if matches!(draft.expiry, Some(Expiry::At(time)) if time <= now) {
                let invalid = Invalid::field("expires_at", format!("a time after now ({now})"));
                return Err(PublishError::Invalid { index, invalid });
            }
            let event = self.tasks.date(Event::new(draft, now));
            let task = Task::of(&event.draft);
            let mut event = event.encode();
            event.head.published_by = publisher.clone();
            Ok(Prepared { task, event })
        });
        let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        let bytes = prepared.iter().map(|p| p.event.json.len()).sum();
        admit(prepared.len(), bytes)?;
        self.publisher.publish(prepared, changes).await
    }

    /// Ends the streams whose credential is no longer good, and warns those
    /// whose credential expires soon.
    pub(crate) fn look_for_lapsed(self: &Arc<Self>, now: Timestamp) {
        for connection in self.connections.of_principals() {
            let principal = connection.principal();
            match self.config.access.vouch(principal, now) {
                Err(lapsed) => self.end(&connection, End::Unauthorized(lapsed)),
                Ok(()) => {
                    let soon = now.after(EXPIRES_SOON);
                    if principal.expires_at.is_some_and(|end| end <= soon) {
                        connection.warn_of_expiry();
                    }
                }
            }
        }
    }

    /// Takes a sample of what goes on.
    pub(crate) fn sample(&self) {
        let metrics = &self.metrics;
        let bounds = self.log.bounds();
        let now = Now {
            timestamp: Timestamp::from(SystemTime::now()),
            connections: self.connections.count() as u64,
            log_events: bounds.events(),
            log_bytes: bounds.bytes,
        };
        let totals = Totals {
            published: metrics.published_in_all(),
            delivered: metrics.delivered.get(),
            removed: metrics.pruned.get(),
        };
        self.activity.sample(totals, now);
    }

    /// Has a stream end. It is cut off if it does not do so by itself soon.
    pub(crate) fn end(self: &Arc<Self>, connection: &Arc<Connection>, end: End) {
        if connection.end().is_some() {
            return;
        }
        connection.close(end);
        if let End::Unauthorized(lapsed) = end {
            let label = ReasonLabel {
                reason: lapsed.as_str(),
            };
            self.metrics.ended.get_or_create(&label).inc();
            let id = connection.id;
            tracing::info!(connection = %id, principal = &*connection.principal().name, %lapsed, "stream ended");
        }
        let (shared, connection) = (self.clone(), connection.clone());
        tokio::spawn(async move {
            tokio::time::sleep(CLOSE_TIMEOUT).await;
            if shared.connections.is_open(connection.id) {
                connection.abort();
            }
        });
    }

    /// Forgets a durable client. None if it is not known, or is connected and
    /// must not be.
    pub(crate) async fn forget(
        &self,
        client: &ClientId,
        must_be_away: bool,
    ) -> Result<Option<ClientStatus>, PublishError> {
        let _storing = self.receipts.storing().await;
        let Some(status) = self.clients.forget(client, must_be_away) else {
            return Ok(None);
        };
        self.fan_out.came_back(&status.record.filter, client);
        let forget = vec![Change::ForgetClient(client.clone())];
        let forgotten = self.publish(Vec::new(), forget).await;
        // It may have come back meanwhile, as a new client that was stored before.
        self.clients.store_again(client);
        forgotten.map(|_| Some(status))
    }

    /// Whether an event is for a subscriber that is `client`, or nobody in particular.
    pub(crate) fn is_for(&self, frame: &Frame, client: Option<&ClientId>) -> bool {
        let Some(audience) = &frame.head.audience else {
            return true;
        };
        client.is_some_and(|client| self.groups.includes(audience, client, frame.position))
    }

    /// Whether every event for a frame's audience since is for this subscriber,
    /// as that one is.
    pub(crate) fn is_for_since(&self, frame: &Frame, client: Option<&ClientId>) -> bool {
        let Some(audience) = &frame.head.audience else {
            return true;
        };
        client.is_some_and(|client| self.groups.includes_since(audience, client, frame.position))
    }

    /// Reads on from `after`: from memory if it goes back that far, else from the log.
    pub(crate) async fn read(
        &self,
        after: Position,
        limit: PageLimit,
    ) -> Result<FramePage, LogError> {
        if let Some(frames) = self.fan_out.read_tail(after, limit.events) {
            return Ok(FramePage {
                floor: Position::START,
                frames,
            });
        }
        let head = self.log.bounds().head;
        let page = self.log.read(after, limit).await?;
        check_dense(after.max(page.floor), head, &page)?;
        let frames = page
            .entries
            .into_iter()
            .map(|entry| Arc::new(Frame::new(self.epoch, entry)));
        Ok(FramePage {
            floor: page.floor,
            frames: frames.collect(),
        })
    }
}

/// Positions follow each other. Where one does not, somebody has taken events
/// out by other means than retention, and to go on would be to lose them silently.
fn check_dense(after: Position, head: Position, page: &Page) -> Result<(), LogError> {
    let mut expected = after;
    for entry in &page.entries {
        expected = expected.plus(1);
        if entry.position != expected {
            break;
        }
    }
    let newest = page.entries.last().map_or(after, |entry| entry.position);
    match newest == expected && (newest > after || head <= after) {
        true => Ok(()),
        false => Err(LogError::Damaged(format!(
            "the events after position {} are not there",
            expected.0
        ))),
    }
}
