use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notification_event::Timestamp;
use notification_log::{EventLog, LogError, Retention};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Metrics;
use crate::connections::Connections;
use crate::health::Health;

/// How often the keeper looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many events one step of retention removes: few enough that publishers
/// do not notice it between their commits.
const STEP: u64 = 1_000;

/// Looks after the hub, once a second: removes what retention does not keep,
/// tries a log that has failed again, and finds the readers that do not read.
pub(crate) struct Keeper {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) retention: Retention,
    pub(crate) connections: Arc<Connections>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Metrics,
}

impl Keeper {
    pub(crate) async fn run(self, closing: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pruning = true;
        while closing.run_until_cancelled(ticks.tick()).await.is_some() {
            self.connections.look_for_slow_readers();
            if let Err(error) = self.log.check().await {
                self.health.failed(&error);
            }
            // Before the probe: what retention removes is room for what comes.
            // Its own failure says nothing about publishing.
            match self.prune(&closing).await {
                Ok(()) => pruning = true,
                Err(error) if std::mem::replace(&mut pruning, false) => {
                    tracing::warn!(%error, "retention cannot remove events for the moment");
                }
                Err(_) => {}
            }
            self.probe_if_failed().await;
        }
    }

    async fn prune(&self, closing: &CancellationToken) -> Result<(), LogError> {
        while !closing.is_cancelled() {
            let now = Timestamp::from(SystemTime::now());
            let pruned = self.log.prune(&self.retention, now, STEP).await?;
            if pruned == 0 {
                break;
            }
            self.metrics.pruned.inc_by(pruned);
            tracing::debug!(pruned, "retention removed events");
        }
        Ok(())
    }

    /// Only writing as much as what failed shows that the log takes it again:
    /// a disk that is full may still have room for less.
    async fn probe_if_failed(&self) {
        if self.health.failure(Instant::now()).is_some() {
            match self.log.probe(self.health.failed_bytes()).await {
                Ok(()) => self.health.recovered(),
                Err(error) => self.health.failed(&error),
            }
        }
    }
}
