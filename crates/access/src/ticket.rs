use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notification_event::{ClientId, Filter, Timestamp};

use crate::secret::{SECRET_LEN, ServerSecret, random};
use crate::{Denied, Limited, Principal};

const PREFIX: &str = "tkt_";

/// How long a ticket can be used.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);

/// How many there are at most that nobody has used yet, and of one principal.
const MAX: usize = 100_000;
const MAX_OF_ONE: usize = 1_000;

/// What a ticket lets its holder do: open one stream of these events.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Whose it is. May do nothing but receive what the ticket is for.
    pub principal: Arc<Principal>,
    /// Which events.
    pub filter: Filter,
    /// Until when.
    pub expires_at: Timestamp,
}

/// The tickets that nobody has used yet.
#[derive(Debug)]
pub(crate) struct Tickets {
    secret: ServerSecret,
    unused: Mutex<Unused>,
}

#[derive(Debug, Default)]
struct Unused {
    by_digest: HashMap<[u8; 32], Ticket>,
    of: HashMap<Arc<str>, usize>,
}

impl Unused {
    fn remove(&mut self, digest: &[u8; 32]) -> Option<Ticket> {
        let ticket = self.by_digest.remove(digest)?;
        let name = &ticket.principal.name;
        if let Some(count) = self.of.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(name);
            }
        }
        Some(ticket)
    }
}

impl Tickets {
    pub(crate) fn new() -> Self {
        Self {
            // They end with the process.
            secret: ServerSecret::new(&ServerSecret::generate()),
            unused: Mutex::default(),
        }
    }

    /// A ticket for what is left of `filter`, as `client`: its text, and what it is for.
    pub(crate) fn issue(
        &self,
        to: &Principal,
        filter: Filter,
        client: Option<ClientId>,
        now: Timestamp,
    ) -> Result<(String, Ticket), IssueError> {
        let client = to.as_client(client)?;
        let is_own = client == to.client;
        let filter = to.grants.narrow(filter)?.filter;
        let principal = Principal {
            grants: to.grants.only_to_read(&filter),
            client,
            // They are of the credential's own client.
            groups: to.groups.clone().filter(|_| is_own),
            events_per_hour: None,
            ..to.clone()
        };
        let end = now.after(TICKET_LIFE);
        let ticket = Ticket {
            expires_at: to.expires_at.map_or(end, |earlier| earlier.min(end)),
            principal: Arc::new(principal),
            filter,
        };
        let text = format!("{PREFIX}{}", random(SECRET_LEN));
        let mut unused = self.lock();
        let too_many = |limit: &str| {
            IssueError::Limited(Limited {
                limit: limit.to_owned(),
                retry_after: Some(TICKET_LIFE),
                is_too_large: false,
            })
        };
        if unused.by_digest.len() >= MAX {
            return Err(too_many("total.tickets"));
        }
        let of_one = unused.of.entry(to.name.clone()).or_default();
        if *of_one >= MAX_OF_ONE {
            return Err(too_many("principal.tickets"));
        }
        *of_one += 1;
        let digest = self.secret.digest(&text).bytes();
        unused.by_digest.insert(digest, ticket.clone());
        Ok((text, ticket))
    }

    /// Takes a ticket, which then is no more.
    pub(crate) fn redeem(&self, text: &str, now: Timestamp) -> Option<Ticket> {
        let digest = self.secret.digest(text).bytes();
        let ticket = self.lock().remove(&digest)?;
        (now < ticket.expires_at).then_some(ticket)
    }

    pub(crate) fn tidy(&self, now: Timestamp) {
        let mut unused = self.lock();
        let all = unused.by_digest.iter();
        let over = all.filter(|(_, ticket)| ticket.expires_at <= now);
        let over: Vec<_> = over.map(|(digest, _)| *digest).collect();
        for digest in over {
            unused.remove(&digest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Unused> {
        self.unused.lock().expect("no holder panics")
    }
}

/// Why there is no ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// It would be for what its holder may not have.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There are too many.
    #[error(transparent)]
    Limited(Limited),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grants;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    fn holder() -> Principal {
        Principal {
            grants: Grants::new(["subscribe:ops/**", "publish:**"].map(|g| g.parse().unwrap()))
                .unwrap(),
            client: Some("alice".parse().unwrap()),
            ..Principal::local()
        }
    }

    #[test]
    fn a_ticket_is_used_once_and_soon() {
        let tickets = Tickets::new();
        let issue = || {
            tickets
                .issue(&holder(), Filter::default(), None, at(0))
                .unwrap()
                .0
        };
        let text = issue();
        assert!(tickets.redeem("tkt_", at(1)).is_none());
        let ticket = tickets.redeem(&text, at(1)).unwrap();
        assert!(tickets.redeem(&text, at(1)).is_none());
        assert_eq!(ticket.filter.topics, ["ops/**".parse().unwrap()]);
        let grants = &ticket.principal.grants;
        assert!(grants.publish(&"a".parse().unwrap()).is_err());
        assert!(grants.read(&"ops/a".parse().unwrap()).is_ok());
        assert!(tickets.redeem(&issue(), at(30)).is_none());
        let text = issue();
        tickets.tidy(at(29));
        assert!(tickets.redeem(&text, at(29)).is_some());
    }

    #[test]
    fn one_principal_has_so_many_tickets() {
        let tickets = Tickets::new();
        let issue = || tickets.issue(&holder(), Filter::default(), None, at(0));
        let (text, _) = issue().unwrap();
        for _ in 1..MAX_OF_ONE {
            issue().unwrap();
        }
        let IssueError::Limited(limited) = issue().unwrap_err() else {
            panic!("expected a limit");
        };
        assert_eq!(limited.limit, "principal.tickets");
        assert!(tickets.redeem(&text, at(1)).is_some());
        assert!(issue().is_ok());
        tickets.tidy(at(30));
        assert!(tickets.lock().by_digest.is_empty() && tickets.lock().of.is_empty());
    }

    #[test]
    fn an_administrators_ticket_is_for_what_it_says() {
        let tickets = Tickets::new();
        let issue = |topics: &[&str]| {
            let filter = Filter {
                topics: topics.iter().map(|t| t.parse().unwrap()).collect(),
                ..Filter::default()
            };
            let issued = tickets.issue(&Principal::local(), filter, None, at(0));
            issued.unwrap().1.principal.grants.clone()
        };
        let reads = |grants: &Grants, topic: &str| grants.read(&topic.parse().unwrap()).is_ok();
        let all = issue(&[]);
        assert!(reads(&all, "a/b") && !reads(&all, "$audit"));
        assert!(all.narrow(Filter::default()).is_ok_and(|n| !n.is_less));
        assert!(reads(&issue(&["$audit"]), "$audit"));
        assert!(!all.is_admin());
    }

    #[test]
    fn nobody_gets_a_ticket_for_more_than_he_has() {
        let tickets = Tickets::new();
        let dev = Filter {
            topics: vec!["dev".parse().unwrap()],
            ..Filter::default()
        };
        assert!(tickets.issue(&holder(), dev, None, at(0)).is_err());
        let bob = Some("bob".parse().unwrap());
        assert!(
            tickets
                .issue(&holder(), Filter::default(), bob, at(0))
                .is_err()
        );
        let short = Principal {
            expires_at: Some(at(5)),
            ..holder()
        };
        let (text, _) = tickets
            .issue(&short, Filter::default(), None, at(0))
            .unwrap();
        assert!(tickets.redeem(&text, at(5)).is_none());
    }
}
