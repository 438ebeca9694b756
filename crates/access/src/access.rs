use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use notification_event::{ClientId, Filter, Timestamp};

use crate::failures::Failures;
use crate::key::Keys;
use crate::limits::Limits;
use crate::session::Sessions;
use crate::ticket::Tickets;
use crate::{
    ApiKey, Asker, Credential, IssueError, KeyError, Limited, LimitsConfig, NewKey, NewKeyError,
    Principal, ServerSecret, Slot, Ticket, TokenError, Tokens,
};

/// What a request brings to say who it comes from.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// `Authorization: Bearer …`: a key or a token.
    Bearer(&'a str),
    /// The cookie of a session.
    Session(&'a str),
}

/// Without what it is: that is a secret.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Bearer(_) => "Bearer",
            Self::Session(_) => "Session",
        })
    }
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// He has not said who he is.
    #[error("authentication is required")]
    Missing,
    /// What he said is not so. Never repeats what it was.
    #[error("{0}")]
    Wrong(String),
    /// It cannot be found out now, for no fault of his.
    #[error("{0}")]
    Unavailable(String),
    /// He has been wrong too often.
    #[error(transparent)]
    Limited(#[from] Limited),
}

/// Knows who may do what, and how much. One for each server.
#[derive(Debug)]
pub struct Access {
    /// Whether whoever says nothing may do everything.
    is_open: AtomicBool,
    /// He, one for all that he opens.
    local: Arc<Principal>,
    keys: Keys,
    tokens: RwLock<Option<Arc<Tokens>>>,
    tickets: Tickets,
    sessions: Sessions,
    failures: Failures,
    limits: RwLock<Arc<Limits>>,
}

impl Access {
    /// Everybody who says nothing is refused. Keys are remembered under `secret`.
    pub fn new(secret: ServerSecret, limits: LimitsConfig) -> Self {
        Self {
            is_open: AtomicBool::new(false),
            local: Arc::new(Principal::local()),
            keys: Keys::new(secret),
            tokens: RwLock::default(),
            tickets: Tickets::new(),
            sessions: Sessions::new(),
            failures: Failures::default(),
            limits: RwLock::new(Arc::new(Limits::new(limits))),
        }
    }

    /// What the server keeps secrets under.
    pub fn secret(&self) -> &ServerSecret {
        self.keys.secret()
    }

    /// Whoever says nothing is the local principal, and may do everything.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Whether whoever says nothing may do everything.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Finds out who asks.
    ///
    /// Whoever has guessed too often has to wait before he is told that he is wrong
    /// again. Whoever is right does not, although others behind his address are wrong.
    pub fn authenticate(
        &self,
        presented: Presented<'_>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Unauthenticated> {
        let found = match presented {
            Presented::Nothing if self.is_open() => return Ok(self.local.clone()),
            Presented::Nothing => return Err(Unauthenticated::Missing),
            Presented::Bearer(text) => match self.bearer(text, address, now) {
                Err(Bad::Limited(limited)) => return Err(limited.into()),
                Err(Bad::Token(error @ TokenError::KeysNotAvailable)) => {
                    return Err(Unauthenticated::Unavailable(error.to_string()));
                }
                found => found.map_err(|bad| bad.to_string()),
            },
            Presented::Session(text) => self.sessions.authenticate(text, now).ok_or_else(|| {
                "the session has ended; begin another with POST /v1/session".to_owned()
            }),
        };
        let checked = found.and_then(|principal| {
            self.vouch(&principal, now).map_err(|e| e.to_string())?;
            Ok(principal)
        });
        checked.map_err(Unauthenticated::Wrong)
    }

    /// Counts a credential that never was one: a guess. One that was is a mistake.
    fn guessed(&self, address: Option<IpAddr>, now: Timestamp) -> Result<(), Limited> {
        self.failures.check(address, now)?;
        self.failures.failed(address, now);
        Ok(())
    }

