use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    max: usize,
    max_for_streams: usize,
    refused: Counter,
    turned_away: Counter,
    is_full: Arc<AtomicBool>,
    is_crowded_out: Arc<AtomicBool>,
}

impl Capacity {
    /// How many files a process may have open, at least, that are kept for
    /// everything but streams.
    const RESERVE: u64 = 64;

    /// What a process that may have so many files open can hold. None if there
    /// is no such limit.
    pub fn of_files(limit: Option<u64>) -> Self {
        let of = |max: fn(u64) -> u64| {
            let max = limit.map(max).and_then(|max| usize::try_from(max).ok());
            max.unwrap_or(usize::MAX)
        };
        Self {
            connections: TaskTracker::new(),
            max: of(|files| files.saturating_sub(Self::RESERVE).max(files / 2)),
            max_for_streams: of(|files| files.saturating_sub(Self::RESERVE + files / 20)),
            refused: Counter::default(),
            turned_away: Counter::default(),
            is_full: Arc::default(),
            is_crowded_out: Arc::default(),
        }
    }

    /// How many connections there may be when a stream is to be opened.
    pub fn max_for_streams(&self) -> usize {
        self.max_for_streams
    }

    /// Whether there is room for another connection. The server needs files of its own.
    pub(crate) fn admits(&self) -> bool {
        let connections = self.connections.len();
        if connections < self.max {
            // Not with each that goes: whoever comes and goes would fill the log.
            if !self.is_crowded() {
                self.is_crowded_out.store(false, Ordering::Relaxed);
            }
            return true;
        }
        self.turned_away.inc();
        if !self.is_crowded_out.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                connections,
                "connections are closed as they come: this process may have no more files open"
            );
        }
        false
    }

    /// How long to wait for somebody who says nothing: a quarter of the time while
    /// there is little room left for others.
    pub(crate) fn patience(&self, usual: Duration) -> Duration {
        match self.is_crowded() {
            true => usual / 4,
            false => usual,
        }
    }

    /// Whether more than three quarters of the room are taken.
    fn is_crowded(&self) -> bool {
        self.connections.len() > self.max / 4 * 3
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
        registry.register(
            "notification_connections_refused",
            "Connections closed at once because the process may have no more files open",
            self.turned_away.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_closed_while_there_are_files_for_the_server_itself() {
        let capacity = Capacity::of_files(Some(68));
        assert_eq!(Capacity::of_files(Some(1_000)).max, 936);
        assert_eq!(capacity.max, 34);
        let second = Duration::from_secs(1);
        let open: Vec<_> = (0..24).map(|_| capacity.connections.token()).collect();
        assert_eq!(capacity.patience(second), second);
        let more: Vec<_> = (0..10).map(|_| capacity.connections.token()).collect();
        assert_eq!(capacity.patience(second), second / 4);
        assert!(!capacity.admits() && !capacity.admits());
        assert_eq!(capacity.turned_away.get(), 2);
        drop(more);
        assert!(capacity.admits());
        drop(open);
    }

    #[test]
    fn who_comes_and_goes_at_the_bound_does_not_fill_the_log() {
        let capacity = Capacity::of_files(Some(68));
        let is_said = || capacity.is_crowded_out.load(Ordering::Relaxed);
        let mut open: Vec<_> = (0..34).map(|_| capacity.connections.token()).collect();
        assert!(!capacity.admits() && is_said());
        open.pop();
        assert!(capacity.admits() && is_said());
        // What was said holds until there is much room again.
        open.truncate(24);
        assert!(capacity.admits() && !is_said());
    }

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
