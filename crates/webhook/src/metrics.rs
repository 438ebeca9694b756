use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::Outcome;

/// What is counted of webhooks.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) webhooks: Gauge,
    pub(crate) suspended: Gauge,
    pub(crate) in_flight: Gauge,
    attempts: Family<OutcomeLabel, Counter>,
    pub(crate) attempt_seconds: Histogram,
    pub(crate) given_up: Counter,
    pub(crate) dead_letters_dropped: Counter,
    pub(crate) gaps: Counter,
    pub(crate) verifications: Family<OutcomeLabel, Counter>,
    pub(crate) ended: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    pub(crate) outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    pub(crate) reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            webhooks: Gauge::default(),
            suspended: Gauge::default(),
            in_flight: Gauge::default(),
            attempts: Family::default(),
            // 1 ms to 8 s.
            attempt_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            given_up: Counter::default(),
            dead_letters_dropped: Counter::default(),
            gaps: Counter::default(),
            verifications: Family::default(),
            ended: Family::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn attempt(&self, outcome: Outcome) {
        let outcome = outcome.as_str();
        self.attempts.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Adds all of them, described, to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("notification_webhook");
        registry.register("endpoints", "Webhooks there are", self.webhooks.clone());
        registry.register(
            "suspended",
            "Webhooks that are left alone because they failed",
            self.suspended.clone(),
        );
        registry.register(
            "in_flight",
            "Events that are being delivered, or wait to be sent again",
            self.in_flight.clone(),
        );
        registry.register("attempts", "Attempts to deliver", self.attempts.clone());
        registry.register_with_unit(
            "attempt",
            "Duration of one attempt",
            Unit::Seconds,
            self.attempt_seconds.clone(),
        );
        registry.register(
            "events_given_up",
            "Events that a webhook was not delivered, which are its dead letters",
            self.given_up.clone(),
        );
        registry.register(
            "dead_letters_dropped",
            "Dead letters that made room for newer ones",
            self.dead_letters_dropped.clone(),
        );
        registry.register(
            "gaps",
            "Times a webhook was told that events may be missing",
            self.gaps.clone(),
        );
        registry.register(
            "verifications",
            "Endpoints that were asked whether they want to be sent anything",
            self.verifications.clone(),
        );
        registry.register(
            "ended",
            "Webhooks that the server ended",
            self.ended.clone(),
        );
    }
}
