//! Whether whoever says nothing may do everything, and what an operator may not
//! expect of that.

use std::time::SystemTime;

use notification_access::Access;
use notification_event::Timestamp;

use crate::{AuthMode, Config, StartError};

/// Whether whoever says nothing may do everything, when a server starts like this.
/// Fails if nobody could say who they are, and has to.
pub(crate) fn is_open(config: &Config, access: &Access) -> Result<bool, StartError> {
    let is_loopback = config.bind.ip().is_loopback();
    match config.auth.mode {
        AuthMode::Required if config.insecure_no_auth => Err(StartError::OpenAndRequired),
        _ if config.insecure_no_auth => Ok(true),
        _ if can_say(access) => Ok(false),
        AuthMode::Required => Err(StartError::NoKeys),
        AuthMode::Auto if is_loopback => Ok(true),
        AuthMode::Auto => Err(StartError::Exposed(config.bind)),
    }
}

/// Warns of what follows from these settings, for a server that runs with `access`
/// and for its next start.
pub(crate) fn warn(config: &Config, access: &Access) {
    if config.insecure_no_auth && can_say(access) {
        tracing::warn!(
            "there are keys or tokens, and insecure_no_auth: whoever presents none may do everything"
        );
    }
    if !access.is_open() && !can_get_in(access) {
        tracing::warn!(
            "no key is good, and no tokens are accepted, so that nobody gets in; create a key with `notification-server key create` while the server does not run"
        );
    }
    match (access.is_open(), is_open(config, access)) {
        (true, Ok(false)) => tracing::warn!(
            "the next start is not open any more: everybody will have to say who they are, with a key or a token"
        ),
        (false, Ok(true)) => tracing::warn!(
            "the next start is open: whoever says nothing will be able to do everything"
        ),
        (_, Err(error)) => tracing::warn!("the next start fails: {error}"),
        _ => {}
    }
}

/// Whether a key was ever created, or tokens are accepted.
fn can_say(access: &Access) -> bool {
    access.has_keys() || access.tokens().is_some()
}

/// Whether somebody could come with a credential that is good now.
fn can_get_in(access: &Access) -> bool {
    access.tokens().is_some() || access.has_live_keys(Timestamp::from(SystemTime::now()))
}
