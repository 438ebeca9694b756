mod claims;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod jwks;
mod key;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Header, Validation, decode, decode_header};
use notification_event::Timestamp;
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use tokio::sync::Notify;

pub use self::claims::TokenConfig;
pub use self::error::TokenError;
pub use self::jwks::JwkSet;
use self::key::{Key, Source};
pub use self::key::{TokenKeyError, TokenKeys};
use crate::{Credential, Principal};

/// Verifies bearer tokens: JSON Web Tokens (RFC 7519) that somebody else issues.
///
/// A token is verified once; as long as it is valid and its key is there it is
/// then known by its digest, which costs about a microsecond.
pub struct Tokens {
    /// Replaced as a whole. Locked to clone what is in it, never for longer.
    state: RwLock<Arc<State>>,
    /// When it is full, what is asked for least gives way and is verified again.
    verified: Cache<Digest, Verified>,
    wanted: Notify,
}

type Digest = [u8; 32];

struct State {
    config: TokenConfig,
    keys: TokenKeys,
    /// A number for each key, in their order. A key that goes and comes again gets
    /// another, and so do all when the settings change.
    numbers: Vec<u64>,
}

/// No number is given twice while the process lives, whatever becomes of the
/// keys and the settings.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

#[derive(Clone)]
struct Verified {
    principal: Arc<Principal>,
    /// With the leeway.
    valid: Range<Timestamp>,
}

impl Tokens {
    /// The longest token, in bytes.
    pub const MAX_LEN: usize = 8 * 1_024;

    /// How many verified tokens are kept.
    const MAX_VERIFIED: usize = 10_000;

    /// Verifies by these keys, and reads by these settings.
    pub fn new(config: TokenConfig, keys: TokenKeys) -> Self {
        let numbers = keys.all().iter().map(|_| next_number()).collect();
        let state = State {
            config,
            keys,
            numbers,
        };
        Self {
            state: RwLock::new(Arc::new(state)),
            verified: Cache::new(Self::MAX_VERIFIED),
            wanted: Notify::new(),
        }
    }

    /// Changes the settings, and the keys if some are given. If the settings are
    /// others than before, no token that was verified is vouched for any longer.
    pub fn configure(&self, config: TokenConfig, keys: Option<TokenKeys>) {
        self.change(|state| {
            let is_same = state.config == config;
            let keys = keys.unwrap_or_else(|| state.keys.clone());
            state.with(config, keys, is_same)
        });
    }

    /// Changes the keys. Tokens of keys that were there before and still are
    /// remain vouched for.
    pub fn replace_keys(&self, keys: TokenKeys) {
        self.change(|state| state.with(state.config.clone(), keys, true));
    }

    fn change(&self, make: impl FnOnce(&State) -> State) {
        let mut state = self.state.write().expect("no holder panics");
        let changed = Arc::new(make(&state));
        let lost_any = state.numbers.iter().any(|n| !changed.numbers.contains(n));
        *state = changed;
        drop(state);
        // Only to have the memory back: nothing in there is believed without its key.
        if lost_any {
            self.verified.clear();
        }
    }

    /// Whom a token is about, if it is to be believed at this time.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Principal>, TokenError> {
        if token.len() > Self::MAX_LEN {
            return Err(TokenError::TooLong);
        }
        let state = self.state();
        if !state.keys.are_good(now) {
            return Err(TokenError::KeysNotAvailable);
        }
        let digest = digest_of(token);
        if let Some(principal) = self.remembered(&state, &digest, now) {
            return Ok(principal);
        }
        let verified = state.verify(token, now).inspect_err(|error| {
            if *error == TokenError::UnknownKey {
                self.wanted.notify_one();
            }
        })?;
        self.verified.insert(digest, verified.clone());
        Ok(verified.principal)
    }

    /// Whom a token is about, if it was verified before: costs next to nothing,
    /// whatever is brought.
    pub fn recognize(&self, token: &str, now: Timestamp) -> Option<Arc<Principal>> {
        let state = self.state();
        let is_possible = token.len() <= Self::MAX_LEN && state.keys.are_good(now);
        let digest = is_possible.then(|| digest_of(token))?;
        self.remembered(&state, &digest, now)
    }

    fn remembered(&self, state: &State, digest: &Digest, now: Timestamp) -> Option<Arc<Principal>> {
        let Verified { principal, valid } = self.verified.get(digest)?;
        let is_good = valid.contains(&now) && state.vouches(&principal.credential);
        is_good.then_some(principal)
    }

    /// Whether what once vouched for a principal, if it was a token, still
    /// would: the settings are the same, its key is there, and the keys are not
    /// too old. It says nothing of when the token expires; the principal does.
    pub fn still_vouches(&self, credential: &Credential, now: Timestamp) -> bool {
        let state = self.state();
        state.keys.are_good(now) && state.vouches(credential)
    }

    /// Returns when a token came with a `kid` that is not known, and the keys
    /// are better fetched again; also if that was since this was last awaited.
    /// Anybody can bring this about, so whoever fetches bounds how often.
    pub async fn keys_wanted(&self) {
        self.wanted.notified().await;
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().expect("no holder panics"))
    }
}

