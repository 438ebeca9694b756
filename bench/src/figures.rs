use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What one run of one row came to, in the order in which it is shown.
pub(crate) type Figures = Vec<Figure>;

/// One number, with what it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

pub(crate) fn figure(name: &'static str, value: f64) -> Figure {
    Figure { name, value }
}

/// One figure over several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) name: &'static str,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// As they came.
    pub(crate) runs: Vec<f64>,
}

impl Spread {
    /// # Panics
    ///
    /// If there are no values.
    pub(crate) fn new(name: &'static str, runs: Vec<f64>) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        };
        let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
        Self {
            name,
            median,
            min,
            max,
            runs,
        }
    }

    /// Puts together what several runs of one row came to.
    pub(crate) fn of(runs: &[Figures]) -> Vec<Self> {
        let first = runs.first().map_or(&[][..], Vec::as_slice);
        let all = |index: usize| runs.iter().map(|run| run[index].value).collect();
        let spreads = first.iter().enumerate();
        spreads
            .map(|(index, figure)| Self::new(figure.name, all(index)))
            .collect()
    }
}

/// Many latencies in little memory: to the microsecond, and three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    microseconds: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            microseconds: Histogram::new(3).expect("three digits are allowed"),
        }
    }
}

impl Latencies {
    pub(crate) fn note(&mut self, latency: Duration) {
        self.microseconds += u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    }

    pub(crate) fn count(&self) -> u64 {
        self.microseconds.len()
    }

    /// The latency that this share of them did not exceed, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        self.microseconds.value_at_quantile(share) as f64 / 1_000.0
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.microseconds.max() as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let check = |runs: &[f64], median: f64, min: f64, max: f64| {
            let spread = Spread::new("x", runs.to_vec());
            assert_eq!((spread.median, spread.min, spread.max), (median, min, max));
            assert_eq!(spread.runs, runs);
        };
        check(&[7.0], 7.0, 7.0, 7.0);
        check(&[3.0, 1.0], 2.0, 1.0, 3.0);
        check(&[9.0, 1.0, 4.0], 4.0, 1.0, 9.0);
        check(&[4.0, 1.0, 9.0, 5.0], 4.5, 1.0, 9.0);
    }

    #[test]
    fn runs_are_put_together_by_figure() {
        let runs = [
            vec![figure("a", 1.0), figure("b", 5.0)],
            vec![figure("a", 3.0), figure("b", 5.0)],
        ];
        let spreads = Spread::of(&runs);
        assert_eq!(
            spreads,
            [
                Spread::new("a", vec![1.0, 3.0]),
                Spread::new("b", vec![5.0, 5.0])
            ]
        );
        assert_eq!(Spread::of(&[]), []);
    }

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
    }
}
