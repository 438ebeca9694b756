use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use notification_event::Timestamp;

use crate::Limited;
use crate::limits::counted_address;

/// How often an address may be wrong before it has to wait.
const FREE: u32 = 10;
/// How long it waits at most.
const LONGEST: Duration = Duration::from_secs(30);
/// After which time without a failure it begins anew.
const FORGET: Duration = Duration::from_secs(600);
/// How many addresses are remembered.
const MAX: usize = 100_000;

/// How many tokens of an address are verified in a second. Those that are known
/// need not be.
const VERIFICATIONS: NonZeroU32 = NonZeroU32::new(100).expect("not nothing");

/// Who came with wrong credentials, and has to wait.
#[derive(Debug)]
pub(crate) struct Failures {
    wrong: Mutex<HashMap<IpAddr, Failed>>,
    verifications: DefaultKeyedRateLimiter<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    last: Timestamp,
    until: Timestamp,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            wrong: Mutex::default(),
            verifications: RateLimiter::keyed(Quota::per_second(VERIFICATIONS)),
        }
    }
}

impl Failures {
    /// Counts a token from there that is to be verified.
    pub(crate) fn verifying(&self, address: Option<IpAddr>) -> Result<(), Limited> {
        let Some(address) = counted_address(address) else {
            return Ok(());
        };
        self.verifications
            .check_key(&address)
            .map_err(|not_until| Limited {
                limit: "address.token_verifications".to_owned(),
                retry_after: Some(not_until.wait_time_from(DefaultClock::default().now())),
                is_too_large: false,
            })
    }

    /// Whether somebody there may be told now that he is wrong.
    pub(crate) fn check(&self, address: Option<IpAddr>, now: Timestamp) -> Result<(), Limited> {
        let Some(address) = counted_address(address) else {
            return Ok(());
        };
        let failed = self.lock().get(&address).copied();
        let left = failed.map(|failed| failed.until.as_millis() - now.as_millis());
        let left = left.and_then(|left| u64::try_from(left).ok());
        match left.map(Duration::from_millis) {
            // Nobody waits longer, but for a clock that was set back.
            Some(left) if !left.is_zero() && left <= LONGEST => Err(Limited {
                limit: "address.failed_authentications".to_owned(),
                retry_after: Some(left),
                is_too_large: false,
            }),
            _ => Ok(()),
        }
    }

    /// Takes note of one more from there that were wrong. The wait doubles each time.
    pub(crate) fn failed(&self, address: Option<IpAddr>, now: Timestamp) {
        let Some(address) = counted_address(address) else {
            return;
        };
        let mut all = self.lock();
        if all.len() >= MAX && !all.contains_key(&address) {
            // Those that wait no more first; if all wait, they begin anew.
            all.retain(|_, failed| now < failed.until);
            if all.len() >= MAX {
                all.clear();
            }
        }
        let failed = all.entry(address).or_insert(Failed {
            times: 0,
            last: now,
            until: now,
        });
        failed.times = failed.times.saturating_add(1);
        failed.last = now;
        if let Some(over) = failed.times.checked_sub(FREE) {
            let wait = Duration::from_secs(1 << over.min(16)).min(LONGEST);
            failed.until = now.after(wait);
        }
    }

    /// Forgets those of whom nothing was heard for long enough.
    pub(crate) fn tidy(&self, now: Timestamp) {
        let oldest = now.before(FORGET);
        self.lock().retain(|_, failed| failed.last > oldest);
        self.verifications.retain_recent();
        self.verifications.shrink_to_fit();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Failed>> {
        self.wrong.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_guesses_waits_longer_each_time() {
        let failures = Failures::default();
        let address = Some("192.0.2.1".parse().unwrap());
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        for _ in 0..FREE - 1 {
            failures.failed(address, at(0));
        }
        assert!(failures.check(address, at(0)).is_ok());
        let mut waits = Vec::new();
        for _ in 0..8 {
            failures.failed(address, at(0));
            let wait = failures.check(address, at(0)).unwrap_err().retry_after;
            waits.push(wait.unwrap().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(failures.check(address, at(60)).is_ok());
        assert!(
            failures
                .check(Some("192.0.2.2".parse().unwrap()), at(0))
                .is_ok()
        );
        // A clock that was set back makes nobody wait until it is that late again.
        assert!(failures.check(address, at(-86_400)).is_ok());
        failures.tidy(at(599));
        assert!(failures.check(address, at(29)).is_err());
        failures.tidy(at(601));
        assert!(failures.check(address, at(29)).is_ok());
    }
}
