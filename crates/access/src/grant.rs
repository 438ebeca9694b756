use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use notification_event::{ClientId, Filter, ParseError, Pattern, Topic};

/// One thing that a principal may do, such as `publish:ops/**`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// `publish:PATTERN`: publish events, the progress of tasks among them, on these topics.
    Publish(Pattern),
    /// `subscribe:PATTERN`: receive and read events on these topics, and see the tasks there.
    Subscribe(Pattern),
    /// `tasks:PATTERN`: report and see the tasks on these topics.
    Tasks(Pattern),
    /// `acknowledge`: acknowledge events as a client that one may be.
    Acknowledge,
    /// `webhooks`: have events delivered to an address.
    Webhooks,
    /// `connections:read`: see who is connected, the durable clients, the groups and the metrics.
    ConnectionsRead,
    /// `client:ID`: be this client, besides the one that comes with the credential.
    Client(ClientId),
    /// `client:*`: be any client, as a backend that speaks for its users.
    AnyClient,
    /// `admin`: everything.
    Admin,
}

impl Grant {
    /// The longest, in bytes.
    pub const MAX_LEN: usize = 300;

    /// Whether who has this may do all that `wanted` lets him do.
    pub fn covers(&self, wanted: &Self) -> bool {
        let within = |wanted: &Pattern, own: &Pattern| own.meet(wanted).as_ref() == Some(wanted);
        match (self, wanted) {
            (Self::Admin, _) | (Self::AnyClient, Self::Client(_)) => true,
            (Self::Publish(own), Self::Publish(wanted) | Self::Tasks(wanted))
            | (Self::Tasks(own), Self::Tasks(wanted))
            | (Self::Subscribe(own), Self::Subscribe(wanted)) => within(wanted, own),
            (own, wanted) => own == wanted,
        }
    }
}

const EXPECTED: &str = "publish:PATTERN, subscribe:PATTERN, tasks:PATTERN, acknowledge, webhooks, \
                        connections:read, client:ID, client:* or admin";

