//! Who may do what on the server, and how much of it: the rules, once, below
//! every door.
//!
//! - A [`Principal`] is who asks. What it may do are its [`Grants`].
//! - [`Access`] finds out who asks, from what a request [presents](Presented): a
//!   key, the cookie of a session, a ticket. It knows whether a
//!   principal is [still vouched for](Access::vouch), and counts what it does.
//! - [`Tokens`] verifies bearer tokens that somebody else issues, by [`TokenKeys`].
//!
//! Start reading at [`Access::authenticate`] and [`Grants`].
//!
//! Nothing here knows HTTP, and nothing but the token buckets of the limits
//! reads a clock: time is passed in.

mod access;
mod failures;
mod grant;
mod key;
mod limits;
mod principal;
mod refused;
mod secret;
mod session;
mod ticket;
mod token;

pub use access::{Access, Lapsed, Presented, Unauthenticated};
pub use grant::{Denied, Grant, Grants, Narrowed};
pub use key::{ApiKey, KeyError, NewKey, NewKeyError};
pub use limits::{Asker, Limited, LimitsConfig, Quotas, Slot, seconds};
pub use principal::{Credential, Principal};
pub use refused::Refused;
pub use secret::ServerSecret;
pub use session::SESSION_LIFE;
pub use ticket::{IssueError, TICKET_LIFE, Ticket};
pub use token::{JwkSet, TokenConfig, TokenError, TokenKeyError, TokenKeys, Tokens};

/// What the targets in `fuzz/` call.
#[cfg(fuzzing)]
pub mod fuzz {
    use crate::token::fuzz;

    /// Panics if a token cannot be judged, or if one is believed without the secret.
    pub fn token(bytes: &[u8]) {
        fuzz::token(bytes);
    }

    /// Panics if the claims of a token that was signed cannot be judged.
    pub fn claims(bytes: &[u8]) {
        fuzz::claims(bytes);
    }

    /// Panics if a key set cannot be judged.
    pub fn key_set(bytes: &[u8]) {
        fuzz::key_set(bytes);
    }
}