    fn bearer(
        &self,
        text: &str,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Bad> {
        let key = self.keys.authenticate(text, now);
        let tokens = match (&key, self.tokens()) {
            (Err(KeyError::Unknown), Some(tokens)) if !Keys::looks_like_one(text) => tokens,
            (Err(KeyError::Unknown), _) => {
                self.guessed(address, now).map_err(Bad::Limited)?;
                return Ok(key?);
            }
            _ => return Ok(key?),
        };
        if let Some(principal) = tokens.recognize(text, now) {
            return Ok(principal);
        }
        // To verify a signature costs a hundred times what it costs to ask for it.
        self.failures.verifying(address).map_err(Bad::Limited)?;
        match tokens.verify(text, now) {
            Err(error) if error.is_guess() => {
                self.guessed(address, now).map_err(Bad::Limited)?;
                Err(error.into())
            }
            verified => Ok(verified?),
        }
    }

    /// What verifies tokens from now on; none if they are not accepted.
    pub fn set_tokens(&self, tokens: Option<Arc<Tokens>>) {
        *self.tokens.write().expect("no holder panics") = tokens;
    }

    /// What verifies tokens, if they are accepted.
    pub fn tokens(&self) -> Option<Arc<Tokens>> {
        self.tokens.read().expect("no holder panics").clone()
    }

    /// Takes a ticket, which then is no more.
    pub fn redeem(&self, ticket: &str, now: Timestamp) -> Result<Ticket, Unauthenticated> {
        let redeemed = self.tickets.redeem(ticket, now);
        let redeemed = redeemed.filter(|ticket| self.vouch(&ticket.principal, now).is_ok());
        redeemed.ok_or_else(|| {
            let wrong = "the ticket was used before, has expired, or never was one; \
                         POST /v1/tickets gives another";
            Unauthenticated::Wrong(wrong.to_owned())
        })
    }

    /// Whether a principal's credential is still good.
    pub fn vouch(&self, principal: &Principal, now: Timestamp) -> Result<(), Lapsed> {
        if principal.expires_at.is_some_and(|end| end <= now) {
            return Err(Lapsed::Expired);
        }
        self.vouch_for(&principal.credential, now)
    }

    fn vouch_for(&self, credential: &Credential, now: Timestamp) -> Result<(), Lapsed> {
        match credential {
            Credential::Local | Credential::Earlier => Ok(()),
            Credential::Token(_) => {
                let tokens = self.tokens();
                let vouches = tokens.is_some_and(|tokens| tokens.still_vouches(credential, now));
                vouches.then_some(()).ok_or(Lapsed::Unverified)
            }
            Credential::Key(id) => self.keys.check(id, now).map_err(|error| match error {
                KeyError::Expired => Lapsed::Expired,
                KeyError::Revoked | KeyError::Unknown => Lapsed::Revoked,
            }),
            Credential::Session(id, of) => match self.sessions.is_open(id) {
                true => self.vouch_for(of, now),
                false => Err(Lapsed::Ended),
            },
        }
    }

    /// A ticket for what is left of `filter`, as `client`: its text, and what it is for.
    pub fn issue_ticket(
        &self,
        to: &Principal,
        filter: Filter,
        client: Option<ClientId>,
        now: Timestamp,
    ) -> Result<(String, Ticket), IssueError> {
        self.tickets.issue(to, filter, client, now)
    }

    /// Begins a session: the value of its cookie, and whoever comes with it.
    pub fn begin_session(
        &self,
        of: &Principal,
        now: Timestamp,
    ) -> Result<(String, Arc<Principal>), Limited> {
        self.sessions.begin(of, now)
    }

    /// Ends a session, and the streams that were opened in it.
    pub fn end_session(&self, id: &str) {
        self.sessions.end(id);
    }

    /// A new key and its text, which is not kept anywhere. It is none of this
    /// server's before it was [put](Self::put_key) there.
    pub fn create_key(
        &self,
        of: NewKey,
        by: &Principal,
        now: Timestamp,
    ) -> Result<(ApiKey, String), NewKeyError> {
        self.keys.create(of, &by.name, now)
    }

    /// The key as it will be when it is revoked; none if there is none, or it is
    /// already, and stored so.
    pub fn revoked_key(&self, id: &str, now: Timestamp) -> Option<ApiKey> {
        self.keys.revoked(id, now)
    }

    /// The key is as it is here from now on.
    pub fn put_key(&self, key: ApiKey) {
        self.keys.put(key);
    }

    /// Whoever comes with this text as a key is an administrator from now on, and
    /// nobody who comes with one that was set before.
    pub fn set_admin_key(&self, text: Option<&str>) {
        self.keys.set_admin_key(text);
    }

    /// Every key that was created, the newest first.
    pub fn keys(&self) -> Vec<ApiKey> {
        self.keys.list()
    }

    /// Whether a key was ever created, or set.
    pub fn has_keys(&self) -> bool {
        self.keys.are_there_any()
    }

    /// Whether somebody could come with a key at this time.
    pub fn has_live_keys(&self, now: Timestamp) -> bool {
        self.keys.are_any_live(now)
    }

    /// The key is as it is here from now on, which has not been stored yet.
    pub fn put_unsaved_key(&self, key: ApiKey) {
        self.keys.put_unsaved(key);
    }

    /// The keys that have changed since this was last asked.
    pub fn take_unsaved_keys(&self) -> Vec<ApiKey> {
        self.keys.take_unsaved()
    }

    /// These could not be stored.
    pub fn give_back_unsaved_keys(&self, keys: &[ApiKey]) {
        self.keys.give_back_unsaved(keys);
    }

    /// Counts one request more from an address, of whomever. It counts in the total
    /// when it is known [of whom](Self::admit_request_of).
    pub fn admit_request(&self, address: Option<IpAddr>) -> Result<(), Limited> {
        self.limits().request_from(address)
    }

    /// Counts one request more of a principal.
    pub fn admit_request_of(&self, principal: &Principal) -> Result<(), Limited> {
        self.limits().request_of(principal)
    }

    /// Counts events that are to be published, and their bytes.
    pub fn admit_events(
        &self,
        asker: Asker<'_>,
        events: usize,
        bytes: usize,
    ) -> Result<(), Limited> {
        self.limits().publish(asker, events, bytes)
    }

    /// Counts a stream, until the slot is dropped.
    pub fn admit_stream(&self, asker: Asker<'_>) -> Result<Slot, Limited> {
        self.limits().stream(asker)
    }

    /// Counts a connection from an address, until the slot is dropped.
    pub fn admit_connection(&self, address: IpAddr) -> Result<Slot, Limited> {
        self.limits().connection(address)
    }

    /// Other limits from now on. What is open and what was spent counts on.
    pub fn set_limits(&self, config: LimitsConfig) {
        let mut limits = self.limits.write().expect("no holder panics");
        if *limits.config() != config {
            *limits = Arc::new(limits.with(config));
        }
    }

    fn limits(&self) -> Arc<Limits> {
        self.limits.read().expect("no holder panics").clone()
    }

    /// Forgets what has expired. To be called now and then.
    pub fn tidy(&self, now: Timestamp) {
        self.tickets.tidy(now);
        self.sessions.tidy(now);
        self.failures.tidy(now);
        self.limits().tidy();
    }
}

/// Why a bearer token is not accepted.
#[derive(Debug, thiserror::Error)]
enum Bad {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Limited(Limited),
}

/// Why a principal is not vouched for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lapsed {
    /// Its time is over.
    #[error("the credential has expired")]
    Expired,
    /// Somebody has revoked it.
    #[error("the credential was revoked")]
    Revoked,
    /// It is a token, and what verified it is not accepted any more.
    #[error("the key that signed the token is not accepted any more")]
    Unverified,
    /// It was a session, and that was ended.
    #[error("the session has ended")]
    Ended,
}

