use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hdrhistogram::Histogram;
use notification_event::Timestamp;
use serde::Serialize;

/// How long one sample is.
pub const SAMPLE: Duration = Duration::from_secs(10);

/// How many are kept: an hour's.
pub const SAMPLES: usize = 360;

/// Longer ones count as this, in microseconds.
const LONGEST: u64 = 60_000_000;

/// What went on in ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// When they were over.
    pub timestamp: Timestamp,
    /// Events committed to the log.
    pub published: u64,
    /// Events handed to a stream, once for each stream.
    pub delivered: u64,
    /// Events that retention removed.
    pub removed: u64,
    /// Streams open at the end.
    pub connections: u64,
    /// From publishing to handed out, in milliseconds: the median, if anything was published.
    pub publish_p50_ms: Option<f64>,
    /// Likewise, what 99 of 100 did not exceed.
    pub publish_p99_ms: Option<f64>,
    /// Events in the log at the end.
    pub log_events: u64,
    /// Bytes of the log at the end.
    pub log_bytes: u64,
}

/// What went on lately, for people: a sample every ten seconds, for an hour.
/// Monitoring that keeps more asks for the metrics.
#[derive(Debug)]
pub(crate) struct Activity {
    // Std mutexes, held for a copy or to count one; never across an await.
    latencies: Mutex<Histogram<u64>>,
    samples: Mutex<Samples>,
}

#[derive(Debug, Default)]
struct Samples {
    all: VecDeque<Sample>,
    /// What there was in all when the last one was taken.
    before: Totals,
}

impl Default for Activity {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(LONGEST, 2).expect("bounds that make sense");
        Self {
            latencies: Mutex::new(latencies),
            samples: Mutex::default(),
        }
    }
}

impl Activity {
    /// Something was published, which took so long.
    pub(crate) fn published(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST);
        self.latencies().saturating_record(micros);
    }

    /// Ends a sample.
    pub(crate) fn sample(&self, totals: Totals, now: Now) {
        let (p50, p99) = self.take_latencies();
        let mut samples = self.samples.lock().expect("no holder panics");
        let before = std::mem::replace(&mut samples.before, totals);
        if samples.all.len() == SAMPLES {
            samples.all.pop_front();
        }
        samples.all.push_back(Sample {
            timestamp: now.timestamp,
            published: totals.published - before.published,
            delivered: totals.delivered - before.delivered,
            removed: totals.removed - before.removed,
            connections: now.connections,
            publish_p50_ms: p50,
            publish_p99_ms: p99,
            log_events: now.log_events,
            log_bytes: now.log_bytes,
        });
    }

    /// The oldest first.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let samples = self.samples.lock().expect("no holder panics");
        samples.all.iter().copied().collect()
    }

    fn take_latencies(&self) -> (Option<f64>, Option<f64>) {
        let mut latencies = self.latencies();
        if latencies.is_empty() {
            return (None, None);
        }
        let milliseconds = |q| Some(latencies.value_at_quantile(q) as f64 / 1_000.0);
        let taken = (milliseconds(0.5), milliseconds(0.99));
        latencies.reset();
        taken
    }

    fn latencies(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.latencies.lock().expect("no holder panics")
    }
}

/// What there was since the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) removed: u64,
}

/// How things are when a sample ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) timestamp: Timestamp,
    pub(crate) connections: u64,
    pub(crate) log_events: u64,
    pub(crate) log_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(published: u64, delivered: u64) -> Totals {
        Totals {
            published,
            delivered,
            removed: published / 2,
        }
    }

    fn now(second: i64) -> Now {
        Now {
            timestamp: Timestamp::from_millis(second * 1_000),
            connections: 2,
            log_events: 5,
            log_bytes: 100,
        }
    }

    #[test]
    fn a_sample_has_what_went_on_since_the_one_before() {
        let activity = Activity::default();
        for millis in 1..=100 {
            activity.published(Duration::from_millis(millis));
        }
        activity.sample(totals(100, 300), now(10));
        activity.sample(totals(101, 300), now(20));
        let [first, second] = activity.samples()[..] else {
            panic!("two samples");
        };
        assert_eq!(
            (first.published, first.delivered, first.removed),
            (100, 300, 50)
        );
        let (p50, p99) = (first.publish_p50_ms.unwrap(), first.publish_p99_ms.unwrap());
        assert!(
            (49.0..52.0).contains(&p50) && (98.0..101.0).contains(&p99),
            "{p50} {p99}"
        );
        assert_eq!((second.published, second.delivered), (1, 0));
        assert_eq!((second.publish_p50_ms, second.publish_p99_ms), (None, None));
    }

    #[test]
    fn an_hour_is_kept() {
        let activity = Activity::default();
        for second in 0..SAMPLES as i64 + 5 {
            activity.sample(totals(0, 0), now(second));
        }
        let samples = activity.samples();
        assert_eq!(samples.len(), SAMPLES);
        assert_eq!(samples[0].timestamp, Timestamp::from_millis(5_000));
    }

    #[test]
    fn what_took_very_long_counts_as_long() {
        let activity = Activity::default();
        activity.published(Duration::from_secs(1 << 40));
        activity.sample(totals(1, 0), now(10));
        assert!(activity.samples()[0].publish_p50_ms.unwrap() >= 60_000.0);
    }
}
