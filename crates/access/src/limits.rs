use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::Principal;

/// How many budgets are kept before those that are whole are forgotten.
const MAX_BUDGETS: usize = 10_000;

const HOUR: Duration = Duration::from_secs(3600);

/// How much is allowed, of whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Of all together.
    pub total: Quotas,
    /// Of each principal but the local one.
    pub principal: Quotas,
    /// Of each client address, but those of this machine.
    pub address: Quotas,
}

/// How much is allowed. None is no bound. What is so much a second may come at
/// once, and then no more for a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Requests of any kind.
    pub requests_per_second: Option<NonZeroU32>,
    /// Events that are published.
    pub events_per_second: Option<NonZeroU32>,
    /// Bytes of them, as receivers get them.
    pub bytes_per_second: Option<NonZeroU32>,
    /// Streams that are open.
    pub streams: Option<NonZeroU32>,
    /// Connections that are open, whatever for. Only of addresses: who it is that
    /// connects is not known yet.
    pub connections: Option<NonZeroU32>,
}

/// A limit was hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Which: `principal.events_per_second`.
    pub limit: String,
    /// After which time it is worth trying again; none if that would never
    /// help, because so much is never allowed at once, or nobody can know.
    pub retry_after: Option<Duration>,
    /// Whether it was too much for the limit at any time.
    pub is_too_large: bool,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the limit {} is reached", self.limit)?;
        match self.retry_after {
            Some(after) => write!(f, "; try again in {} s", seconds(after)),
            None if self.is_too_large => f.write_str("; send less at once"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Limited {}

/// Whole seconds, as Retry-After has them (RFC 9110, section 10.2.3): rounded up.
pub fn seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

/// Who asks, as far as limits are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Who it is, if that is known.
    pub principal: Option<&'a Principal>,
    /// From where.
    pub address: Option<IpAddr>,
}

/// Counts what is done, and says when it is too much.
#[derive(Debug)]
pub(crate) struct Limits {
    config: LimitsConfig,
    total: Scope<()>,
    principal: Scope<Arc<str>>,
    address: Scope<IpAddr>,
    /// Of each principal, by how much it is allowed: tokens of one subject may say
    /// different numbers.
    budgets: Mutex<HashMap<(Arc<str>, NonZeroU32), Budget>>,
}

type Budget = Arc<DefaultDirectRateLimiter>;

/// The same for all of a kind.
#[derive(Debug)]
struct Scope<K: Hash + Eq + Clone> {
    name: &'static str,
    requests: Option<DefaultKeyedRateLimiter<K>>,
    events: Option<DefaultKeyedRateLimiter<K>>,
    bytes: Option<DefaultKeyedRateLimiter<K>>,
    streams: Option<NonZeroU32>,
    open: Open<K>,
    connections: Option<NonZeroU32>,
    connected: Open<K>,
}

type Open<K> = Arc<Mutex<HashMap<K, u32>>>;

/// The place that an open stream or connection takes, until it is dropped.
#[derive(Debug, Default)]
pub struct Slot(
    #[expect(dead_code, reason = "given back when it is dropped")] [Option<Box<dyn Held>>; 3],
);

trait Held: fmt::Debug + Send + Sync {}

#[derive(Debug)]
struct Place<K: Hash + Eq + Clone> {
    open: Open<K>,
    key: K,
}

impl<K: Hash + Eq + Clone + fmt::Debug + Send + Sync> Held for Place<K> {}

impl<K: Hash + Eq + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        let mut open = self.open.lock().expect("no holder panics");
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

impl Limits {
    pub(crate) fn new(config: LimitsConfig) -> Self {
        Self {
            total: Scope::new("total", &config.total),
            principal: Scope::new("principal", &config.principal),
            address: Scope::new("address", &config.address),
            budgets: Mutex::default(),
            config,
        }
    }

    /// The same counts of what is open, and of the budgets, under other limits.
    pub(crate) fn with(&self, config: LimitsConfig) -> Self {
        let mut new = Self::new(config);
        new.total.open = self.total.open.clone();
        new.principal.open = self.principal.open.clone();
        new.address.open = self.address.open.clone();
        new.address.connected = self.address.connected.clone();
        let budgets = self.budgets.lock().expect("no holder panics").clone();
        new.budgets = Mutex::new(budgets);
        new
    }

    pub(crate) fn config(&self) -> &LimitsConfig {
        &self.config
    }

    /// One request more from there, of whomever.
    pub(crate) fn request_from(&self, address: Option<IpAddr>) -> Result<(), Limited> {
        match counted_address(address) {
            Some(key) => self.address.request(&key),
            None => Ok(()),
        }
    }

    /// One request more of this principal.
    pub(crate) fn request_of(&self, principal: &Principal) -> Result<(), Limited> {
        if let Some(key) = counted_principal(Some(principal)) {
            self.principal.request(&key)?;
        }
        match counts_in_total(Some(principal)) {
            true => self.total.request(&()),
            false => Ok(()),
        }
    }

    /// So many events more, of so many bytes.
    pub(crate) fn publish(
        &self,
        asker: Asker<'_>,
        events: usize,
        bytes: usize,
    ) -> Result<(), Limited> {
        if let Some(key) = counted_address(asker.address) {
            self.address.publish(&key, events, bytes)?;
        }
        if let Some(key) = counted_principal(asker.principal) {
            self.principal.publish(&key, events, bytes)?;
        }
        if let Some(principal) = asker.principal {
            self.spend(principal, events)?;
        }
        match counts_in_total(asker.principal) {
            true => self.total.publish(&(), events, bytes),
            false => Ok(()),
        }
    }

    /// One stream more, for as long as the slot lives.
    pub(crate) fn stream(&self, asker: Asker<'_>) -> Result<Slot, Limited> {
        let address = counted_address(asker.address);
        let principal = counted_principal(asker.principal);
        Ok(Slot([
            address
                .map(|key| self.address.stream(key))
                .transpose()?
                .flatten(),
            principal
                .map(|key| self.principal.stream(key))
                .transpose()?
                .flatten(),
            match counts_in_total(asker.principal) {
                true => self.total.stream(())?,
                false => None,
            },
        ]))
    }

    /// One connection more from there, for as long as the slot lives.
    pub(crate) fn connection(&self, address: IpAddr) -> Result<Slot, Limited> {
        let Some(key) = counted_address(Some(address)) else {
            return Ok(Slot::default());
        };
        Ok(Slot([self.address.connection(key)?, None, None]))
    }

    /// Forgets those of whom nothing was heard for long enough.
    pub(crate) fn tidy(&self) {
        self.principal.tidy();
        self.address.tidy();
        let mut budgets = self.budgets.lock().expect("no holder panics");
        // One that could be spent whole is as good as a new one.
        if budgets.len() > MAX_BUDGETS {
            budgets.retain(|(_, allowed), budget| {
                let whole = budget.check_n(*allowed);
                !matches!(whole, Ok(Ok(())))
            });
        }
    }

    fn spend(&self, principal: &Principal, events: usize) -> Result<(), Limited> {
        let Some(allowed) = principal.events_per_hour else {
            return Ok(());
        };
        let limiter = {
            let mut budgets = self.budgets.lock().expect("no holder panics");
            let budget = budgets.entry((principal.name.clone(), allowed));
            let new = || {
                let every = HOUR / allowed.get();
                let quota = Quota::with_period(every).expect("an hour is not nothing");
                Arc::new(RateLimiter::direct(quota.allow_burst(allowed)))
            };
            budget.or_insert_with(new).clone()
        };
        let name = || "events_per_hour".to_owned();
        let Some(count) = count(events) else {
            return Ok(());
        };
        match limiter.check_n(count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(Limited {
                limit: name(),
                retry_after: Some(not_until.wait_time_from(DefaultClock::default().now())),
                is_too_large: false,
            }),
            Err(_) => Err(Limited::too_large(name())),
        }
    }
}

impl Limited {
    fn too_large(limit: String) -> Self {
        Self {
            limit,
            retry_after: None,
            is_too_large: true,
        }
    }
}

impl<K: Hash + Eq + Clone + fmt::Debug + Send + Sync + 'static> Scope<K> {
    fn new(name: &'static str, quotas: &Quotas) -> Self {
        let limiter = |n: Option<NonZeroU32>| n.map(|n| RateLimiter::keyed(Quota::per_second(n)));
        Self {
            name,
            requests: limiter(quotas.requests_per_second),
            events: limiter(quotas.events_per_second),
            bytes: limiter(quotas.bytes_per_second),
            streams: quotas.streams,
            open: Open::default(),
            connections: quotas.connections,
            connected: Open::default(),
        }
    }

    fn request(&self, key: &K) -> Result<(), Limited> {
        self.check("requests_per_second", self.requests.as_ref(), key, 1)
    }

    fn publish(&self, key: &K, events: usize, bytes: usize) -> Result<(), Limited> {
        self.check("events_per_second", self.events.as_ref(), key, events)?;
        self.check("bytes_per_second", self.bytes.as_ref(), key, bytes)
    }

    fn check(
        &self,
        what: &str,
        limiter: Option<&DefaultKeyedRateLimiter<K>>,
        key: &K,
        amount: usize,
    ) -> Result<(), Limited> {
        let (Some(limiter), Some(amount)) = (limiter, count(amount)) else {
            return Ok(());
        };
        let name = || format!("{}.{what}", self.name);
        match limiter.check_key_n(key, amount) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(Limited {
                limit: name(),
                retry_after: Some(not_until.wait_time_from(DefaultClock::default().now())),
                is_too_large: false,
            }),
            Err(_) => Err(Limited::too_large(name())),
        }
    }

    fn stream(&self, key: K) -> Result<Option<Box<dyn Held>>, Limited> {
        self.place("streams", self.streams, &self.open, key)
    }

    fn connection(&self, key: K) -> Result<Option<Box<dyn Held>>, Limited> {
        self.place("connections", self.connections, &self.connected, key)
    }

    fn place(
        &self,
        what: &str,
        max: Option<NonZeroU32>,
        open: &Open<K>,
        key: K,
    ) -> Result<Option<Box<dyn Held>>, Limited> {
        // Counted without a limit, too: there may be one before it is closed.
        let mut counts = open.lock().expect("no holder panics");
        let count = counts.entry(key.clone()).or_default();
        if max.is_some_and(|max| *count >= max.get()) {
            return Err(Limited {
                limit: format!("{}.{what}", self.name),
                retry_after: None,
                is_too_large: false,
            });
        }
        *count += 1;
        let open = open.clone();
        Ok(Some(Box::new(Place { open, key })))
    }

    fn tidy(&self) {
        let limiters = [&self.requests, &self.events, &self.bytes];
        for limiter in limiters.into_iter().flatten() {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// As much as a limiter counts; none of nothing.
fn count(amount: usize) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(amount).unwrap_or(u32::MAX))
}