impl State {
    fn with(&self, config: TokenConfig, keys: TokenKeys, keeps_numbers: bool) -> Self {
        let number = |key: &Key| {
            let mut known = self.keys.all().iter().zip(&self.numbers);
            let known = known.find(|(other, _)| keeps_numbers && key.is(other));
            known.map_or_else(next_number, |(_, number)| *number)
        };
        let numbers = keys.all().iter().map(number).collect();
        Self {
            config,
            keys,
            numbers,
        }
    }

    fn vouches(&self, credential: &Credential) -> bool {
        match credential {
            Credential::Token(number) => self.numbers.contains(number),
            Credential::Session(_, begun_with) => self.vouches(begun_with),
            Credential::Local | Credential::Key(_) | Credential::Earlier => false,
        }
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, TokenError> {
        let header = decode_header(token)?;
        check_header(&header)?;
        let (claims, number) = self.verify_signature(token, &header)?;
        let (principal, valid) = self.config.read(&claims, Credential::Token(number))?;
        if now < valid.start {
            return Err(TokenError::NotYetValid(
                valid.start.after(self.config.leeway),
            ));
        }
        if now >= valid.end {
            return Err(TokenError::Expired(valid.end.before(self.config.leeway)));
        }
        let principal = Arc::new(principal);
        Ok(Verified { principal, valid })
    }

    fn verify_signature(
        &self,
        token: &str,
        header: &Header,
    ) -> Result<(Map<String, Value>, u64), TokenError> {
        let mut refusal = TokenError::UnknownKey;
        for (key, number) in self.candidates(header)? {
            match decode(token, &key.key, &only_signature(key)) {
                Ok(verified) => return Ok((verified.claims, number)),
                Err(error) => refusal = error.into(),
            }
        }
        Err(refusal)
    }

    /// The keys with which a token may be signed: the one there is, those that
    /// it names, or, if it names none, the only one that is for its algorithm
    /// (OpenID Connect Core, section 10.1).
    fn candidates(&self, header: &Header) -> Result<Vec<(&Key, u64)>, TokenError> {
        let numbers = self.numbers.iter().copied();
        let all = self.keys.all().iter().zip(numbers);
        if let Source::One(_) = self.keys.0 {
            return Ok(all.collect());
        }
        if header.kid.is_some() {
            let named: Vec<_> = all.filter(|(key, _)| key.id == header.kid).collect();
            let fits = |(key, _): &(&Key, u64)| key.algorithm == header.alg;
            return match named.is_empty() || named.iter().any(fits) {
                true => Ok(named.into_iter().filter(fits).collect()),
                false => Err(TokenError::Algorithm),
            };
        }
        let of_kind: Vec<_> = all.filter(|(key, _)| key.algorithm == header.alg).collect();
        match of_kind.len() {
            0 | 1 => Ok(of_kind),
            _ => Err(TokenError::NoKeyId),
        }
    }
}

/// Whoever prints this sees no token, and no key.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Tokens")
            .field("config", &state.config)
            .field("keys", &state.keys)
            .finish_non_exhaustive()
    }
}

fn next_number() -> u64 {
    NEXT_NUMBER.fetch_add(1, Ordering::Relaxed)
}

fn digest_of(token: &str) -> Digest {
    let digest = digest(&SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 is 32 bytes")
}

/// What a header says beside the key and the algorithm. Keys and addresses of
/// keys in it are never used (RFC 8725, section 3.10).
fn check_header(header: &Header) -> Result<(), TokenError> {
    if header.crit.is_some() || header.extras.inner().contains_key("crit") {
        return Err(TokenError::Critical);
    }
    // A media type, of which "application/" may be left out (RFC 7515, section 4.1.9).
    let typ = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "jwt" | "at+jwt" => Ok(()),
        _ => Err(TokenError::Type),
    }
}

/// The key decides by which algorithm. What the claims have to say is checked
/// in one place, with the time that was passed in: [`TokenConfig::read`].
fn only_signature(key: &Key) -> Validation {
    let mut validation = Validation::new(key.algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// Somebody else's word, so that it can be shown in a log: what does not print
/// is escaped, and so is the backslash, so that no two words look the same.
fn shown(word: &str) -> String {
    let mut shown = String::with_capacity(word.len());
    for character in word.chars() {
        match character {
            '\'' | '"' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}
