use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use notification_access::{Limited, Principal, Refused};
use notification_event::{Report, TaskId, TaskState};
use notification_log::{Change, Record};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::PublishError;
use crate::shared::Shared;

/// What those tasks are called among the records that the server runs itself.
pub(crate) const OWN_TASK_RECORD: &str = "own_task";

/// The tasks that the server runs itself. That it does is stored with each, so
/// that those which a crash has ended are known for what they are.
#[derive(Debug, Default)]
pub(crate) struct OwnTasks {
    // A std mutex, held for lookups; never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<TaskId, Running>,
    /// How many of those each principal has.
    of: HashMap<Arc<str>, usize>,
    /// Do not run any more, and are still stored.
    over: HashSet<TaskId>,
}

#[derive(Debug)]
struct Running {
    cancelled: CancellationToken,
    of: Arc<str>,
}

/// How many may run at once. A principal has a tenth of them, where everybody
/// says who he is.
const MAX_RUNNING: usize = 10_000;

/// A task that the server runs, until it is dropped.
#[derive(Debug)]
pub struct OwnTask {
    id: TaskId,
    shared: Arc<Shared>,
    /// It is to end: somebody has [cancelled](crate::Caller::cancel_task) it.
    pub cancelled: CancellationToken,
}

impl OwnTasks {
    /// Those that were stored when the server ended.
    pub(crate) fn of(records: &[Record]) -> Self {
        let records = records.iter().filter(|r| r.kind == OWN_TASK_RECORD);
        let state = State {
            over: records.filter_map(|r| r.id.parse().ok()).collect(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Has one end. False if it is not one that runs.
    pub(crate) fn cancel(&self, id: &TaskId) -> bool {
        let state = self.state();
        let running = state.running.get(id);
        running.inspect(|task| task.cancelled.cancel()).is_some()
    }

    /// Takes note of one that runs from now on.
    fn begin(&self, id: &TaskId, of: &Principal) -> Result<CancellationToken, Limited> {
        let mut state = self.state();
        let own = state.of.get(&of.name).copied().unwrap_or_default();
        let limited = |limit: &str| Limited {
            limit: limit.to_owned(),
            retry_after: None,
            is_too_large: false,
        };
        if state.running.len() >= MAX_RUNNING {
            return Err(limited("total.own_tasks"));
        }
        if !of.is_local() && own >= MAX_RUNNING / 10 {
            return Err(limited("principal.own_tasks"));
        }
        let cancelled = CancellationToken::new();
        let running = Running {
            cancelled: cancelled.clone(),
            of: of.name.clone(),
        };
        state.of.insert(of.name.clone(), own + 1);
        state.running.insert(id.clone(), running);
        Ok(cancelled)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// The server runs a task itself from now on, for a principal; it has not reported yet.
pub(crate) async fn begin(
    shared: &Arc<Shared>,
    id: TaskId,
    of: &Principal,
) -> Result<OwnTask, PublishError> {
    let cancelled = shared.own_tasks.begin(&id, of).map_err(Refused::from)?;
    let task = OwnTask {
        id: id.clone(),
        shared: shared.clone(),
        cancelled,
    };
    let record = Record {
        kind: OWN_TASK_RECORD.to_owned(),
        id: id.as_str().to_owned(),
        json: json!({}).to_string(),
    };
    let save = vec![Change::SaveRecord(record)];
    shared.publish(Vec::new(), save).await?;
    Ok(task)
}

impl Drop for OwnTask {
    fn drop(&mut self) {
        let mut state = self.shared.own_tasks.state();
        if let Some(Running { of, .. }) = state.running.remove(&self.id)
            && let Some(own) = state.of.get_mut(&of)
        {
            *own -= 1;
            if *own == 0 {
                state.of.remove(&of);
            }
        }
        state.over.insert(self.id.clone());
    }
}

/// Forgets of tasks that do not run any more that they were the server's own.
/// Of those that have not said how they ended, it is said that they failed: the
/// server stopped while they ran, or the log did not take what they said.
pub(crate) async fn tidy(shared: &Shared) -> Result<(), PublishError> {
    let over = shared.own_tasks.state().over.clone();
    if over.is_empty() {
        return Ok(());
    }
    for id in &over {
        report_cut_off(shared, id).await?;
    }
    let remove = over.iter().map(|id| Change::RemoveRecord {
        kind: OWN_TASK_RECORD.to_owned(),
        id: id.as_str().to_owned(),
    });
    shared.publish(Vec::new(), remove.collect()).await?;
    let mut state = shared.own_tasks.state();
    state.over.retain(|id| !over.contains(id));
    Ok(())
}

async fn report_cut_off(shared: &Shared, id: &TaskId) -> Result<(), PublishError> {
    let known = shared.tasks.get(id);
    if known.is_none_or(|known| known.task.progress.state.is_end()) {
        return Ok(());
    }
    let report = json!({
        "state": TaskState::Failed.as_str(),
        "message": "Failed: the server was interrupted while it ran",
    });
    let report = Report::parse(report).expect("a report");
    let draft = shared.tasks.draft(id.clone(), report)?;
    shared.publish(vec![draft], Vec::new()).await?;
    tracing::warn!(task = %id, "a task that the server ran did not say how it ended");
    Ok(())
}
