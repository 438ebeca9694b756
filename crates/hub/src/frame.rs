use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use notification_event::{
    Collapse, Cursor, Epoch, EventType, Filter, Head, NotificationType, Position, TaskPhase,
};
use notification_log::Entry;
use serde::Deserialize;

use crate::{Kind, Occurrence};

/// An event as it is written to receivers: made once, shared by all of them.
#[derive(Debug)]
pub struct Frame {
    /// Where the event stands in the log.
    pub position: Position,
    /// What decides who gets it.
    pub head: Head,
    chunk: Bytes,
    sse: Range<usize>,
    data: usize,
    json: Range<usize>,
    size: usize,
    /// Looked for when somebody wants to know.
    kind: OnceLock<Kind>,
    /// Likewise: as what it is delivered to those who subscribe to its event type.
    occurrence: OnceLock<Option<Occurrence>>,
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
        let length = id.len() + event.json.len() + "id: \ndata: \n\n".len();
        let size_line = format!("{length:x}\r\n");
        let mut chunk = BytesMut::with_capacity(size_line.len() + length + 2);
        chunk.put_slice(size_line.as_bytes());
        let start = chunk.len();
        chunk.put_slice(b"id: ");
        chunk.put_slice(id.as_bytes());
        chunk.put_slice(b"\n");
        let data = chunk.len();
        chunk.put_slice(b"data: ");
        let json = chunk.len()..chunk.len() + event.json.len();
        chunk.put_slice(&event.json);
        chunk.put_slice(b"\n\n");
        let sse = start..chunk.len();
        debug_assert_eq!(sse.len(), length);
        chunk.put_slice(b"\r\n");
        Self {
            position,
            head: event.head,
            chunk: chunk.freeze(),
            sse,
            data,
            json,
            size,
            kind: OnceLock::new(),
            occurrence: OnceLock::new(),
            is_superseded: AtomicBool::new(is_superseded),
        }
    }

    /// The event in `text/event-stream` form: `id:` with its cursor, `data:`
    /// with its JSON, and the empty line.
    pub fn sse(&self) -> Bytes {
        self.chunk.slice(self.sse.clone())
    }

    /// The same, to be copied.
    pub fn sse_bytes(&self) -> &[u8] {
        &self.chunk[self.sse.clone()]
    }

    /// The same as one chunk of an HTTP/1.1 body (RFC 9112, section 7.1), so
    /// that whoever writes to a socket has nothing left to put together.
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// The same without its `id:`, for what is sent out of the log's order.
    pub fn sse_without_id(&self) -> &[u8] {
        &self.chunk[self.data..self.sse.end]
    }

    /// The line of the same that has its cursor.
    pub fn id_line(&self) -> &[u8] {
        &self.chunk[self.sse.start..self.data]
    }

    /// As what it is delivered to those who subscribe to its event type, of which
    /// there is one; `make` is asked once.
    pub(crate) fn occurrence(
        &self,
        make: impl FnOnce() -> Option<Occurrence>,
    ) -> Option<&Occurrence> {
        self.occurrence.get_or_init(make).as_ref()
    }

    /// Its cursor, as clients see it.
    pub fn cursor(&self) -> &str {
        let line = self.id_line();
        let cursor = line
            .strip_prefix(b"id: ")
            .and_then(|rest| rest.strip_suffix(b"\n"));
        std::str::from_utf8(cursor.unwrap_or_default()).unwrap_or_default()
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        *self.kind.get_or_init(|| {
            let meant = match self.head.event_type {
                EventType::Notification => self.notification_type(),
                EventType::Progress | EventType::Application => NotificationType::default(),
            };
            Kind::new(self.head.event_type, meant)
        })
    }

    fn notification_type(&self) -> NotificationType {
        #[derive(Deserialize)]
        struct Notification<'a> {
            notification_type: &'a str,
        }
        let read = serde_json::from_slice::<Notification<'_>>(self.json());
        let meant = read
            .ok()
            .and_then(|read| read.notification_type.parse().ok());
        meant.unwrap_or_default()
    }

    /// How many bytes it takes to keep, about: its JSON and its audience.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The event's JSON, on one line.
    pub fn json(&self) -> &[u8] {
        &self.chunk[self.json.clone()]
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
