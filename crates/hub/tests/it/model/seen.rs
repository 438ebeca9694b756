use std::collections::HashSet;

use notification_event::{ClientId, Draft, Filter, Position};
use notification_hub::{EventPage, PageRequest, PublishError, Published, Subscribe, Subscription};

/// What a publisher asked for.
pub(super) struct Request {
    /// None of them is a report.
    pub(super) drafts: Vec<Draft>,
    /// None was not heard, as by a publisher whose server vanished.
    pub(super) answer: Option<Result<Vec<Published>, PublishError>>,
}

/// A stream, and all that its reader was told.
pub(super) struct Stream {
    pub(super) subscribe: Subscribe,
    /// In which life of the server.
    pub(super) life: usize,
    pub(super) opened_at: u64,
    pub(super) started: Position,
    pub(super) told: Vec<Told>,
    /// Where it had come when it was last looked at.
    pub(super) end: Seen,
    pub(super) conflated: u64,
    /// It had all there was in the end.
    pub(super) is_at_head: bool,
    pub(super) snapshot: Vec<Position>,
    pub(super) snapshot_end: Option<Seen>,
    /// Up to where it was confirmed to have reached its reader.
    pub(super) confirmed: Position,
    /// What was there by then.
    pub(super) arrived: HashSet<Position>,
    pub(super) open: Option<Subscription>,
}

/// Where a stream was at some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) position: Position,
    pub(super) at: u64,
    /// The log's head and floor then.
    pub(super) head: Position,
    pub(super) floor: Position,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Event(Seen),
    Gap(Seen),
}

/// A part of the log that was read.
pub(super) struct Read {
    pub(super) request: PageRequest,
    pub(super) page: EventPage,
}

/// What a client has acknowledged.
pub(super) struct Acknowledgement {
    pub(super) client: ClientId,
    pub(super) what: What,
    pub(super) life: usize,
    pub(super) requested_at: u64,
    /// When the answer was heard, and whether it was done.
    pub(super) answered: Option<(u64, bool)>,
}

pub(super) enum What {
    Events(Vec<Position>),
    Through(Position),
}

/// That the server says of a client whose place follows what it acknowledges:
/// of what this filter wants, it is done with everything between these.
pub(super) struct Passed {
    pub(super) filter: Filter,
    pub(super) from: Position,
    pub(super) to: Seen,
}

impl Stream {
    /// The positions of the events that it was given.
    pub(super) fn events(&self) -> impl Iterator<Item = Position> {
        let events = self.told.iter().filter_map(Told::event);
        events.map(|seen| seen.position)
    }
}

impl Told {
    pub(super) fn event(&self) -> Option<Seen> {
        match self {
            Self::Event(seen) => Some(*seen),
            Self::Gap(_) => None,
        }
    }
}

impl Acknowledgement {
    pub(super) fn covers(&self, position: Position) -> bool {
        let was_refused = self.answered.is_some_and(|(_, is_done)| !is_done);
        let is_meant = match &self.what {
            What::Events(positions) => positions.contains(&position),
            What::Through(through) => position <= *through,
        };
        is_meant && !was_refused
    }
}
