use std::sync::Arc;
use std::time::Instant;

use notification_event::{Epoch, Position};
use notification_log::{EventLog, LogError, Page, PageLimit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::Connections;
use crate::fan_out::FanOut;
use crate::health::Health;
use crate::publisher::Publisher;
use crate::{Frame, Metrics};

/// What the hub's handles and subscriptions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) epoch: Epoch,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) fan_out: Arc<FanOut>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) metrics: Metrics,
    pub(crate) publisher: Publisher,
    pub(crate) health: Arc<Health>,
    /// No further events are taken.
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) started: Instant,
}

/// A part of the log, as frames.
pub(crate) struct FramePage {
    pub(crate) floor: Position,
    pub(crate) frames: Vec<Arc<Frame>>,
}

impl Shared {
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