fn counted_principal(principal: Option<&Principal>) -> Option<Arc<str>> {
    let principal = principal?;
    (!principal.is_local()).then(|| principal.name.clone())
}

/// An administrator can do what has to be done, however busy others are.
fn counts_in_total(principal: Option<&Principal>) -> bool {
    principal.is_none_or(|principal| principal.is_local() || !principal.grants.is_admin())
}

/// What stands for an address: of IPv6 the network of 64 bits, of which one
/// subscriber has all. None for this machine's own.
pub(crate) fn counted_address(address: Option<IpAddr>) -> Option<IpAddr> {
    let address = address?.to_canonical();
    match address {
        address if address.is_loopback() => None,
        IpAddr::V4(_) => Some(address),
        IpAddr::V6(v6) => Some(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credential, Grants};

    fn one(n: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(n)
    }

    fn principal(name: &str) -> Principal {
        Principal {
            name: name.into(),
            credential: Credential::Key(name.into()),
            grants: Grants::all(),
            ..Principal::local()
        }
    }

    fn asker<'a>(principal: &'a Principal, address: &str) -> Asker<'a> {
        Asker {
            principal: Some(principal),
            address: Some(address.parse().unwrap()),
        }
    }

    #[test]
    fn each_principal_has_its_own_share() {
        let limits = Limits::new(LimitsConfig {
            principal: Quotas {
                events_per_second: one(2),
                ..Quotas::default()
            },
            ..LimitsConfig::default()
        });
        let (a, b) = (principal("key:a"), principal("key:b"));
        assert!(limits.publish(asker(&a, "192.0.2.1"), 2, 10).is_ok());
        let limited = limits.publish(asker(&a, "192.0.2.2"), 1, 10).unwrap_err();
        assert_eq!(limited.limit, "principal.events_per_second");
        assert!(limited.retry_after.is_some_and(|after| seconds(after) == 1));
        assert!(limits.publish(asker(&b, "192.0.2.1"), 1, 10).is_ok());
        let batch = limits.publish(asker(&b, "192.0.2.1"), 3, 10).unwrap_err();
        assert!(batch.is_too_large && batch.retry_after.is_none());
        for _ in 0..10 {
            assert!(
                limits
                    .publish(asker(&Principal::local(), "192.0.2.1"), 2, 10)
                    .is_ok()
            );
        }
    }

    #[test]
    fn addresses_share_by_network_and_this_machine_is_free() {
        let limits = Limits::new(LimitsConfig {
            address: Quotas {
                requests_per_second: one(1),
                ..Quotas::default()
            },
            ..LimitsConfig::default()
        });
        let from = |text: &str| limits.request_from(Some(text.parse().unwrap()));
        assert!(from("192.0.2.1").is_ok() && from("192.0.2.2").is_ok());
        assert!(from("::ffff:192.0.2.1").is_err());
        assert!(from("2001:db8::1").is_ok());
        assert!(from("2001:db8::2").is_err());
        assert!(from("2001:db8:0:1::2").is_ok());
        for _ in 0..10 {
            assert!(from("127.0.0.1").is_ok() && from("::1").is_ok());
        }
    }

    #[test]
    fn what_all_together_may_do_leaves_room_for_an_administrator() {
        let limits = Limits::new(LimitsConfig {
            total: Quotas {
                requests_per_second: one(1),
                events_per_second: one(1),
                streams: one(1),
                ..Quotas::default()
            },
            ..LimitsConfig::default()
        });
        let a = Principal {
            grants: Grants::default(),
            ..principal("key:a")
        };
        let admin = Principal {
            grants: Grants::all(),
            ..principal("key:admin")
        };
        let address = "192.0.2.1";
        assert!(limits.request_from(Some(address.parse().unwrap())).is_ok());
        assert!(limits.request_of(&a).is_ok() && limits.request_of(&a).is_err());
        assert!(limits.publish(asker(&a, address), 1, 1).is_ok());
        assert!(limits.publish(asker(&a, address), 1, 1).is_err());
        let _stream = limits.stream(asker(&a, address)).unwrap();
        assert!(limits.stream(asker(&a, address)).is_err());
        assert!(limits.request_of(&admin).is_ok());
        assert!(limits.publish(asker(&admin, address), 1, 1).is_ok());
        assert!(limits.stream(asker(&admin, address)).is_ok());
        // Where nobody says who he is, everybody is in the total.
        let local = Principal::local();
        assert!(limits.request_of(&local).is_err());
    }

    #[test]
    fn a_slot_is_given_back() {
        let config = LimitsConfig {
            principal: Quotas {
                streams: one(1),
                ..Quotas::default()
            },
            ..LimitsConfig::default()
        };
        let limits = Limits::new(config.clone());
        let a = principal("key:a");
        let slot = limits.stream(asker(&a, "192.0.2.1")).unwrap();
        let limited = limits.stream(asker(&a, "192.0.2.1")).unwrap_err();
        assert_eq!(limited.limit, "principal.streams");
        let limits = limits.with(config);
        assert!(limits.stream(asker(&a, "192.0.2.1")).is_err());
        drop(slot);
        assert!(limits.stream(asker(&a, "192.0.2.1")).is_ok());
    }

    #[test]
    fn what_was_opened_without_a_limit_counts_when_there_is_one() {
        let at_most = |streams| LimitsConfig {
            principal: Quotas {
                streams,
                ..Quotas::default()
            },
            ..LimitsConfig::default()
        };
        let limits = Limits::new(at_most(None));
        let a = principal("key:a");
        let slot = limits.stream(asker(&a, "192.0.2.1")).unwrap();
        let limits = limits.with(at_most(one(1)));
        assert!(limits.stream(asker(&a, "192.0.2.1")).is_err());
        drop(slot);
        assert!(limits.stream(asker(&a, "192.0.2.1")).is_ok());
    }

    #[test]
    fn a_budget_is_spent() {
        let limits = Limits::new(LimitsConfig::default());
        let agent = Principal {
            events_per_hour: one(3),
            ..principal("key:agent")
        };
        assert!(limits.publish(asker(&agent, "127.0.0.1"), 3, 1).is_ok());
        let limited = limits
            .publish(asker(&agent, "127.0.0.1"), 1, 1)
            .unwrap_err();
        assert_eq!(limited.limit, "events_per_hour");
        assert!(
            limited
                .retry_after
                .is_some_and(|after| after > Duration::from_secs(60))
        );
        let limits = limits.with(LimitsConfig::default());
        assert!(limits.publish(asker(&agent, "127.0.0.1"), 1, 1).is_err());
    }
}
