use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use notification_access::Principal;
use uuid::Uuid;

use super::session::Session;

/// All sessions, by the id that its client names each by.
#[derive(Debug)]
pub(crate) struct Sessions {
    // A std mutex: held for lookups, never across an await.
    open: Mutex<Open>,
    config: SessionsConfig,
}

#[derive(Debug, Default)]
struct Open {
    by_id: HashMap<Uuid, Arc<Session>>,
    /// How many each principal has.
    of: HashMap<Arc<str>, usize>,
}

/// How many sessions there may be, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct SessionsConfig {
    /// At once. A principal has a tenth of them, where everybody says who he is.
    pub max: usize,
    /// How long one lasts without a request, a call that runs or an open stream.
    pub idle_timeout: Duration,
}

/// There are as many sessions as there may be.
#[derive(Debug)]
pub(crate) struct TooMany {
    /// What says so.
    pub(crate) limit: &'static str,
    pub(crate) max: usize,
}

impl Sessions {
    pub(crate) fn new(config: SessionsConfig) -> Self {
        Self {
            open: Mutex::default(),
            config,
        }
    }

    /// Begins a session of this principal.
    pub(crate) fn begin(&self, session: Session, of: &Principal) -> Result<Uuid, TooMany> {
        let admitted = self.room(of);
        if admitted.is_err() {
            self.look_after(Instant::now());
            self.room(of)?;
        }
        // The system's randomness: nobody guesses it.
        let id = Uuid::new_v4();
        let mut open = self.open();
        *open.of.entry(of.name.clone()).or_default() += 1;
        open.by_id.insert(id, Arc::new(session));
        Ok(id)
    }

    fn room(&self, of: &Principal) -> Result<(), TooMany> {
        let open = self.open();
        let max = self.config.max;
        if open.by_id.len() >= max {
            let limit = "mcp.max_sessions";
            return Err(TooMany { limit, max });
        }
        let own = open.of.get(&of.name).copied().unwrap_or_default();
        let max = max.div_ceil(10);
        if !of.is_local() && own >= max {
            let limit = "principal.mcp_sessions";
            return Err(TooMany { limit, max });
        }
        Ok(())
    }

    /// The session with this id, if it is this principal's.
    pub(crate) fn get(&self, id: &str, principal: &str) -> Option<Arc<Session>> {
        let id = Uuid::parse_str(id).ok()?;
        let session = self.open().by_id.get(&id).cloned()?;
        session.is_of(principal).then_some(session)
    }

    /// Ends the session with this id, if it is this principal's.
    pub(crate) fn end(&self, id: &str, principal: &str) -> bool {
        let Some(session) = self.get(id, principal) else {
            return false;
        };
        let id = Uuid::parse_str(id);
        let ended = id.ok().and_then(|id| self.open().remove(&id));
        session.end("the session has ended");
        ended.is_some()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open().by_id.len()
    }

    /// Ends those of which nothing was heard for too long, and forgets what calls
    /// of the others were answered with long ago.
    pub(crate) fn look_after(&self, now: Instant) {
        let mut open = self.open();
        let is_idle = |session: &Session| {
            let since = session.look_after(now);
            since.is_some_and(|since| {
                now.saturating_duration_since(since) >= self.config.idle_timeout
            })
        };
        let idle = open.by_id.iter().filter(|(_, session)| is_idle(session));
        let idle: Vec<_> = idle.map(|(id, _)| *id).collect();
        let ended = idle.iter().filter_map(|id| Some((*id, open.remove(id)?)));
        let ended: Vec<_> = ended.collect();
        drop(open);
        for (id, session) in ended {
            tracing::info!(session = %id, "session ended: nothing was heard of its client");
            session.end("nothing was heard of the session's client for too long");
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder panics")
    }
}

impl Open {
    fn remove(&mut self, id: &Uuid) -> Option<Arc<Session>> {
        let session = self.by_id.remove(id)?;
        if let Some(own) = self.of.get_mut(session.principal()) {
            *own -= 1;
            if *own == 0 {
                self.of.remove(session.principal());
            }
        }
        Some(session)
    }
}
