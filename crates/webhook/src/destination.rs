use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How much a place is sent.
#[derive(Clone, Copy, Debug)]
pub struct DestinationLimits {
    /// How many requests at once.
    pub concurrency: usize,
    /// How many in a second; 0 is no bound.
    pub per_second: u32,
}

/// The places that deliveries go to, each known by its origin as long as somebody
/// delivers there, and a minute after its last verification.
#[derive(Debug)]
pub(crate) struct Destinations {
    limits: DestinationLimits,
    // A std mutex: held for lookups, never across an await.
    known: Mutex<HashMap<String, Arc<Destination>>>,
}

/// What is behind one origin, however many webhooks lead there. One that does not
/// answer is asked one thing at a time until it does, so that those who wait for it
/// to time out are few.
#[derive(Debug)]
pub(crate) struct Destination {
    at_once: Semaphore,
    one_by_one: Semaphore,
    is_unreachable: AtomicBool,
    pace: Option<Pace>,
    /// How many more times it may be asked to prove itself, refilled by the minute.
    verifications: Mutex<(Instant, u32)>,
}

/// Spreads requests evenly, after as many at once as fit into a second.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

/// How many times a minute an endpoint of one place is asked to prove itself.
const VERIFICATIONS: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);

impl Destinations {
    pub(crate) fn new(limits: DestinationLimits) -> Self {
        Self {
            limits,
            known: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, origin: &str) -> Arc<Destination> {
        let mut known = self.known.lock().expect("no holder panics");
        if let Some(destination) = known.get(origin) {
            return destination.clone();
        }
        // Now and then, when one is added.
        if known.len() >= 64 && known.len().is_power_of_two() {
            known.retain(|_, it| Arc::strong_count(it) > 1 || it.was_verified_lately());
        }
        let destination = Arc::new(Destination::new(self.limits));
        known.insert(origin.to_owned(), destination.clone());
        destination
    }
}

impl Destination {
    fn new(limits: DestinationLimits) -> Self {
        let interval = Duration::from_secs(1).checked_div(limits.per_second);
        let now = Instant::now();
        Self {
            at_once: Semaphore::new(limits.concurrency),
            one_by_one: Semaphore::new(1),
            is_unreachable: AtomicBool::new(false),
            pace: interval.map(|interval| Pace {
                interval,
                next: Mutex::new(now),
            }),
            verifications: Mutex::new((now, VERIFICATIONS)),
        }
    }

    /// Waits until something may be sent there. It may as long as the permit is held.
    pub(crate) async fn admit(&self) -> [Option<SemaphorePermit<'_>>; 2] {
        let at_once = self.at_once.acquire().await;
        let at_once = at_once.expect("it is never closed");
        let alone = match self.is_unreachable.load(Ordering::Relaxed) {
            true => Some(self.one_by_one.acquire().await.expect("it is never closed")),
            false => None,
        };
        if let Some(pace) = &self.pace {
            tokio::time::sleep_until(pace.reserve()).await;
        }
        [Some(at_once), alone]
    }

    /// Takes note of whether it answered.
    pub(crate) fn answered(&self, did: bool) {
        self.is_unreachable.store(!did, Ordering::Relaxed);
    }

    /// Whether it may be asked now to prove itself. Else how long that takes.
    pub(crate) fn admit_verification(&self) -> Result<(), Duration> {
        let mut verifications = self.verifications.lock().expect("no holder panics");
        let (since, left) = &mut *verifications;
        if since.elapsed() >= MINUTE {
            (*since, *left) = (Instant::now(), VERIFICATIONS);
        }
        *left = left.checked_sub(1).ok_or(MINUTE - since.elapsed())?;
        Ok(())
    }
}

impl Destination {
    fn was_verified_lately(&self) -> bool {
        let verifications = self.verifications.lock().expect("no holder panics");
        verifications.1 < VERIFICATIONS && verifications.0.elapsed() < MINUTE
    }
}

impl Pace {
    /// When the next may go.
    fn reserve(&self) -> Instant {
        let now = Instant::now();
        let mut next = self.next.lock().expect("no holder panics");
        let second_ago = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        *next = (*next).max(second_ago) + self.interval;
        (*next).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(concurrency: usize, per_second: u32) -> DestinationLimits {
        DestinationLimits {
            concurrency,
            per_second,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_has_no_more_than_its_rate() {
        let destination = Destination::new(limits(1_000, 10));
        let start = Instant::now();
        for _ in 0..40 {
            destination.admit().await;
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(3), "{took:?}");
        assert!(took <= Duration::from_secs(5), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_is_asked_one_thing_at_a_time() {
        let destination = Destination::new(limits(3, 0));
        let soon = Duration::from_millis(1);
        let first = destination.admit().await;
        let _second = destination.admit().await;
        destination.answered(false);
        let third = destination.admit().await;
        assert!(
            tokio::time::timeout(soon, destination.admit())
                .await
                .is_err()
        );
        drop(first);
        assert!(
            tokio::time::timeout(soon, destination.admit())
                .await
                .is_err()
        );
        drop(third);
        destination.answered(true);
        assert!(
            tokio::time::timeout(soon, destination.admit())
                .await
                .is_ok()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn verifications_are_bounded_by_the_minute() {
        let destination = Destination::new(limits(1, 0));
        for _ in 0..VERIFICATIONS {
            assert_eq!(destination.admit_verification(), Ok(()));
        }
        assert!(destination.admit_verification().is_err());
        tokio::time::advance(MINUTE).await;
        assert_eq!(destination.admit_verification(), Ok(()));
    }

    #[test]
    fn a_place_is_one_for_all_who_deliver_there() {
        let destinations = Destinations::new(limits(1, 0));
        let one = destinations.get("https://a.example");
        assert!(Arc::ptr_eq(&one, &destinations.get("https://a.example")));
        assert!(!Arc::ptr_eq(&one, &destinations.get("https://b.example")));
    }
}
