use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use notification_event::Position;
use uuid::Uuid;

use crate::Metrics;
use crate::group::Group;

/// The open streams.
#[derive(Debug)]
pub(crate) struct Connections {
    // A std mutex: held to add, remove and look through, never across an await.
    open: Mutex<HashMap<Uuid, Arc<Connection>>>,
    metrics: Metrics,
}

/// What is known of one open stream while its reader is busy, or does not read.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: Uuid,
    group: Arc<Group>,
    position: AtomicU64,
    pace: AtomicU8,
}

/// Whether a reader keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Pace {
    /// It has not yet reached the head since it began.
    Starting,
    /// It reached the head, and its group's ring has all it needs.
    Live,
    /// It was live, and the ring has moved on without it.
    Behind,
}

impl Connections {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            open: Mutex::default(),
            metrics,
        }
    }

    pub(crate) fn add(&self, group: Arc<Group>, position: Position) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            id: Uuid::new_v4(),
            group,
            position: AtomicU64::new(position.0),
            pace: AtomicU8::new(Pace::Starting as u8),
        });
        self.open().insert(connection.id, connection.clone());
        self.metrics.connections.inc();
        connection
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        self.open().remove(&connection.id);
        self.metrics.connections.dec();
        if connection
            .pace
            .swap(Pace::Starting as u8, Ordering::Relaxed)
            == Pace::Behind as u8
        {
            self.metrics.slow_readers.dec();
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.open().len()
    }

    /// Finds the readers that have fallen behind without noticing it, because
    /// they do not read.
    pub(crate) fn look_for_slow_readers(&self) {
        for connection in self.open().values() {
            let position = Position(connection.position.load(Ordering::Relaxed));
            if connection.group.is_past(position) {
                self.fell_behind(connection);
            }
        }
    }

    /// Takes note that a reader which was live has to go to the log.
    pub(crate) fn fell_behind(&self, connection: &Connection) {
        if connection.change_pace(Pace::Live, Pace::Behind) {
            let cursor_position = connection.position.load(Ordering::Relaxed);
            tracing::info!(connection = %connection.id, position = cursor_position, "slow reader");
            self.metrics.slow_readers_seen.inc();
            self.metrics.slow_readers.inc();
        }
    }

    /// Takes note that a reader has all there is.
    pub(crate) fn caught_up(&self, connection: &Connection) {
        if connection.change_pace(Pace::Behind, Pace::Live) {
            self.metrics.slow_readers.dec();
        } else {
            connection.change_pace(Pace::Starting, Pace::Live);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Connection>>> {
        self.open.lock().expect("no holder panics")
    }
}

impl Connection {
    pub(crate) fn moved_to(&self, position: Position) {
        self.position.store(position.0, Ordering::Relaxed);
    }

    fn change_pace(&self, from: Pace, to: Pace) -> bool {
        let (from, to) = (from as u8, to as u8);
        let changed = self
            .pace
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        changed.is_ok()
    }
}
