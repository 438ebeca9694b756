use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio_util::task::TaskTracker;

use crate::problem::Problem;

/// How many connections there are, and how many there may be.
///
/// A stream stays, so streams are refused while there is still room for others
/// to publish, and to ask what is going on. Those that are open live on.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Every connection is one of its tasks.
    pub(crate) connections: TaskTracker,
    max_for_streams: usize,
    refused: Counter,
    is_full: Arc<AtomicBool>,
}

impl Capacity {
    /// How many files a process may have open, at least, that are kept for
    /// everything but streams.
    const RESERVE: u64 = 64;

    /// What a process that may have so many files open can hold. None if there
    /// is no such limit.
    pub fn of_files(limit: Option<u64>) -> Self {
        let max = limit.map(|files| files.saturating_sub(Self::RESERVE + files / 20));
        Self {
            connections: TaskTracker::new(),
            max_for_streams: max
                .map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX)),
            refused: Counter::default(),
            is_full: Arc::default(),
        }
    }

    /// How many connections there may be when a stream is to be opened.
    pub fn max_for_streams(&self) -> usize {
        self.max_for_streams
    }

    /// Refuses a stream for which there is no room: its own connection is among those there are.
    pub(crate) fn admit_stream(&self) -> Result<(), Problem> {
        let is_full = self.connections.len() > self.max_for_streams;
        let was_full = self.is_full.swap(is_full, Ordering::Relaxed);
        if !is_full {
            return Ok(());
        }
        self.refused.inc();
        if !was_full {
            tracing::warn!(
                connections = self.connections.len(),
                "no more streams are opened: this process may have no more files open"
            );
        }
        let detail = "there is no room for another stream; raise the server's limit of open files";
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "notification_streams_refused",
            "Streams not opened because the process may have no more files open",
            self.refused.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_refused_before_there_is_no_room_at_all() {
        assert_eq!(Capacity::of_files(None).max_for_streams(), usize::MAX);
        assert_eq!(Capacity::of_files(Some(10)).max_for_streams(), 0);
        let capacity = Capacity::of_files(Some(70));
        assert_eq!(capacity.max_for_streams(), 3);
        let open: Vec<_> = (0..3).map(|_| capacity.connections.token()).collect();
        assert!(capacity.admit_stream().is_ok());
        let fourth = capacity.connections.token();
        assert!(capacity.admit_stream().is_err());
        assert_eq!(capacity.refused.get(), 1);
        drop(open);
        assert!(capacity.admit_stream().is_ok());
        drop(fourth);
    }
}
