use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use notification_event::{ClientId, Cursor, Epoch, Head, Position};
use notification_log::Entry;

/// An event as it is written to receivers: made once, shared by all of them.
#[derive(Debug)]
pub struct Frame {
    /// Where the event stands in the log.
    pub position: Position,
    /// What decides who gets it.
    pub head: Head,
    sse: Bytes,
    json: Range<usize>,
    size: usize,
}

impl Frame {
    pub(crate) fn new(epoch: Epoch, entry: Entry) -> Self {
        let Entry { position, event } = entry;
        let size = event.size();
        let id = Cursor { epoch, position }.to_string();
        let mut sse = BytesMut::with_capacity(id.len() + event.json.len() + 13);
        sse.put_slice(b"id: ");
        sse.put_slice(id.as_bytes());
        sse.put_slice(b"\ndata: ");
        let start = sse.len();
        sse.put_slice(&event.json);
        let json = start..sse.len();
        sse.put_slice(b"\n\n");
        Self {
            position,
            head: event.head,
            sse: sse.freeze(),
            json,
            size,
        }
    }

    /// Whether a subscriber that is `client`, or nobody in particular, may have it.
    pub(crate) fn is_for(&self, client: Option<&ClientId>) -> bool {
        let audience = self.head.audience.as_ref();
        audience.is_none_or(|audience| audience.includes(client))
    }

    /// The event in `text/event-stream` form: `id:` with its cursor, `data:`
    /// with its JSON, and the empty line.
    pub fn sse(&self) -> &Bytes {
        &self.sse
    }

    /// How many bytes it takes to keep, about: its JSON and its audience.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The event's JSON, on one line.
    pub fn json(&self) -> &[u8] {
        &self.sse[self.json.clone()]
    }
}
