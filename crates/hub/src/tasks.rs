use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use notification_event::{
    ClientId, Collapse, Cursor, Draft, Event, EventId, Invalid, Position, Report, Task, TaskId,
    TaskState, Timestamp, Topic, percent_json,
};
use notification_log::{Entry, EventLog, LogError, PageLimit};
use serde::{Serialize, Serializer};

use crate::PublishError;
use crate::groups::Groups;

/// The most tasks that are known at once.
const MAX_TASKS: usize = 100_000;

/// The jobs that report their progress: the newest report of each.
///
/// All of it is in the log, as the newest state of each task; this is what the
/// publisher needs at hand to see that progress goes forward.
#[derive(Debug)]
pub(crate) struct Tasks {
    // A std mutex, held for lookups; never across an await.
    known: Mutex<HashMap<TaskId, TaskStatus>>,
}

/// A task, as its newest report left it.
///
/// JSON: the fields of its progress events, and `updated_at`, `cursor` and
/// `event_id` of the newest.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskStatus {
    /// What it reported.
    pub task: Task,
    /// The event of its newest report.
    pub event_id: EventId,
    /// Where that is in the log.
    pub cursor: Cursor,
    /// When that was.
    pub updated_at: Timestamp,
}

impl Tasks {
    /// Reads what the log knows of tasks.
    pub(crate) async fn load(
        log: &dyn EventLog,
        now: Timestamp,
        forget_after: Duration,
    ) -> Result<Self, LogError> {
        const STEP: PageLimit = PageLimit {
            events: 1_000,
            bytes: 1 << 20,
        };
        let bounds = log.bounds();
        let mut known = HashMap::new();
        let mut position = bounds.floor;
        loop {
            let page = log.read_newest(position, bounds.head, STEP).await?;
            let Some(last) = page.entries.last() else {
                break;
            };
            position = last.position;
            for entry in page.entries {
                let cursor = Cursor {
                    epoch: bounds.epoch,
                    position: entry.position,
                };
                let status = TaskStatus::read(entry, cursor)?;
                let status = status.filter(|s| !s.is_forgotten(now, forget_after));
                if let Some(status) = status
                    && known.len() < MAX_TASKS
                {
                    known.insert(status.id().clone(), status);
                }
            }
        }
        Ok(Self {
            known: Mutex::new(known),
        })
    }

    pub(crate) fn get(&self, id: &TaskId) -> Option<TaskStatus> {
        self.known().get(id).cloned()
    }

    /// At most `limit` of those that `wanted` accepts, the most recently updated
    /// first, and whether there are more.
    pub(crate) fn list(
        &self,
        limit: usize,
        wanted: impl Fn(&TaskStatus) -> bool,
    ) -> (Vec<TaskStatus>, bool) {
        let known = self.known();
        let mut tasks: Vec<_> = known.values().filter(|task| wanted(task)).collect();
        tasks.sort_unstable_by_key(|status| Reverse(status.cursor.position));
        let newest = tasks.iter().take(limit).map(|status| (*status).clone());
        (newest.collect(), tasks.len() > limit)
    }

    /// The topics of those that `wanted` accepts.
    pub(crate) fn topics(&self, wanted: impl Fn(&TaskStatus) -> bool) -> BTreeSet<Topic> {
        let known = self.known();
        let wanted = known.values().filter(|task| wanted(task));
        let topics: BTreeSet<_> = wanted.map(|status| &status.task.topic).collect();
        topics.into_iter().cloned().collect()
    }

    /// Notes in a progress event since when its task has been under way.
    pub(crate) fn date(&self, event: Event) -> Event {
        let Some(task) = Task::of(&event.draft) else {
            return event;
        };
        let known = self.known();
        let before = known.get(&task.progress.task_id);
        let before = before.filter(|known| !known.task.progress.state.is_end());
        let started_at = before.and_then(|known| known.task.progress.started_at);
        let started_at = started_at.unwrap_or(event.timestamp);
        event.started_at(started_at)
    }

