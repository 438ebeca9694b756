//! Who may do what on the server, and how much of it: the rules, once, below
//! every door.
//!
//! - A [`Principal`] is who asks. What it may do are its [`Grants`].
//!
//! Nothing here knows HTTP, and nothing reads a clock: time is passed in.

mod grant;
mod principal;

pub use grant::{Denied, Grant, Grants, Narrowed};
pub use principal::{Credential, Principal};
