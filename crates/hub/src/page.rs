use std::collections::VecDeque;
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

/// Where a reader begins who wants nothing that is older than some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// After this.
    pub cursor: Cursor,
    /// Whether that is later than where it wanted to.
    pub truncated: bool,
}

/// The later of a place and a time, and whether anything in between is passed over.
pub(crate) async fn find(
    shared: &Shared,
    start: Start,
    not_before: Option<Timestamp>,
) -> Result<Beginning, LogError> {
    let place = start.find(&*shared.log).await?;
    let head = shared.fan_out.head();
    let wanted = place.position.unwrap_or(head);
    let floor = match not_before {
        Some(time) => Start::At(time).find(&*shared.log).await?.position,
        None => None,
    };
    let position = floor.map_or(wanted, |floor| floor.max(wanted)).min(head);
    Ok(Beginning {
        cursor: Cursor {
            epoch: shared.epoch,
            position,
        },
        truncated: place.gap.is_some() || position > wanted,
    })
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

/// The newest part of what is wanted, as one reader sees it.
#[derive(Debug)]
pub struct NewestEvents {
    /// The events, in order.
    pub frames: Vec<Arc<Frame>>,
    /// Where to read on for what is newer.
    pub cursor: Cursor,
    /// If there are, or may be, older ones after the start: the newest place where.
    pub older: Option<Cursor>,
    /// Whether events after the start are gone.
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
        let position = frame.position;
        if is_wanted(self.shared, &self.request, &frame, self.now) {
            let bytes = self.bytes + frame.size();
            let is_full = self.frames.len() == self.request.limit
                || (!self.frames.is_empty() && bytes > MAX_BYTES);
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

/// Whether a reader is shown an event.
fn is_wanted(shared: &Shared, request: &PageRequest, frame: &Frame, now: Timestamp) -> bool {
    let PageRequest { filter, client, .. } = request;
    filter.matches(&frame.head)
        && shared.is_for(frame, client.as_ref())
        && !frame.head.is_expired(now)
}

/// Reads the log from its end, or from `through`, towards the start, block by block,
/// each of them forwards.
pub(crate) async fn read_newest(
    shared: &Shared,
    request: PageRequest,
    through: Option<Position>,
) -> Result<NewestEvents, LogError> {
    let place = request.start.find(&*shared.log).await?;
    let head = shared.fan_out.head();
    let head = through.map_or(head, |through| head.min(through));
    let start = place.position.unwrap_or(head);
    let now = Timestamp::from(SystemTime::now());
    let mut newest = Newest {
        limit: request.limit,
        frames: VecDeque::new(),
        bytes: 0,
        is_full: false,
    };
    let mut is_gone = false;
    // Everything after this was looked at.
    let mut end = head;
    while start < end && !is_gone && !newest.is_full && head.since(end) < LOOK_AT {
        let begin = Position(end.0.saturating_sub(STEP.events as u64)).max(start);
        let mut block = Newest {
            limit: newest.limit - newest.frames.len(),
            frames: VecDeque::new(),
            bytes: newest.bytes,
            is_full: false,
        };
        let mut position = begin;
        while position < end {
            let limit = PageLimit {
                events: end.since(position) as usize,
                ..STEP
            };
            let step = shared.read(position, limit).await?;
            if position < step.floor {
                // Removed while this was read, and all that is older with it.
                is_gone = true;
            }
            let Some(last) = step.frames.last() else {
                break;
            };
            position = last.position;
            for frame in step.frames {
                if frame.position <= end && is_wanted(shared, &request, &frame, now) {
                    block.push(frame);
                }
            }
        }
        newest.precede_by(block);
        end = begin;
    }
    let place_of = |position| Cursor {
        epoch: shared.epoch,
        position,
    };
    let older = match newest.frames.front().filter(|_| newest.is_full) {
        Some(oldest) => Some(Position(oldest.position.0 - 1)),
        None => (start < end && !is_gone).then_some(end),
    };
    Ok(NewestEvents {
        cursor: place_of(head),
        older: older.map(place_of),
        frames: newest.frames.into(),
        truncated: is_gone || place.gap.is_some(),
        narrowed: None,
    })
}

/// The newest of what was pushed, as far as there is room.
struct Newest {
    limit: usize,
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// Whether something older had no room.
    is_full: bool,
}

impl Newest {
    fn push(&mut self, frame: Arc<Frame>) {
        self.bytes += frame.size();
        self.frames.push_back(frame);
        while self.frames.len() > self.limit || (self.frames.len() > 1 && self.bytes > MAX_BYTES) {
            let Some(oldest) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= oldest.size();
            self.is_full = true;
        }
    }

    /// Puts before it what is older.
    fn precede_by(&mut self, older: Self) {
        self.is_full |= older.is_full;
        for frame in older.frames.into_iter().rev() {
            let bytes = self.bytes + frame.size();
            if !self.frames.is_empty() && bytes > MAX_BYTES {
                self.is_full = true;
                break;
            }
            self.bytes = bytes;
            self.frames.push_front(frame);
        }
    }
}
