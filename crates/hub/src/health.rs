use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use notification_log::LogError;

/// How long a commit may take before the log is taken to hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the log takes what it is given.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failure: Option<LogError>,
    writing: Option<Writing>,
    /// How large the write was that failed.
    failed_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Writing {
    since: Instant,
    bytes: usize,
}

impl Health {
    /// Why the last write failed, or the one that is under way does not end.
    pub(crate) fn failure(&self, now: Instant) -> Option<LogError> {
        let state = self.state();
        let writing = state
            .writing
            .map(|writing| now.duration_since(writing.since));
        match writing {
            Some(taken) if taken > PATIENCE => {
                let seconds = taken.as_secs();
                let hangs = format!("a commit has been under way for {seconds} s");
                Some(LogError::Unavailable(hangs))
            }
            _ => state.failure.clone(),
        }
    }

    /// Takes note that events of so many bytes are about to be appended.
    pub(crate) fn writing(&self, since: Instant, bytes: usize) {
        self.state().writing = Some(Writing { since, bytes });
    }

    /// Takes note that the append has ended.
    pub(crate) fn written(&self, result: Result<(), &LogError>) {
        let mut state = self.state();
        let writing = state.writing.take();
        match result {
            // Less than what had failed shows nothing.
            Ok(()) if writing.is_some_and(|w| w.bytes < state.failed_bytes) => {}
            Ok(()) => state.recovered(),
            Err(error) => {
                state.failed_bytes = writing.map_or(0, |writing| writing.bytes);
                state.failed(error);
            }
        }
    }

    /// Takes note of something else that failed.
    pub(crate) fn failed(&self, error: &LogError) {
        self.state().failed(error);
    }

    /// Takes note that as much was written as what had failed.
    pub(crate) fn recovered(&self) {
        self.state().recovered();
    }

    /// How much has to be written to know that the log takes events again.
    pub(crate) fn failed_bytes(&self) -> usize {
        self.state().failed_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    fn failed(&mut self, error: &LogError) {
        if self.failure.as_ref() != Some(error) {
            tracing::error!(%error, "the log cannot be written; publishing is refused");
            self.failure = Some(error.clone());
        }
    }

    fn recovered(&mut self) {
        if self.failure.take().is_some() {
            tracing::info!("the log can be written again");
            self.failed_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_well_until_it_fails_or_hangs() {
        let health = Health::default();
        let start = Instant::now();
        let later = start + PATIENCE + Duration::from_secs(1);
        assert_eq!(health.failure(later), None);
        health.writing(start, 100);
        assert_eq!(health.failure(start), None);
        let hangs = health.failure(later).unwrap().to_string();
        assert!(hangs.contains("11 s"), "{hangs}");
        health.written(Ok(()));
        assert_eq!(health.failure(later), None);

        let full = LogError::Unavailable("full".into());
        health.writing(start, 100);
        health.written(Err(&full));
        assert_eq!(health.failure(later), Some(full.clone()));
        assert_eq!(health.failed_bytes(), 100);
        health.writing(start, 99);
        health.written(Ok(()));
        assert!(health.failure(start).is_some());
        health.recovered();
        assert_eq!((health.failure(later), health.failed_bytes()), (None, 0));
    }
}
