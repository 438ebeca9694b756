use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notification_event::{Task, TaskId, Timestamp};
use notification_log::{Change, LogError};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::PublishError;
use crate::activity::SAMPLE;
use crate::caller::key_record;
use crate::own_tasks;
use crate::shared::Shared;

/// How often the keeper looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many events one step of retention removes: few enough that publishers
/// do not notice it between their commits.
const STEP: u64 = 1_000;

/// Looks after who is there, once a second, and takes a sample of what goes on every ten: finds the readers that do not read, the
/// clients that have left, and those whose credential is no longer good. Never
/// waits for the log, which may take long.
pub(crate) async fn watch(hub: Arc<Shared>, closing: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampled = tokio::time::Instant::now();
    while closing.run_until_cancelled(ticks.tick()).await.is_some() {
        if sampled.elapsed() >= SAMPLE {
            sampled += SAMPLE;
            hub.sample();
        }
        hub.connections.look_for_slow_readers();
        hub.presence.look_for_leavers(tokio::time::Instant::now());
        hub.look_for_lapsed(now());
        hub.audit.sum_up(Instant::now());
        hub.config.access.tidy(now());
    }
}

/// Looks after the log, once a second: removes what retention does not keep,
/// tries a log that has failed again, finds the tasks that have stalled, and
/// stores where durable clients are, which keys have changed and which of the
/// server's own tasks have ended.
pub(crate) async fn keep(hub: Arc<Shared>, closing: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pruning = Failing::default();
    let mut storing = Failing::default();
    while closing.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = hub.log.check().await {
            hub.health.failed(&error);
        }
        // Before the probe: what retention removes is room for what comes.
        // Its own failure says nothing about publishing.
        pruning.note(
            "retention cannot remove events",
            prune(&hub, &closing).await,
        );
        probe_if_failed(&hub).await;
        storing.note("records cannot be stored", keep_records(&hub).await);
    }
}

/// Whether something fails again and again, so that it is said once.
#[derive(Default)]
struct Failing(bool);

impl Failing {
    fn note(&mut self, what: &str, result: Result<(), impl std::fmt::Display>) {
        let failed_before = std::mem::replace(&mut self.0, result.is_err());
        if let Err(error) = result
            && !failed_before
        {
            tracing::warn!(%error, "{what} for the moment");
        }
    }
}

async fn prune(hub: &Shared, closing: &CancellationToken) -> Result<(), LogError> {
    let mut is_pruned = false;
    while !closing.is_cancelled() {
        let pruned = hub.log.prune(&hub.config.retention, now(), STEP).await?;
        if pruned == 0 {
            break;
        }
        is_pruned = true;
        hub.metrics.pruned.inc_by(pruned);
        tracing::debug!(pruned, "retention removed events");
    }
    if is_pruned {
        // Memory may still have what the log has not.
        let oldest = hub.log.bounds().floor.min(hub.fan_out.oldest());
        hub.groups.prune(oldest);
        for connection in hub.clients.prune(hub.log.bounds().floor) {
            hub.connections.wake(connection);
        }
    }
    Ok(())
}

/// Only writing as much as what failed shows that the log takes it again:
/// a disk that is full may still have room for less.
async fn probe_if_failed(hub: &Shared) {
    if hub.health.failure(Instant::now()).is_some() {
        match hub.log.probe(hub.health.failed_bytes()).await {
            Ok(()) => hub.health.recovered(),
            Err(error) => hub.health.failed(&error),
        }
    }
}

async fn keep_records(hub: &Arc<Shared>) -> Result<(), PublishError> {
    // One that waits for the log would wait with all else that this looks after.
    if hub.health.failure(Instant::now()).is_some() {
        return Ok(());
    }
    forget_clients(hub).await?;
    store_clients(hub).await?;
    store_keys(hub).await?;
    own_tasks::tidy(hub).await?;
    report_stalled_tasks(hub).await;
    hub.tasks.forget(now(), hub.config.task_forget_after);
    Ok(())
}

/// Stores what has changed of durable clients.
async fn store_clients(hub: &Shared) -> Result<(), PublishError> {
    /// How many are stored at once: few enough that publishers do not notice.
    const AT_ONCE: usize = 500;
    let _storing = hub.receipts.storing().await;
    let changes = hub.clients.take_changes();
    for (index, some) in changes.chunks(AT_ONCE).enumerate() {
        if let Err(error) = hub.publish(Vec::new(), some.to_vec()).await {
            hub.clients.give_back_changes(&changes[index * AT_ONCE..]);
            return Err(error);
        }
    }
    Ok(())
}

/// Stores when keys were used, and revocations that could not be stored at once.
async fn store_keys(hub: &Shared) -> Result<(), PublishError> {
    let _storing = hub.storing_keys.lock().await;
    let access = &hub.config.access;
    let unsaved = access.take_unsaved_keys();
    if unsaved.is_empty() {
        return Ok(());
    }
    let save = unsaved.iter().map(key_record).map(Change::SaveRecord);
    let stored = hub.publish(Vec::new(), save.collect()).await;
    match &stored {
        Ok(_) => {
            for key in unsaved.iter().filter(|key| key.revoked_at.is_some()) {
                tracing::info!(id = %key.id, "that the key is revoked is stored now");
            }
        }
        Err(_) => access.give_back_unsaved_keys(&unsaved),
    }
    stored.map(drop)
}

async fn forget_clients(hub: &Shared) -> Result<(), PublishError> {
    let since = now().before(hub.config.clients.forget_after);
    for client in hub.clients.unseen_since(since) {
        if hub.forget(&client, true).await?.is_some() {
            tracing::info!(%client, "durable client forgotten: it was not seen for long");
        }
    }
    Ok(())
}

async fn report_stalled_tasks(hub: &Arc<Shared>) {
    /// How many share a commit, about.
    const AT_ONCE: usize = 256;
    let since = now().before(hub.config.task_stalled_after);
    for tasks in hub.tasks.silent_since(since).chunks(AT_ONCE) {
        let mut reports = JoinSet::new();
        for task in tasks {
            reports.spawn(report_stalled_task(hub.clone(), task.clone()));
        }
        let stalled: Vec<_> = reports.join_all().await.into_iter().flatten().collect();
        if let Some(first) = stalled.first() {
            let tasks = stalled.len();
            tracing::warn!(tasks, %first, "tasks stalled: they have not reported for long");
            hub.metrics.tasks_stalled.inc_by(tasks as u64);
        }
    }
}

/// The task, if it is said to be stalled now.
async fn report_stalled_task(hub: Arc<Shared>, task: Task) -> Option<TaskId> {
    let id = task.progress.task_id.clone();
    // A report that came just now is in its way, and says that the task goes on.
    let reported = hub.publish(vec![task.stalled()], Vec::new()).await;
    reported.ok().map(|_| id)
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
