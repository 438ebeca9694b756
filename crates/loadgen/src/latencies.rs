use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is told apart from longer ones, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// Many latencies in little memory, none of it allocated while they are noted:
/// to the microsecond, and three digits.
#[derive(Clone, Debug)]
pub struct Latencies {
    microseconds: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            microseconds: Histogram::new_with_max(LONGEST, 3).expect("these bounds are allowed"),
        }
    }
}

impl Latencies {
    /// Notes one.
    pub fn note(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST);
        self.microseconds.saturating_record(micros);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.microseconds.len()
    }

    /// How many were no longer than `bound`.
    pub fn within(&self, bound: Duration) -> u64 {
        let micros = u64::try_from(bound.as_micros()).unwrap_or(LONGEST);
        self.microseconds.count_between(0, micros.min(LONGEST))
    }

    /// The latency that this share of them did not exceed, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.microseconds.value_at_quantile(share) as f64 / 1_000.0
    }

    /// The longest, in milliseconds.
    pub fn max_ms(&self) -> f64 {
        self.microseconds.max() as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_latencies() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.quantile_ms(0.5), latencies.max_ms()), (0.0, 0.0));
        (1..=1_000).for_each(|ms| latencies.note(Duration::from_millis(ms)));
        assert_eq!(latencies.count(), 1_000);
        let check = |found: f64, expected: f64| {
            assert!(
                (found / expected - 1.0).abs() < 0.002,
                "{found} is not {expected}"
            );
        };
        check(latencies.quantile_ms(0.5), 500.0);
        check(latencies.quantile_ms(0.99), 990.0);
        check(latencies.quantile_ms(1.0), 1_000.0);
        check(latencies.max_ms(), 1_000.0);
        check(latencies.within(Duration::from_millis(250)) as f64, 250.0);
        check(
            latencies.within(Duration::from_secs(1 << 40)) as f64,
            1_000.0,
        );
    }

    #[test]
    fn nothing_is_too_long_to_be_counted() {
        let mut latencies = Latencies::default();
        latencies.note(Duration::MAX);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.max_ms() >= 3_600_000.0);
    }
}
