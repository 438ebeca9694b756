use std::sync::Arc;
use std::time::SystemTime;

use notification_event::{ClientId, Cursor, Filter, Pattern, Position, Timestamp};
use notification_log::{LogError, PageLimit};

use crate::shared::Shared;
use crate::{Frame, Start};

/// How many events one page looks at, at most, to find those that are wanted.
const LOOK_AT: u64 = 10_000;

/// How many bytes of events one page has, at most, beyond its first.
const MAX_BYTES: usize = 1 << 20;

/// How much of the log is read in one step.
const STEP: PageLimit = PageLimit {
    events: 512,
    bytes: 1 << 20,
};

/// Which part of the log is wanted.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Which events.
    pub filter: Filter,
    /// Who asks: events for an audience are shown only to the clients in it.
    pub client: Option<ClientId>,
    /// From where on.
    pub start: Start,
    /// How many at most. There may be fewer, because a page is bounded in bytes, too.
    pub limit: usize,
}

/// A part of the log, as one reader sees it.
#[derive(Debug)]
pub struct EventPage {
    /// The events, in order.
    pub frames: Vec<Arc<Frame>>,
    /// Where to read on.
    pub cursor: Cursor,
    /// Whether there is more after the cursor right now.
    pub has_more: bool,
    /// Whether events between the start and the first of these are gone.
    pub truncated: bool,
    /// The patterns that are left of those that were asked for, if that is less.
    pub narrowed: Option<Vec<Pattern>>,
}

pub(crate) async fn read(shared: &Shared, request: PageRequest) -> Result<EventPage, LogError> {
    let place = request.start.find(&*shared.log).await?;
    // Not the log's head, which is ahead while a commit is being handed out.
    let head = shared.fan_out.head();
    let start = place.position.unwrap_or(head);
    let mut page = Page {
        shared,
        request,
        now: Timestamp::from(SystemTime::now()),
        frames: Vec::new(),
        bytes: 0,
        position: start,
    };
    let mut truncated = place.gap.is_some();
    while page.position < head && page.position.since(start) < LOOK_AT {
        let step = shared.read(page.position, STEP).await?;
        if page.position < step.floor {
            truncated = true;
            page.position = step.floor;
        }
        if !step.frames.into_iter().all(|frame| page.take(frame)) {
            break;
        }
    }
    Ok(EventPage {
        cursor: Cursor {
            epoch: shared.epoch,
            position: page.position,
        },
        has_more: page.position < shared.fan_out.head(),
        frames: page.frames,
        truncated,
        narrowed: None,
    })
}

/// A page that is being filled.
struct Page<'a> {
    shared: &'a Shared,
    request: PageRequest,
    now: Timestamp,
    frames: Vec<Arc<Frame>>,
    bytes: usize,
    /// Everything up to here was looked at.
    position: Position,
}

impl Page<'_> {
    /// Takes the next frame, if it is wanted. False if there is no room for it.
    fn take(&mut self, frame: Arc<Frame>) -> bool {
        let PageRequest {
            filter,
            client,
            limit,
            ..
        } = &self.request;
        let position = frame.position;
        if filter.matches(&frame.head)
            && self.shared.is_for(&frame, client.as_ref())
            && !frame.head.is_expired(self.now)
        {
            let bytes = self.bytes + frame.size();
            let is_full =
                self.frames.len() == *limit || (!self.frames.is_empty() && bytes > MAX_BYTES);
            if is_full {
                return false;
            }
            self.bytes = bytes;
            self.frames.push(frame);
        }
        self.position = position;
        true
    }
}