impl Lapsed {
    /// The word for it in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unverified => "unverified",
            Self::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    fn access(is_open: bool) -> Access {
        let secret = ServerSecret::new(&ServerSecret::generate());
        let access = Access::new(secret, LimitsConfig::default());
        if is_open {
            access.open();
        }
        access
    }

    fn key(access: &Access, name: &str) -> (ApiKey, String) {
        let of = NewKey::parse(json!({"name": name, "allow": ["subscribe:**"]})).unwrap();
        let (key, text) = access.create_key(of, &Principal::local(), at(0)).unwrap();
        access.put_key(key.clone());
        (key, text)
    }

    #[test]
    fn who_says_nothing_is_local_only_where_it_is_open() {
        let check = |is_open| access(is_open).authenticate(Presented::Nothing, None, at(0));
        assert_eq!(&*check(true).unwrap().name, "local");
        assert_eq!(check(false), Err(Unauthenticated::Missing));
    }

    #[test]
    fn a_wrong_credential_is_refused_even_where_it_is_open() {
        for presented in [
            Presented::Bearer("x"),
            Presented::Session("x"),
            Presented::Bearer("ntf_x"),
        ] {
            let refused = access(true).authenticate(presented, None, at(0));
            assert!(matches!(refused, Err(Unauthenticated::Wrong(_))));
        }
    }

    #[test]
    fn everything_ends_with_the_key_that_it_began_with() {
        let access = access(false);
        let (key, text) = key(&access, "a");
        let principal = access
            .authenticate(Presented::Bearer(&text), None, at(1))
            .unwrap();
        let (cookie, _) = access.begin_session(&principal, at(1)).unwrap();
        let session = access
            .authenticate(Presented::Session(&cookie), None, at(1))
            .unwrap();
        let (ticket, _) = access
            .issue_ticket(&session, Filter::default(), None, at(1))
            .unwrap();
        access.put_key(access.revoked_key(&key.id, at(2)).unwrap());
        for principal in [&principal, &session] {
            assert_eq!(access.vouch(principal, at(2)), Err(Lapsed::Revoked));
        }
        assert!(
            access
                .authenticate(Presented::Session(&cookie), None, at(2))
                .is_err()
        );
        assert!(access.redeem(&ticket, at(2)).is_err());
    }

    #[test]
    fn a_good_key_passes_from_where_somebody_guesses() {
        let access = access(false);
        let (_, text) = key(&access, "a");
        let address = Some("192.0.2.1".parse().unwrap());
        let mut limited = 0;
        for _ in 0..20 {
            let refused = access.authenticate(Presented::Bearer("ntf_x"), address, at(0));
            limited += usize::from(matches!(refused, Err(Unauthenticated::Limited(_))));
        }
        assert!(limited > 0);
        assert!(
            access
                .authenticate(Presented::Bearer(&text), address, at(0))
                .is_ok()
        );
    }
}