impl FromStr for Grant {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = ParseError {
            what: "grant",
            expected: EXPECTED,
        };
        match text {
            "acknowledge" => return Ok(Self::Acknowledge),
            "webhooks" => return Ok(Self::Webhooks),
            "connections:read" => return Ok(Self::ConnectionsRead),
            "client:*" => return Ok(Self::AnyClient),
            "admin" => return Ok(Self::Admin),
            _ => {}
        }
        let (verb, object) = text.split_once(':').ok_or_else(|| wrong.clone())?;
        match verb {
            "publish" => object.parse().map(Self::Publish),
            "subscribe" => object.parse().map(Self::Subscribe),
            "tasks" => object.parse().map(Self::Tasks),
            "client" => object.parse().map(Self::Client),
            _ => Err(wrong),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(pattern) => write!(f, "publish:{pattern}"),
            Self::Subscribe(pattern) => write!(f, "subscribe:{pattern}"),
            Self::Tasks(pattern) => write!(f, "tasks:{pattern}"),
            Self::Acknowledge => f.write_str("acknowledge"),
            Self::Webhooks => f.write_str("webhooks"),
            Self::ConnectionsRead => f.write_str("connections:read"),
            Self::Client(client) => write!(f, "client:{client}"),
            Self::AnyClient => f.write_str("client:*"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl serde::Serialize for Grant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What would have been needed, and was not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this needs the grant {needed}")]
pub struct Denied {
    /// The grant, as [`Grant`] writes it. Of the same spelling as an OAuth scope.
    pub needed: Grant,
}

impl Denied {
    fn needs(needed: Grant) -> Self {
        Self { needed }
    }
}

/// A filter, cut down to what may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Narrowed {
    /// What is left.
    pub filter: Filter,
    /// Whether that is less than was asked for.
    pub is_less: bool,
}

/// Everything that a principal may do. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// The most that one principal has.
    pub const MAX: usize = 64;

    /// These, each once, in order. More than [`MAX`](Self::MAX) of them are too many.
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Result<Self, ParseError> {
        let mut grants: Vec<_> = grants.into_iter().collect();
        grants.sort();
        grants.dedup();
        match grants.len() <= Self::MAX {
            true => Ok(Self(grants)),
            false => Err(ParseError {
                what: "list of grants",
                expected: "at most 64 grants",
            }),
        }
    }

    /// Everything.
    pub fn all() -> Self {
        Self(vec![Grant::Admin])
    }

    /// Each, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }

    /// Whether they hold this very grant, or everything.
    pub fn has(&self, grant: &Grant) -> bool {
        self.is_admin() || self.0.contains(grant)
    }

    /// Whether they are everything.
    pub fn is_admin(&self) -> bool {
        self.0.contains(&Grant::Admin)
    }

    fn covers(&self, wanted: &Grant) -> bool {
        self.0.iter().any(|own| own.covers(wanted))
    }

    /// Whether events may be published on `topic`.
    pub fn publish(&self, topic: &Topic) -> Result<(), Denied> {
        self.on(topic, |grant| match grant {
            Grant::Publish(pattern) => Some(pattern),
            _ => None,
        })
        .ok_or_else(|| Denied::needs(Grant::Publish(as_pattern(topic))))
    }

    /// Whether the progress of tasks may be reported on `topic`.
    pub fn report(&self, topic: &Topic) -> Result<(), Denied> {
        self.on(topic, |grant| match grant {
            Grant::Publish(pattern) | Grant::Tasks(pattern) => Some(pattern),
            _ => None,
        })
        .ok_or_else(|| Denied::needs(Grant::Tasks(as_pattern(topic))))
    }

    /// Whether tasks on `topic` may be seen.
    pub fn see_task(&self, topic: &Topic) -> Result<(), Denied> {
        self.on(topic, |grant| match grant {
            Grant::Subscribe(pattern) | Grant::Tasks(pattern) => Some(pattern),
            _ => None,
        })
        .ok_or_else(|| Denied::needs(Grant::Tasks(as_pattern(topic))))
    }

    /// Whether events on `topic` may be read.
    pub fn read(&self, topic: &Topic) -> Result<(), Denied> {
        match self.is_admin() || self.readable().any(|pattern| pattern.matches(topic)) {
            true => Ok(()),
            false => Err(Denied::needs(Grant::Subscribe(as_pattern(topic)))),
        }
    }

    /// Whether one may have this grant's deed done: for the grants without an object.
    pub fn need(&self, grant: Grant) -> Result<(), Denied> {
        match self.covers(&grant) {
            true => Ok(()),
            false => Err(Denied::needs(grant)),
        }
    }

    /// Cuts a filter down to what may be seen. Who asks for a topic outright
    /// that he may not see, or for nothing that he may, is refused: silence
    /// would look like quiet.
    pub fn narrow(&self, filter: Filter) -> Result<Narrowed, Denied> {
        if self.is_admin() {
            let is_less = false;
            return Ok(Narrowed { filter, is_less });
        }
        let asks_for_nothing = filter.topics.is_empty();
        let readable: Vec<_> = self.readable().collect();
        let (mut topics, is_less) = meet(filter.topics, &readable)
            .map_err(|pattern| Denied::needs(Grant::Subscribe(pattern)))?;
        // One spelling of everything, so that equal filters are seen to be equal.
        if asks_for_nothing && !is_less {
            topics.clear();
        }
        let filter = Filter { topics, ..filter };
        Ok(Narrowed { filter, is_less })
    }

    /// Cuts patterns of tasks' topics down to those that may be seen, as
    /// [`narrow`](Self::narrow) does, and says whether that is less.
    pub fn narrow_tasks(&self, asked: Vec<Pattern>) -> Result<(Vec<Pattern>, bool), Denied> {
        if self.is_admin() {
            return Ok((asked, false));
        }
        let seen = self.0.iter().filter_map(|grant| match grant {
            Grant::Subscribe(pattern) | Grant::Tasks(pattern) => Some(pattern),
            _ => None,
        });
        let seen: Vec<_> = seen.collect();
        meet(asked, &seen).map_err(|pattern| Denied::needs(Grant::Tasks(pattern)))
    }

    /// The grants of somebody who may do no more than receive this.
    #[must_use]
    pub fn only_to_read(&self, filter: &Filter) -> Self {
        let topics = filter.topics.iter().cloned();
        Self(match topics.len() {
            0 if self.is_admin() => vec![Grant::Subscribe("**".parse().expect("a pattern"))],
            0 => self.readable().cloned().map(Grant::Subscribe).collect(),
            _ => topics.map(Grant::Subscribe).collect(),
        })
    }

    fn readable(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter().filter_map(|grant| match grant {
            Grant::Subscribe(pattern) => Some(pattern),
            _ => None,
        })
    }

    /// Whether one of the patterns that `of` finds is of `topic`.
    fn on<'a>(
        &'a self,
        topic: &Topic,
        of: impl Fn(&'a Grant) -> Option<&'a Pattern>,
    ) -> Option<()> {
        let mut patterns = self.0.iter().filter_map(of);
        (self.is_admin() || patterns.any(|pattern| pattern.matches(topic))).then_some(())
    }
}

/// How many patterns are left after they were cut down, at most.
const MAX_PATTERNS: usize = 1_024;

/// What `asked` (nothing in particular is everything) and `own` have in common,
/// and whether that is less than was asked for; what is missing if that is
/// nothing, or lacks a topic that was asked for outright.
fn meet(asked: Vec<Pattern>, own: &[&Pattern]) -> Result<(Vec<Pattern>, bool), Pattern> {
    let everything = || vec!["**".parse().expect("a pattern")];
    let asked = match asked.is_empty() {
        true => everything(),
        false => asked,
    };
    let mut met = BTreeSet::new();
    let mut is_less = false;
    for pattern in &asked {
        let common: Vec<_> = own.iter().filter_map(|own| own.meet(pattern)).collect();
        if common.contains(pattern) {
            met.insert(pattern.clone());
            continue;
        }
        if pattern.is_literal() {
            return Err(pattern.clone());
        }
        is_less = true;
        met.extend(common);
        if met.len() > MAX_PATTERNS {
            return Err(pattern.clone());
        }
    }
    match met.is_empty() {
        true => Err(asked[0].clone()),
        false => Ok((met.into_iter().collect(), is_less)),
    }
}

fn as_pattern(topic: &Topic) -> Pattern {
    topic.as_str().parse().expect("every topic is a pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(text: &str) -> Grants {
        Grants::new(text.split_whitespace().map(|g| g.parse().unwrap())).unwrap()
    }

    fn topic(text: &str) -> Topic {
        text.parse().unwrap()
    }

    #[test]
    fn a_grant_is_read_as_it_is_written() {
        for text in [
            "publish:ops/**",
            "subscribe:**",
            "subscribe:$presence",
            "tasks:jobs/*",
            "acknowledge",
            "webhooks",
            "connections:read",
            "client:alice",
            "client:*",
            "admin",
        ] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "publish",
            "publish:",
            "publish:a b",
            "Publish:a",
            "admin:a",
            "client:a b",
            "connections:write",
            "publish:a\n",
            " admin",
        ] {
            assert!(wrong.parse::<Grant>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn each_deed_needs_its_grant() {
        let ops = grants("publish:ops/** tasks:jobs/* subscribe:ops/db");
        assert_eq!(ops.publish(&topic("ops/db")), Ok(()));
        let denied = ops.publish(&topic("jobs/a")).unwrap_err();
        assert_eq!(denied.needed.to_string(), "publish:jobs/a");
        assert_eq!(ops.report(&topic("jobs/a")), Ok(()));
        assert_eq!(ops.report(&topic("ops/a")), Ok(()));
        assert!(ops.report(&topic("dev")).is_err());
        assert_eq!(ops.read(&topic("ops/db")), Ok(()));
        assert!(ops.read(&topic("ops/web")).is_err());
        assert!(ops.see_task(&topic("ops/web")).is_err());
        assert_eq!(ops.see_task(&topic("jobs/a")), Ok(()));
        assert!(ops.need(Grant::Acknowledge).is_err());
        for topic in ["a", "$audit"].map(topic) {
            assert!(Grants::all().publish(&topic).is_ok() && Grants::all().read(&topic).is_ok());
        }
        assert!(Grants::default().publish(&topic("a")).is_err());
        assert!(grants("subscribe:**").read(&topic("$audit")).is_err());
    }

    #[test]
    fn a_filter_is_cut_down_to_what_may_be_seen() {
        let check = |own: &str, asked: &[&str], expected: Result<(&[&str], bool), &str>| {
            let filter = Filter {
                topics: asked.iter().map(|p| p.parse().unwrap()).collect(),
                ..Filter::default()
            };
            let narrowed = grants(own).narrow(filter).map(|n| {
                let topics: Vec<_> = n.filter.topics.iter().map(ToString::to_string).collect();
                (topics, n.is_less)
            });
            let narrowed = narrowed.map_err(|denied| denied.needed.to_string());
            let expected = expected.map(|(t, l)| (t.iter().map(ToString::to_string).collect(), l));
            assert_eq!(narrowed, expected.map_err(str::to_owned), "{own} {asked:?}");
        };
        check("subscribe:ops/**", &["**"], Ok((&["ops/**"], true)));
        check("subscribe:ops/**", &[], Ok((&["ops/**"], true)));
        check("subscribe:**", &[], Ok((&[], false)));
        check("subscribe:** subscribe:$presence", &[], Ok((&[], false)));
        check("admin", &["$audit"], Ok((&["$audit"], false)));
        check("subscribe:ops/**", &["ops/db"], Ok((&["ops/db"], false)));
        check("subscribe:ops/**", &["ops/db", "dev"], Err("subscribe:dev"));
        check("subscribe:ops/**", &["dev/**"], Err("subscribe:dev/**"));
        check("subscribe:ops/**", &["dev/**", "ops"], Ok((&["ops"], true)));
        check(
            "subscribe:ops/* subscribe:dev/*",
            &["*/a"],
            Ok((&["dev/a", "ops/a"], true)),
        );
        check("subscribe:**", &["$presence"], Err("subscribe:$presence"));
        check("publish:**", &[], Err("subscribe:**"));
        check("", &["a"], Err("subscribe:a"));
    }
}
