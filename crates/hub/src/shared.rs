use std::sync::Arc;
use std::time::{Instant, SystemTime};

use notification_event::{
    ClientId, Draft, Epoch, Event, Expiry, Invalid, Position, Task, Timestamp,
};
use notification_log::{Change, EventLog, LogError, Page, PageLimit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::{ClientStatus, Clients};
use crate::connections::Connections;
use crate::fan_out::FanOut;
use crate::groups::Groups;
use crate::health::Health;
use crate::presence::Presence;
use crate::publisher::{Prepared, Publisher};
use crate::receipts::Receipts;
use crate::tasks::Tasks;
use crate::{Frame, HubConfig, Metrics, PublishError, Published};

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
    pub(crate) config: HubConfig,
    pub(crate) metrics: Metrics,
    pub(crate) publisher: Publisher,
    pub(crate) health: Arc<Health>,
    /// No further events are taken.
    pub(crate) closing: CancellationToken,
    pub(crate) workers: TaskTracker,
    pub(crate) started: Instant,
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
        let now = Timestamp::from(SystemTime::now());
        let prepared = drafts.into_iter().enumerate().map(|(index, draft)| {
            if matches!(draft.expiry, Some(Expiry::At(time)) if time <= now) {
                let invalid = Invalid::field("expires_at", format!("a time after now ({now})"));
                return Err(PublishError::Invalid { index, invalid });
            }
            let event = self.tasks.date(Event::new(draft, now));
            Ok(Prepared {
                task: Task::of(&event.draft),
                event: event.encode(),
            })
        });
        let prepared = prepared.collect::<Result<_, _>>()?;
        self.publisher.publish(prepared, changes).await
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
