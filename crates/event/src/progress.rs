use std::str::FromStr;

use serde_json::{Number, Value, json};

use crate::fields::{Fields, integer, number, text};
use crate::schema::{self, described, one_of, reference};
use crate::{Invalid, ParseError, TaskId, TaskPhase, Timestamp};

/// How far a long-running job is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Which job, the same in all its events.
    pub task_id: TaskId,
    /// What people call it; 1 to 256 characters.
    pub task_name: String,
    /// Percent, 0 to 100, if it is known.
    pub progress: Option<f64>,
    /// Steps done, at most `total_steps`.
    pub step: Option<u64>,
    /// Steps in all, if that is known.
    pub total_steps: Option<u64>,
    /// 1 to 4096 characters.
    pub message: String,
    /// Whether it goes on.
    pub state: TaskState,
    /// When the task was first reported; the server's own to say.
    pub started_at: Option<Timestamp>,
}

impl Progress {
    /// The longest task name, in characters.
    pub const MAX_TASK_NAME: usize = 256;
    /// The longest message, in characters.
    pub const MAX_MESSAGE: usize = 4_096;
    /// The most steps.
    pub const MAX_STEPS: u64 = 1_000_000_000;

    /// Step `step` of `total_steps` is done, the last of which ends the task.
    pub fn step(task_id: TaskId, task_name: String, step: u64, total_steps: u64) -> Self {
        Self::from_parts(task_id, task_name, None, Some(step), Some(total_steps))
    }

    /// Percent, message and state as they follow from what is known.
    pub(crate) fn from_parts(
        task_id: TaskId,
        task_name: String,
        progress: Option<f64>,
        step: Option<u64>,
        total_steps: Option<u64>,
    ) -> Self {
        let steps = step.zip(total_steps);
        let progress = progress.or(steps.map(|(step, total)| percent(step, total)));
        let is_complete = match steps {
            Some((step, total)) => step == total,
            None => progress == Some(100.0),
        };
        Self {
            task_id,
            task_name,
            progress,
            step,
            total_steps,
            message: match (step, total_steps) {
                (Some(step), Some(total)) => format!("Completed step {step} of {total}"),
                (Some(step), None) => format!("Completed step {step}"),
                (None, _) => progress.map_or("Running".to_owned(), |p| format!("{p} %")),
            },
            state: match is_complete {
                true => TaskState::Completed,
                false => TaskState::Running,
            },
            started_at: None,
        }
    }

    /// The JSON Schemas of its fields, as publishers write them.
    pub(crate) fn properties() -> Value {
        let named = json!({
            "task_id": reference("TaskId"),
            "task_name": schema::text(1, Self::MAX_TASK_NAME),
        });
        schema::and(named, Parts::properties())
    }

    pub(crate) fn take(fields: &mut Fields) -> Option<Self> {
        let task_id = fields.required("task_id", Fields::parsed);
        let task_name = fields.required("task_name", text(1..=Self::MAX_TASK_NAME));
        let parts = Parts::take(fields);
        Some(parts.complete(task_id?, task_name?))
    }

    /// Where in the life of its task it stands.
    pub fn phase(&self) -> TaskPhase {
        let is_last_step = self.step.is_some() && self.step == self.total_steps;
        match self.state.is_end() {
            true => TaskPhase::Ended,
            false if is_last_step => TaskPhase::LastStep,
            false => TaskPhase::Underway,
        }
    }
}

/// What a report says of how far a task is: the fields that both progress
/// events and reports have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Parts {
    pub(crate) progress: Option<f64>,
    pub(crate) step: Option<u64>,
    pub(crate) total_steps: Option<u64>,
    pub(crate) message: Option<String>,
    pub(crate) state: Option<TaskState>,
}

impl Parts {
    /// The JSON Schemas of its fields.
    pub(crate) fn properties() -> Value {
        json!({
            "progress": {"description": "Percent", "type": "number", "minimum": 0, "maximum": 100},
            "step": described(schema::integer(0, Progress::MAX_STEPS), "At most total_steps"),
            "total_steps": schema::integer(1, Progress::MAX_STEPS),
            "message": schema::text(1, Progress::MAX_MESSAGE),
            "state": one_of(&TaskState::REPORTED.map(TaskState::as_str)),
        })
    }

    pub(crate) fn take(fields: &mut Fields) -> Self {
        let parts = Self {
            progress: fields.optional("progress", number(0.0..=100.0)),
            step: fields.optional("step", integer(0..=Progress::MAX_STEPS)),
            total_steps: fields.optional("total_steps", integer(1..=Progress::MAX_STEPS)),
            message: fields.optional("message", text(1..=Progress::MAX_MESSAGE)),
            state: fields.optional("state", reported_state),
        };
        if let Err(invalid) = parts.check() {
            fields.refuse(invalid);
        }
        parts
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        match (self.step, self.total_steps) {
            (Some(step), Some(total)) if step > total => {
                Err(Invalid::field("step", "an integer of at most total_steps"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn complete(self, task_id: TaskId, task_name: String) -> Progress {
        let Self {
            progress,
            step,
            total_steps,
            message,
            state,
        } = self;
        let known = Progress::from_parts(task_id, task_name, progress, step, total_steps);
        Progress {
            message: message.unwrap_or(known.message),
            state: state.unwrap_or(known.state),
            ..known
        }
    }
}

/// Percent as JSON has it: a whole number without a fraction, as in `10`, others as in `45.5`.
pub fn percent_json(percent: f64) -> Value {
    match percent.fract() == 0.0 {
        true => Value::from(percent as u64),
        false => Number::from_f64(percent).map_or(Value::Null, Value::Number),
    }
}

/// `step` of `total_steps` in percent, to a hundredth.
pub(crate) fn percent(step: u64, total_steps: u64) -> f64 {
    (step as f64 * 10_000.0 / total_steps as f64).round() / 100.0
}

/// Whether a task goes on, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It goes on.
    Running,
    /// It has not reported for so long that somebody should look. The server
    /// says this, not the task, and the next report makes it running again.
    Stalled,
    /// It did all it set out to do.
    Completed,
    /// It gave up.
    Failed,
    /// It was told to stop.
    Cancelled,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Stalled,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The states that a task can report.
    pub const REPORTED: [Self; 4] = [
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stalled => "stalled",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Its JSON Schema.
    pub fn schema() -> Value {
        one_of(&Self::ALL.map(Self::as_str))
    }

    /// Whether nothing follows it.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

fn reported_state(value: Value) -> Result<TaskState, Invalid> {
    Fields::parsed(value)
        .ok()
        .filter(|state| TaskState::REPORTED.contains(state))
        .ok_or_else(|| Invalid::value("running, completed, failed or cancelled"))
}

impl FromStr for TaskState {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let named = Self::ALL.into_iter().find(|s| s.as_str() == text);
        named.ok_or(ParseError {
            what: "task state",
            expected: "running, stalled, completed, failed or cancelled",
        })
    }
}
