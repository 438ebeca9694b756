use std::sync::Arc;
use std::time::{Instant, SystemTime};

use notification_event::{ClientId, Cursor, Draft, Event, EventId, Filter, Timestamp};
use notification_log::{Bounds, EventLog, LogError, Retention};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::Connections;
use crate::fan_out::FanOut;
use crate::health::Health;
use crate::keeper::Keeper;
use crate::publisher::Publisher;
use crate::shared::Shared;
use crate::{EventPage, Metrics, PageRequest, PublishError, Start, Subscription, page};

/// How a hub works.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The most events of the log's newest part that are kept in memory.
    pub tail_events: usize,
    /// The most bytes of them.
    pub tail_bytes: usize,
    /// What the log keeps.
    pub retention: Retention,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            tail_events: 8_192,
            tail_bytes: 8 << 20,
            retention: Retention::default(),
        }
    }
}

/// The handle to the heart of the server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// The answer to publishing one event: it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What it is called from now on.
    pub event_id: EventId,
    /// When it was published.
    pub timestamp: Timestamp,
    /// Where it stands in the log.
    pub cursor: Cursor,
    /// How many open streams it was for.
    pub subscribers: usize,
}

/// Which stream is wanted.
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    /// Which events.
    pub filter: Filter,
    /// Who asks: events for an audience reach only the clients in it.
    pub client: Option<ClientId>,
    /// From where on.
    pub start: Start,
}

impl Hub {
    /// Begins to serve what `log` holds. Needs a tokio runtime.
    pub fn new(log: Arc<dyn EventLog>, config: HubConfig) -> Self {
        let metrics = Metrics::default();
        let health = Arc::<Health>::default();
        let connections = Arc::new(Connections::new(metrics.clone()));
        let closing = CancellationToken::new();
        let tasks = TaskTracker::new();
        let fan_out = Arc::new(FanOut::new(log.bounds().head, &config));
        let (publisher, worker) = Publisher::new(
            log.clone(),
            fan_out.clone(),
            health.clone(),
            metrics.clone(),
            closing.clone(),
        );
        tasks.spawn(worker);
        let keeper = Keeper {
            log: log.clone(),
            retention: config.retention,
            connections: connections.clone(),
            health: health.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn(keeper.run(closing.clone()));
        let shared = Shared {
            epoch: log.bounds().epoch,
            log,
            fan_out,
            connections,
            metrics,
            publisher,
            health,
            closing,
            tasks,
            started: Instant::now(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Publishes events, all or none of them. When this returns they are
    /// committed, and on their way to every open stream that wants them.
    pub async fn publish(&self, drafts: Vec<Draft>) -> Result<Vec<Published>, PublishError> {
        let now = Timestamp::from(SystemTime::now());
        let events = drafts
            .into_iter()
            .map(|draft| Event::new(draft, now).encode());
        self.shared.publisher.publish(events.collect()).await
    }

    /// Publishes one event.
    pub async fn publish_one(&self, draft: Draft) -> Result<Published, PublishError> {
        let mut published = self.publish(vec![draft]).await?;
        Ok(published.pop().expect("one answer for one event"))
    }

    /// Opens a stream.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, LogError> {
        let Subscribe {
            filter,
            client,
            start,
        } = subscribe;
        let shared = self.shared.clone();
        let place = start.find(&*shared.log).await?;
        let membership = shared.fan_out.join(filter.normalized(), client.as_ref());
        Ok(Subscription::new(shared, membership, client, place))
    }

    /// Reads a part of the log. Looks at a bounded number of events, so with a
    /// filter that little matches a page may have few events, or none, and
    /// still have more after it.
    pub async fn page(&self, request: PageRequest) -> Result<EventPage, LogError> {
        page::read(&self.shared, request).await
    }

    /// How many streams are open.
    pub fn connections(&self) -> usize {
        self.shared.connections.count()
    }

    /// How many events were published since the server started.
    pub fn events_published(&self) -> u64 {
        self.shared.metrics.published_in_all()
    }

    /// How long the server has been running.
    pub fn uptime(&self) -> std::time::Duration {
        self.shared.started.elapsed()
    }

    /// What the log holds.
    pub fn log_bounds(&self) -> Bounds {
        self.shared.log.bounds()
    }

    /// What the hub counts, up to date.
    pub fn metrics(&self) -> &Metrics {
        let metrics = &self.shared.metrics;
        let bounds = self.shared.log.bounds();
        metrics.log_events.set(bounds.events().cast_signed());
        metrics.log_bytes.set(bounds.bytes.cast_signed());
        metrics
    }

    /// Whether events can be published right now, or why not.
    pub fn ready(&self) -> Result<(), PublishError> {
        self.shared.publisher.ready()?;
        match self.shared.health.failure(Instant::now()) {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Stops: takes no more events, hands out those it has taken, and then
    /// tells every stream that there will be nothing more. Returns when that
    /// is done; the streams may still be writing. The log stays open.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.fan_out.close();
    }

    /// Lets go of the log. Streams that still read end.
    pub async fn close_log(&self) -> Result<(), LogError> {
        self.shared.log.close().await
    }
}
