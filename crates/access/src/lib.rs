//! Who may do what on the server, and how much of it: the rules, once, below
//! every door.
//!
//! - A [`Principal`] is who asks. What it may do are its [`Grants`].
//! - [`Access`] finds out who asks, from what a request [presents](Presented): a
//!   key, the cookie of a session, a ticket. It knows whether a
//!   principal is [still vouched for](Access::vouch), and counts what it does.
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
mod secret;
mod session;
mod ticket;

pub use access::{Access, Lapsed, Presented, Unauthenticated};
pub use grant::{Denied, Grant, Grants, Narrowed};
pub use key::{ApiKey, KeyError, NewKey, NewKeyError};
pub use limits::{Asker, Limited, LimitsConfig, Quotas, Slot, seconds};
pub use principal::{Credential, Principal};
pub use secret::ServerSecret;
pub use session::SESSION_LIFE;
pub use ticket::{IssueError, TICKET_LIFE, Ticket};
