use notification_event::EventType;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// What the hub counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) mcp_sessions: Gauge,
    pub(crate) mcp_subscriptions: Gauge,
    pub(crate) published: Family<TypeLabel, Counter>,
    pub(crate) publish_failures: Counter,
    pub(crate) delivered: Counter,
    pub(crate) conflated: Family<ConflationLabel, Counter>,
    pub(crate) expired: Counter,
    pub(crate) paused: Counter,
    pub(crate) receipts: Family<ReceiptLabel, Counter>,
    pub(crate) durable_clients: Gauge,
    pub(crate) refused: Family<ReasonLabel, Counter>,
    pub(crate) ended: Family<ReasonLabel, Counter>,
    pub(crate) tasks_stalled: Counter,
    pub(crate) gaps: Family<ReasonLabel, Counter>,
    pub(crate) slow_readers: Gauge,
    pub(crate) slow_readers_seen: Counter,
    pub(crate) publish_seconds: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_events: Histogram,
    pub(crate) pruned: Counter,
    pub(crate) log_events: Gauge,
    pub(crate) log_bytes: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct TypeLabel {
    r#type: &'static str,
}

impl From<EventType> for TypeLabel {
    fn from(event_type: EventType) -> Self {
        Self {
            r#type: event_type.as_str(),
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    pub(crate) reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ReceiptLabel {
    /// `delivered` or `acknowledged`.
    pub(crate) kind: &'static str,
}

/// Why a newer event took an older one's place: it has the same collapse key, or
/// the stream is held to a rate.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ConflationLabel {
    pub(crate) reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        // 50 µs to 1.6 s.
        let seconds = || Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        Self {
            connections: Gauge::default(),
            mcp_sessions: Gauge::default(),
            mcp_subscriptions: Gauge::default(),
            published: Family::default(),
            publish_failures: Counter::default(),
            delivered: Counter::default(),
            conflated: Family::default(),
            expired: Counter::default(),
            paused: Counter::default(),
            receipts: Family::default(),
            durable_clients: Gauge::default(),
            refused: Family::default(),
            ended: Family::default(),
            tasks_stalled: Counter::default(),
            gaps: Family::default(),
            slow_readers: Gauge::default(),
            slow_readers_seen: Counter::default(),
            publish_seconds: seconds(),
            commit_seconds: seconds(),
            commit_events: Histogram::new(exponential_buckets(1.0, 4.0, 7)),
            pruned: Counter::default(),
            log_events: Gauge::default(),
            log_bytes: Gauge::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn published_in_all(&self) -> u64 {
        let of_type = |t: EventType| self.published.get_or_create(&t.into()).get();
        EventType::ALL.into_iter().map(of_type).sum()
    }

    /// So many MCP clients have a session.
    pub fn set_mcp_sessions(&self, open: usize) {
        self.mcp_sessions
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// So many MCP clients without one listen to what changes.
    pub fn set_mcp_subscriptions(&self, open: usize) {
        self.mcp_subscriptions
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Adds all of them, described, to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("notification");
        registry.register("connections", "Open streams", self.connections.clone());
        registry.register(
            "mcp_sessions",
            "Sessions of MCP clients",
            self.mcp_sessions.clone(),
        );
        registry.register(
            "mcp_subscriptions",
            "Open streams of subscriptions/listen of MCP clients",
            self.mcp_subscriptions.clone(),
        );
        registry.register(
            "events_published",
            "Events committed to the log",
            self.published.clone(),
        );
        registry.register(
            "publish_failures",
            "Events that the log did not take",
            self.publish_failures.clone(),
        );
        registry.register(
            "events_delivered",
            "Events handed to a stream, once for each stream",
            self.delivered.clone(),
        );
        registry.register(
            "events_conflated",
            "Events not handed to a stream because newer ones took their place, once for each stream",
            self.conflated.clone(),
        );
        registry.register(
            "events_expired",
            "Events not handed to a stream because they had expired, once for each stream",
            self.expired.clone(),
        );
        registry.register(
            "streams_paused",
            "Times a stream had to wait until its client acknowledged something",
            self.paused.clone(),
        );
        registry.register(
            "receipts",
            "Deliveries and acknowledgements noted for events that ask for them",
            self.receipts.clone(),
        );
        registry.register(
            "durable_clients",
            "Clients whose place in the log is kept",
            self.durable_clients.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests that were refused because of who asked, or how often",
            self.refused.clone(),
        );
        registry.register(
            "streams_unauthorized",
            "Streams that were ended because their credential was no longer good",
            self.ended.clone(),
        );
        registry.register(
            "tasks_stalled",
            "Times a task had not reported for so long that it was said to be stalled",
            self.tasks_stalled.clone(),
        );
        registry.register(
            "gaps",
            "Times a stream was told that events may be missing",
            self.gaps.clone(),
        );
        registry.register(
            "slow_readers",
            "Streams that fell behind and are catching up from the log",
            self.slow_readers.clone(),
        );
        registry.register(
            "slow_readers_seen",
            "Times a stream fell behind",
            self.slow_readers_seen.clone(),
        );
        registry.register_with_unit(
            "publish",
            "From publishing to handed out",
            Unit::Seconds,
            self.publish_seconds.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Duration of one commit to the log",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register(
            "commit_events",
            "Events in one commit",
            self.commit_events.clone(),
        );
        registry.register(
            "events_pruned",
            "Events that retention removed from the log",
            self.pruned.clone(),
        );
        registry.register("log_events", "Events in the log", self.log_events.clone());
        registry.register_with_unit(
            "log",
            "JSON of the events in the log",
            Unit::Bytes,
            self.log_bytes.clone(),
        );
    }
}
