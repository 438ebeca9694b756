use std::time::Duration;

use notification_event::ParseError;
use tokio::time::Instant;

/// How many events a stream gets in a second, at most.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// Events in a second, from 0.01 to 1000000.
    pub fn per_second(events: f64) -> Option<Self> {
        (0.01..=1_000_000.0)
            .contains(&events)
            .then_some(Self(events))
    }

    /// Events in a second.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The lower of two, where none is no bound.
    pub(crate) fn lower(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if other < one { other } else { one }),
            (one, other) => one.or(other),
        }
    }
}

impl std::str::FromStr for Rate {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let rate = text.parse().ok().and_then(Self::per_second);
        rate.ok_or(ParseError {
            what: "rate",
            expected: "events per second, a number from 0.01 to 1000000",
        })
    }
}

/// Holds one stream to its rate: a token bucket that holds one second's worth,
/// and at least one.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(Rate(rate): Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: rate.max(1.0),
            at: now,
        }
    }

    /// How many events may go out now.
    pub(crate) fn available(&mut self, now: Instant) -> usize {
        let elapsed = now.saturating_duration_since(self.at);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.rate).min(self.rate.max(1.0));
        self.at = now;
        // Waiting until the next is due may end a rounding error before it is.
        (self.tokens + 1e-6) as usize
    }

    /// Takes note that so many have gone out.
    pub(crate) fn take(&mut self, events: usize) {
        self.tokens -= events as f64;
    }

    /// When the next event may go out, if none may now.
    pub(crate) fn next(&self) -> Instant {
        self.at + Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_its_rate_through() {
        let start = Instant::now();
        for rate in [0.5, 1.0, 3.0, 100.0] {
            let mut bucket = Bucket::new(Rate::per_second(rate).unwrap(), start);
            let (mut now, mut sent) = (start, 0);
            while now < start + Duration::from_secs(100) {
                match bucket.available(now) {
                    0 => now = bucket.next(),
                    some => {
                        bucket.take(some);
                        sent += some;
                    }
                }
            }
            let expected = (rate * 100.0 + rate.max(1.0)) as usize;
            assert!((expected - 1..=expected).contains(&sent), "{rate}: {sent}");
        }
    }

    #[test]
    fn rates_are_parsed_at_the_door() {
        assert_eq!("2.5".parse(), Ok(Rate(2.5)));
        for wrong in ["", "0", "-1", "NaN", "inf", "1e9", "fast"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong:?}");
        }
    }
}
