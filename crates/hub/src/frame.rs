use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use notification_event::{Collapse, Cursor, Epoch, Filter, Head, Position, TaskPhase};
use notification_log::Entry;

/// An event as it is written to receivers: made once, shared by all of them.
#[derive(Debug)]
pub struct Frame {
    /// Where the event stands in the log.
    pub position: Position,
    /// What decides who gets it.
    pub head: Head,
    sse: Bytes,
    data: usize,
    json: Range<usize>,
    size: usize,
    /// A newer event has taken its place.
    is_superseded: AtomicBool,
}

impl Frame {
    pub(crate) fn new(epoch: Epoch, entry: Entry) -> Self {
        let Entry {
            position,
            event,
            is_superseded,
        } = entry;
        let size = event.size();
        let id = Cursor { epoch, position }.to_string();
        let mut sse = BytesMut::with_capacity(id.len() + event.json.len() + 13);
        sse.put_slice(b"id: ");
        sse.put_slice(id.as_bytes());
        sse.put_slice(b"\n");
        let data = sse.len();
        sse.put_slice(b"data: ");
        let start = sse.len();
        sse.put_slice(&event.json);
        let json = start..sse.len();
        sse.put_slice(b"\n\n");
        Self {
            position,
            head: event.head,
            sse: sse.freeze(),
            data,
            json,
            size,
            is_superseded: AtomicBool::new(is_superseded),
        }
    }

    /// The event in `text/event-stream` form: `id:` with its cursor, `data:`
    /// with its JSON, and the empty line.
    pub fn sse(&self) -> &Bytes {
        &self.sse
    }

    /// The same without its `id:`, for what is sent out of the log's order.
    pub fn sse_without_id(&self) -> &[u8] {
        &self.sse[self.data..]
    }

    /// How many bytes it takes to keep, about: its JSON and its audience.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The event's JSON, on one line.
    pub fn json(&self) -> &[u8] {
        &self.sse[self.json.clone()]
    }

    /// Takes note that a newer event has taken its place.
    pub(crate) fn supersede(&self) {
        self.is_superseded.store(true, Ordering::Relaxed);
    }

    /// Whether a newer event goes in its place to a subscriber with this filter,
    /// which is above its rate or not, and why.
    ///
    /// Only topic, key and audience of the newer event are known to be the same.
    /// Where a filter might not let it through, it takes nobody's place.
    pub(crate) fn replaced_for(
        &self,
        filter: &Filter,
        is_above_rate: bool,
    ) -> Option<&'static str> {
        if !self.is_superseded.load(Ordering::Relaxed) {
            return None;
        }
        let wants_newer = filter.min_priority.is_none() && filter.tags.is_empty();
        let wants_any = wants_newer && filter.types.is_empty() && filter.names.is_empty();
        match self.head.collapse {
            Some(Collapse::Key(_)) if wants_any => Some("key"),
            // Reports of a task are all of one type, and have no name.
            Some(Collapse::Task {
                phase: TaskPhase::Underway,
                ..
            }) if is_above_rate && wants_newer => Some("rate"),
            _ => None,
        }
    }
}
