use std::sync::Mutex;

use notification_log::LogError;

/// Whether the log takes what it is given.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failure: Mutex<Option<LogError>>,
}

impl Health {
    pub(crate) fn failure(&self) -> Option<LogError> {
        self.failure.lock().expect("no holder panics").clone()
    }

    /// Takes note of how a write went, and logs when that changes.
    pub(crate) fn note(&self, result: Result<(), &LogError>) {
        let mut failure = self.failure.lock().expect("no holder panics");
        match (result, failure.as_ref()) {
            (Err(error), before) if before != Some(error) => {
                tracing::error!(%error, "the log cannot be written; publishing is refused");
                *failure = Some(error.clone());
            }
            (Ok(()), Some(_)) => {
                tracing::info!("the log can be written again");
                *failure = None;
            }
            _ => {}
        }
    }
}
