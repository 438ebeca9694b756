use std::num::NonZeroU32;
use std::sync::Arc;

use notification_event::{ClientId, GroupName, Timestamp};

use crate::{Denied, Grant, Grants};

/// Who asks, once that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What it is called in the log of the server and beside the events that it
    /// publishes: `local`, `key:ci`, `token:alice`.
    pub name: Arc<str>,
    /// What vouches for it.
    pub credential: Credential,
    /// What it may do.
    pub grants: Grants,
    /// Which client it is, unless it says otherwise.
    pub client: Option<ClientId>,
    /// The groups that this client is in, if its credential says so.
    pub groups: Option<Vec<GroupName>>,
    /// How many events it may publish in an hour.
    pub events_per_hour: Option<NonZeroU32>,
    /// When its credential ends.
    pub expires_at: Option<Timestamp>,
}

/// What vouches for a principal, so that it can be asked whether it still does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nobody has to be vouched for.
    Local,
    /// The key with this id.
    Key(Arc<str>),
    /// A token, by the number that [`Tokens`](crate::Tokens) gave the key that verified it.
    Token(u64),
    /// A session of a browser, begun with another credential.
    Session(Arc<str>, Box<Credential>),
    /// A token that vouched for it when it began what goes on without it.
    Earlier,
}

impl Credential {
    /// What vouches for what goes on after its request: a key, as long as it is
    /// good, whatever session it was used in. Of a token, that it was good.
    pub fn lasting(&self) -> Self {
        match self {
            Self::Session(_, of) => of.lasting(),
            Self::Token(_) => Self::Earlier,
            Self::Local | Self::Key(_) | Self::Earlier => self.clone(),
        }
    }
}

impl Principal {
    /// Whoever is on this machine, where nobody is asked who he is.
    pub fn local() -> Self {
        Self {
            name: "local".into(),
            credential: Credential::Local,
            grants: Grants::all(),
            client: None,
            groups: None,
            events_per_hour: None,
            expires_at: None,
        }
    }

    /// Whether nobody had to be vouched for.
    pub fn is_local(&self) -> bool {
        self.credential == Credential::Local
    }

    /// The session in which it asks, if it does so in one.
    pub fn session(&self) -> Option<Arc<str>> {
        match &self.credential {
            Credential::Session(id, _) => Some(id.clone()),
            _ => None,
        }
    }

    /// Which client it is in a request that names one, or none.
    pub fn as_client(&self, named: Option<ClientId>) -> Result<Option<ClientId>, Denied> {
        match named {
            None => Ok(self.client.clone()),
            Some(client) => self.may_be(&client).map(|()| Some(client)),
        }
    }

    /// Whether it may be this client.
    pub fn may_be(&self, client: &ClientId) -> Result<(), Denied> {
        match self.client.as_ref() == Some(client) {
            true => Ok(()),
            false => self.grants.need(Grant::Client(client.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_the_client_it_may_be() {
        let id = |text: &str| text.parse::<ClientId>().unwrap();
        let principal = Principal {
            grants: Grants::new([Grant::Client(id("bob"))]).unwrap(),
            client: Some(id("alice")),
            ..Principal::local()
        };
        assert_eq!(principal.as_client(None), Ok(Some(id("alice"))));
        assert_eq!(principal.as_client(Some(id("bob"))), Ok(Some(id("bob"))));
        let denied = principal.as_client(Some(id("carol"))).unwrap_err();
        assert_eq!(denied.needed.to_string(), "client:carol");
        assert_eq!(Principal::local().as_client(None), Ok(None));
        assert!(Principal::local().may_be(&id("carol")).is_ok());
    }
}
