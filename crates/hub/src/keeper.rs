use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notification_event::Timestamp;
use notification_log::{EventLog, LogError, Retention};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Metrics;
use crate::health::Health;

/// How often the keeper looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many events one step of retention removes: few enough that publishers
/// do not notice it between their commits.
const STEP: u64 = 1_000;

/// Looks after the log: removes what retention does not keep, and when the log
/// has failed, tries whether it works again.
pub(crate) async fn keep(
    log: Arc<dyn EventLog>,
    retention: Retention,
    health: Arc<Health>,
    metrics: Metrics,
    closing: CancellationToken,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while closing.run_until_cancelled(ticks.tick()).await.is_some() {
        if health.failure().is_some() {
            health.note(log.probe().await.as_ref().map(drop));
        }
        if health.failure().is_none() {
            let pruned = prune(&*log, &retention, &metrics, &closing).await;
            health.note(pruned.as_ref().map(drop));
        }
    }
}

async fn prune(
    log: &dyn EventLog,
    retention: &Retention,
    metrics: &Metrics,
    closing: &CancellationToken,
) -> Result<(), LogError> {
    while !closing.is_cancelled() {
        let now = Timestamp::from(SystemTime::now());
        let pruned = log.prune(retention, now, STEP).await?;
        if pruned == 0 {
            break;
        }
        metrics.pruned.inc_by(pruned);
        tracing::debug!(pruned, "retention removed events");
    }
    Ok(())
}
