use std::sync::Arc;

use notification_event::Position;
use notification_log::{LogError, PageLimit};

use crate::Frame;
use crate::shared::Shared;

/// How much of it is read in one step.
const STEP: PageLimit = PageLimit {
    events: 256,
    bytes: 64 * 1024,
};

/// The newest state of everything that has one, as far as it stood when a
/// stream began. What changes while it is read comes after it, as what is new.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Everything up to here has been read.
    at: Position,
    through: Position,
    events: u64,
}

impl Snapshot {
    pub(crate) fn new(floor: Position, through: Position) -> Self {
        Self {
            at: floor,
            through,
            events: 0,
        }
    }

    /// What comes next; none at the end.
    pub(crate) async fn read(&mut self, hub: &Shared) -> Result<Option<Vec<Arc<Frame>>>, LogError> {
        let page = hub.log.read_newest(self.at, self.through, STEP).await?;
        let Some(last) = page.entries.last() else {
            return Ok(None);
        };
        self.at = last.position;
        let frames = page.entries.into_iter();
        let frames = frames.map(|entry| Arc::new(Frame::new(hub.epoch, entry)));
        Ok(Some(frames.collect()))
    }

    /// Takes note that so many were wanted.
    pub(crate) fn count(&mut self, events: usize) {
        self.events += events as u64;
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }
}
