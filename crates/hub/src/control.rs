use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use notification_event::{Cursor, EventType, NotificationType};

use crate::Frame;
use crate::connections::{Connection, End};

/// What whoever opens a stream keeps, to have a say in it while it is open:
/// which events it is given, what else it is told, and its end.
///
/// One stream at a time: another that is opened with the same control takes the
/// place of the one before.
#[derive(Debug)]
pub struct StreamControl {
    /// A bit for each [`Kind`] that is given.
    kinds: AtomicU8,
    /// There are asides. Looked at for each delivery, and hardly ever set.
    has_asides: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Arc<Connection>>,
    /// Where the stream that is not open any more was.
    left_at: Option<Cursor>,
    asides: Vec<Bytes>,
}

/// What an event is: its type and, of a notification, how it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// How far a job is.
    Progress,
    /// An application's own event.
    Application,
    /// A message for people.
    Notification(NotificationType),
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Progress,
        Self::Application,
        Self::Notification(NotificationType::Info),
        Self::Notification(NotificationType::Success),
        Self::Notification(NotificationType::Warning),
        Self::Notification(NotificationType::Error),
    ];

    /// The kind of an event with this type, that is meant so.
    pub(crate) fn new(event_type: EventType, notification: NotificationType) -> Self {
        match event_type {
            EventType::Progress => Self::Progress,
            EventType::Application => Self::Application,
            EventType::Notification => Self::Notification(notification),
        }
    }

    fn bit(self) -> u8 {
        let place = Self::ALL.iter().position(|kind| *kind == self);
        1 << place.expect("every kind is there")
    }
}

const EVERY_KIND: u8 = (1 << Kind::ALL.len()) - 1;

impl Default for StreamControl {
    fn default() -> Self {
        Self {
            kinds: AtomicU8::new(EVERY_KIND),
            has_asides: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }
}

impl StreamControl {
    /// From now on the stream is given events of these kinds only.
    pub fn give_only(&self, kinds: impl IntoIterator<Item = Kind>) {
        let kinds = kinds.into_iter().fold(0, |bits, kind| bits | kind.bit());
        self.kinds.store(kinds, Ordering::Relaxed);
    }

    /// Has the stream say something beside its events, as it is. If none is open,
    /// the next one says it; what is waiting to be said is not said twice.
    pub fn say(&self, text: Bytes) {
        let mut state = self.state();
        if !state.asides.contains(&text) {
            state.asides.push(text);
        }
        self.has_asides.store(true, Ordering::SeqCst);
        if let Some(open) = &state.open {
            open.wake();
        }
    }

    /// Ends the stream, if one is open.
    pub fn end(&self, end: End) {
        let open = self.state().open.take();
        if let Some(open) = open {
            open.close(end);
        }
    }

    /// Whether a stream is open.
    pub fn is_open(&self) -> bool {
        self.state().open.is_some()
    }

    /// Where the stream was that was open last, if none is open.
    pub fn left_at(&self) -> Option<Cursor> {
        self.state().left_at
    }

    /// Whether an event is of a kind that is given.
    pub(crate) fn gives(&self, frame: &Frame) -> bool {
        let kinds = self.kinds.load(Ordering::Relaxed);
        kinds == EVERY_KIND || kinds & frame.kind().bit() != 0
    }

    /// What is to be said now, if there is something.
    pub(crate) fn take_asides(&self) -> Option<Vec<Bytes>> {
        if !self.has_asides.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state();
        self.has_asides.store(false, Ordering::SeqCst);
        let asides = std::mem::take(&mut state.asides);
        (!asides.is_empty()).then_some(asides)
    }

    /// A stream was opened with it.
    pub(crate) fn attach(&self, connection: &Arc<Connection>) {
        let former = self.state().open.replace(connection.clone());
        if let Some(former) = former {
            former.close(End::Over("another stream has taken its place"));
        }
    }

    /// A stream that was opened with it is over, and was there.
    pub(crate) fn detach(&self, connection: &Connection, cursor: Cursor) {
        let mut state = self.state();
        let is_it = |open: &mut Arc<Connection>| open.id == connection.id;
        if state.open.take_if(is_it).is_some() || state.open.is_none() {
            state.left_at = Some(cursor);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}