    /// The event that a report makes.
    pub(crate) fn draft(&self, id: TaskId, report: Report) -> Result<Draft, PublishError> {
        let known = self.known();
        let before = known.get(&id).map(|known| &known.task);
        let refused = |invalid| match before {
            // Right by itself, but not after what was reported before.
            Some(_) => PublishError::Conflict { index: 0, invalid },
            None => PublishError::Invalid { index: 0, invalid },
        };
        report.draft(id, before).map_err(refused)
    }

    /// Whether a task may report this, after `pending` reports that are about
    /// to be committed, and what is then known of it.
    pub(crate) fn check(
        &self,
        next: Task,
        pending: &HashMap<TaskId, Task>,
    ) -> Result<Task, Invalid> {
        let known = self.known();
        let id = &next.progress.task_id;
        let before = pending
            .get(id)
            .or_else(|| known.get(id).map(|known| &known.task));
        match before {
            Some(before) => {
                before.check(&next)?;
                Ok(before.followed_by(next))
            }
            None if known.len() + pending.len() < MAX_TASKS => Ok(next),
            None => Err(Invalid::field(
                "task_id",
                format!("a task that is known already: there are {MAX_TASKS}, which is the most"),
            )),
        }
    }

    /// Takes note of a report that was committed.
    pub(crate) fn reported(&self, status: TaskStatus) {
        self.known().insert(status.id().clone(), status);
    }

    /// The tasks that have not reported since `since`, and go on as far as is known.
    pub(crate) fn silent_since(&self, since: Timestamp) -> Vec<Task> {
        let known = self.known();
        let silent = known
            .values()
            .filter(|t| t.task.progress.state == TaskState::Running && t.updated_at <= since);
        silent.map(|status| status.task.clone()).collect()
    }

    /// Forgets the tasks that do not go on and have not reported for so long.
    pub(crate) fn forget(&self, now: Timestamp, after: Duration) {
        self.known()
            .retain(|_, status| !status.is_forgotten(now, after));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TaskId, TaskStatus>> {
        self.known.lock().expect("no holder panics")
    }
}

impl TaskStatus {
    fn read(entry: Entry, cursor: Cursor) -> Result<Option<Self>, LogError> {
        let Entry { event, .. } = entry;
        let head = event.head;
        if !matches!(head.collapse, Some(Collapse::Task { .. })) {
            return Ok(None);
        }
        let task = Task::from_json(&event.json, head.topic, head.audience);
        let task = task.ok_or_else(|| {
            LogError::Damaged(format!("the progress event {} cannot be read", head.id))
        })?;
        Ok(Some(Self {
            task,
            event_id: head.id,
            cursor,
            updated_at: head.timestamp,
        }))
    }

    /// What identifies it.
    pub fn id(&self) -> &TaskId {
        &self.task.progress.task_id
    }

    /// Whether a subscriber that is `client`, or nobody in particular, may know of it.
    pub(crate) fn is_for(&self, client: Option<&ClientId>, groups: &Groups) -> bool {
        let Some(audience) = &self.task.audience else {
            return true;
        };
        let position: Position = self.cursor.position;
        client.is_some_and(|client| groups.includes(audience, client, position))
    }

    fn is_forgotten(&self, now: Timestamp, after: Duration) -> bool {
        let goes_on = self.task.progress.state == TaskState::Running;
        !goes_on && self.updated_at <= now.before(after)
    }
}

impl Serialize for TaskStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            task_id: &'a TaskId,
            task_name: &'a str,
            state: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            progress: Option<serde_json::Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            step: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            total_steps: Option<u64>,
            message: &'a str,
            topic: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            started_at: Option<Timestamp>,
            updated_at: Timestamp,
            cursor: Cursor,
            event_id: &'a EventId,
        }
        let progress = &self.task.progress;
        Wire {
            task_id: &progress.task_id,
            task_name: &progress.task_name,
            state: progress.state.as_str(),
            progress: progress.progress.map(percent_json),
            step: progress.step,
            total_steps: progress.total_steps,
            message: &progress.message,
            topic: self.task.topic.as_str(),
            started_at: progress.started_at,
            updated_at: self.updated_at,
            cursor: self.cursor,
            event_id: &self.event_id,
        }
        .serialize(serializer)
    }
}
