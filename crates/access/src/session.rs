use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notification_event::Timestamp;

use crate::secret::{SECRET_LEN, ServerSecret, random};
use crate::{Credential, Limited, Principal};

/// How long a session lasts at most.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// How many there are at most, and of one principal.
const MAX: usize = 100_000;
const MAX_OF_ONE: usize = 100;

/// The sessions of browsers: a credential, exchanged for a cookie that no
/// script can read. They end with the process, and with their credential.
#[derive(Debug)]
pub(crate) struct Sessions {
    secret: ServerSecret,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_digest: HashMap<[u8; 32], Arc<Principal>>,
    digests: HashMap<Arc<str>, [u8; 32]>,
    of: HashMap<Arc<str>, usize>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self {
            secret: ServerSecret::new(&ServerSecret::generate()),
            open: Mutex::default(),
        }
    }

    /// Begins a session of `of`: the value of its cookie, and whoever comes with it.
    pub(crate) fn begin(
        &self,
        of: &Principal,
        now: Timestamp,
    ) -> Result<(String, Arc<Principal>), Limited> {
        self.tidy(now);
        let mut open = self.lock();
        let too_many = |limit: &str| Limited {
            limit: limit.to_owned(),
            retry_after: None,
            is_too_large: false,
        };
        if open.by_digest.len() >= MAX {
            return Err(too_many("total.sessions"));
        }
        if open.of.get(&of.name).is_some_and(|n| *n >= MAX_OF_ONE) {
            return Err(too_many("principal.sessions"));
        }
        let end = now.after(SESSION_LIFE);
        let (id, text) = (Arc::<str>::from(random(12)), random(SECRET_LEN));
        let principal = Arc::new(Principal {
            credential: Credential::Session(id.clone(), Box::new(of.credential.clone())),
            expires_at: Some(of.expires_at.map_or(end, |earlier| earlier.min(end))),
            ..of.clone()
        });
        let digest = self.secret.digest(&text).bytes();
        open.by_digest.insert(digest, principal.clone());
        open.digests.insert(id, digest);
        *open.of.entry(of.name.clone()).or_default() += 1;
        Ok((text, principal))
    }

    /// Who comes with this cookie.
    pub(crate) fn authenticate(&self, text: &str, now: Timestamp) -> Option<Arc<Principal>> {
        let digest = self.secret.digest(text).bytes();
        let principal = self.lock().by_digest.get(&digest).cloned()?;
        principal
            .expires_at
            .is_none_or(|end| now < end)
            .then_some(principal)
    }

    /// Whether this session goes on.
    pub(crate) fn is_open(&self, id: &str) -> bool {
        self.lock().digests.contains_key(id)
    }

    /// Ends a session.
    pub(crate) fn end(&self, id: &str) {
        self.lock().remove(id);
    }

    pub(crate) fn tidy(&self, now: Timestamp) {
        let mut open = self.lock();
        let is_over = |principal: &Principal| principal.expires_at.is_some_and(|end| end <= now);
        let over = open
            .by_digest
            .values()
            .filter(|principal| is_over(principal));
        let ids: Vec<_> = over.filter_map(|principal| principal.session()).collect();
        for id in ids {
            open.remove(&id);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().expect("no holder panics")
    }
}

impl Open {
    fn remove(&mut self, id: &str) {
        let Some(digest) = self.digests.remove(id) else {
            return;
        };
        let Some(principal) = self.by_digest.remove(&digest) else {
            return;
        };
        if let Some(count) = self.of.get_mut(&principal.name) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&principal.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    #[test]
    fn a_session_lasts_until_it_is_ended_or_its_time_is_over() {
        let sessions = Sessions::new();
        let (text, principal) = sessions.begin(&Principal::local(), at(0)).unwrap();
        let id = principal.session().unwrap();
        assert_eq!(sessions.authenticate(&text, at(1)), Some(principal));
        assert!(sessions.authenticate("x", at(1)).is_none() && sessions.is_open(&id));
        sessions.end(&id);
        assert!(sessions.authenticate(&text, at(1)).is_none() && !sessions.is_open(&id));
        let short = Principal {
            expires_at: Some(at(10)),
            ..Principal::local()
        };
        let (text, _) = sessions.begin(&short, at(0)).unwrap();
        assert!(sessions.authenticate(&text, at(9)).is_some());
        assert!(sessions.authenticate(&text, at(10)).is_none());
        sessions.tidy(at(10));
        assert!(sessions.lock().by_digest.is_empty() && sessions.lock().of.is_empty());
    }

    #[test]
    fn one_principal_has_so_many_sessions() {
        let sessions = Sessions::new();
        for _ in 0..MAX_OF_ONE {
            sessions.begin(&Principal::local(), at(0)).unwrap();
        }
        let limited = sessions.begin(&Principal::local(), at(0)).unwrap_err();
        assert_eq!(limited.limit, "principal.sessions");
    }
}
