use std::sync::Arc;

use notification_event::Position;
use tokio::sync::watch;

use crate::Frame;
use crate::fan_out::FanOut;

/// Looks on while the log is written: at every event, of all topics and
/// whoever it is for. Who follows is not one of those whom events reach.
///
/// It is for those who want to know what has changed, and look again then: what
/// they have missed they are not told, but that they have.
#[derive(Debug)]
pub struct Follow {
    fan_out: Arc<FanOut>,
    heads: watch::Receiver<Position>,
    /// Everything up to here was looked at.
    position: Position,
}

/// What was written since one last looked.
#[derive(Debug)]
pub struct Followed {
    /// The events, in order.
    pub frames: Vec<Arc<Frame>>,
    /// Whether there were others before these, too many to be looked at.
    pub missed: bool,
}

impl Follow {
    pub(crate) fn new(fan_out: Arc<FanOut>) -> Self {
        Self {
            heads: fan_out.heads(),
            position: fan_out.head(),
            fan_out,
        }
    }

    /// Waits until there is something that was not looked at. False if there
    /// will be nothing more.
    ///
    /// Nothing is lost if this is dropped.
    pub async fn changed(&mut self) -> bool {
        while self.fan_out.head() == self.position {
            if self.fan_out.is_closed() || self.heads.changed().await.is_err() {
                return false;
            }
        }
        true
    }

    /// What was written since this was last asked.
    pub fn read(&mut self) -> Followed {
        let (frames, missed) = match self.fan_out.read_tail(self.position, usize::MAX) {
            Some(frames) => (frames, false),
            None => (self.fan_out.recent(), true),
        };
        match frames.last() {
            Some(last) => self.position = last.position,
            None if missed => self.skip(),
            None => {}
        }
        Followed { frames, missed }
    }

    /// What is in memory of that which was looked at.
    pub fn seen(&self) -> Vec<Arc<Frame>> {
        let mut recent = self.fan_out.recent();
        recent.retain(|frame| frame.position <= self.position);
        recent
    }

    /// Looks at nothing that was written until now.
    pub fn skip(&mut self) {
        self.position = self.fan_out.head();
    }
}
