use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::session::Session;

/// All sessions, by the id that its client names each by.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<Uuid, Arc<Session>>>,
    config: SessionsConfig,
}

/// How many sessions there may be, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct SessionsConfig {
    /// At once.
    pub max: usize,
    /// How long one lasts without a request, a call that runs or an open stream.
    pub idle_timeout: Duration,
}

/// There are as many sessions as there may be.
#[derive(Debug)]
pub(crate) struct TooMany {
    pub(crate) max: usize,
}

impl Sessions {
    pub(crate) fn new(config: SessionsConfig) -> Self {
        Self {
            open: Mutex::default(),
            config,
        }
    }

    /// Begins a session.
    pub(crate) fn begin(&self, session: Session) -> Result<Uuid, TooMany> {
        self.end_idle(Instant::now());
        let mut open = self.open();
        let max = self.config.max;
        if open.len() >= max {
            return Err(TooMany { max });
        }
        // The system's randomness: nobody guesses it.
        let id = Uuid::new_v4();
        open.insert(id, Arc::new(session));
        Ok(id)
    }

    /// The session with this id, if it is this principal's.
    pub(crate) fn get(&self, id: &str, principal: &str) -> Option<Arc<Session>> {
        let session = self.open().get(&Uuid::parse_str(id).ok()?).cloned()?;
        session.is_of(principal).then_some(session)
    }

    /// Ends the session with this id, if it is this principal's.
    pub(crate) fn end(&self, id: &str, principal: &str) -> bool {
        let Some(session) = self.get(id, principal) else {
            return false;
        };
        let ended = Uuid::parse_str(id)
            .ok()
            .and_then(|id| self.open().remove(&id));
        session.end("the session has ended");
        ended.is_some()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open().len()
    }

    /// Ends those of which nothing was heard for too long.
    pub(crate) fn end_idle(&self, now: Instant) {
        let mut ended = Vec::new();
        self.open().retain(|id, session| {
            let idle = session
                .idle_since()
                .map(|since| now.saturating_duration_since(since));
            let is_over = idle.is_some_and(|idle| idle >= self.config.idle_timeout);
            if is_over {
                ended.push((*id, session.clone()));
            }
            !is_over
        });
        for (id, session) in ended {
            tracing::info!(session = %id, "session ended: nothing was heard of its client");
            session.end("nothing was heard of the session's client for too long");
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Session>>> {
        self.open.lock().expect("no holder panics")
    }
}
