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
    writing_since: Option<Instant>,
}

impl Health {
    /// Why the last write failed, or the one that is under way does not end.
    pub(crate) fn failure(&self, now: Instant) -> Option<LogError> {
        let state = self.state();
        let writing = state.writing_since.map(|since| now.duration_since(since));
        match writing {
            Some(taken) if taken > PATIENCE => {
                let seconds = taken.as_secs();
                let hangs = format!("a commit has been under way for {seconds} s");
                Some(LogError::Unavailable(hangs))
            }
            _ => state.failure.clone(),
        }
    }

    /// Takes note that a write begins.
    pub(crate) fn writing(&self, now: Instant) {
        self.state().writing_since = Some(now);
    }

    /// Takes note of how a write went, and logs when that changes.
    pub(crate) fn note(&self, result: Result<(), &LogError>) {
        let mut state = self.state();
        state.writing_since = None;
        match (result, state.failure.as_ref()) {
            (Err(error), before) if before != Some(error) => {
                tracing::error!(%error, "the log cannot be written; publishing is refused");
                state.failure = Some(error.clone());
            }
            (Ok(()), Some(_)) => {
                tracing::info!("the log can be written again");
                state.failure = None;
            }
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
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
        health.writing(start);
        assert_eq!(health.failure(start), None);
        let hangs = health.failure(later).unwrap().to_string();
        assert!(hangs.contains("11 s"), "{hangs}");
        health.note(Ok(()));
        assert_eq!(health.failure(later), None);
        let full = LogError::Unavailable("full".into());
        health.note(Err(&full));
        assert_eq!(health.failure(later), Some(full));
        health.note(Ok(()));
        assert_eq!(health.failure(later), None);
    }
}
