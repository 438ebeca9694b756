use std::str::FromStr;

use serde_json::{Number, Value};

use crate::fields::{Fields, integer, number, text};
use crate::{Invalid, ParseError, TaskId};

/// How far a long-running job is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Which job, the same in all its events.
    pub task_id: TaskId,
    /// What people call it; 1 to 256 characters.
    pub task_name: String,
    /// Percent, 0 to 100.
    pub progress: f64,
    /// Steps done, at most `total_steps`.
    pub step: u64,
    /// Steps in all.
    pub total_steps: u64,
    /// 1 to 4096 characters.
    pub message: String,
    /// Whether it goes on.
    pub state: TaskState,
}

impl Progress {
    /// The longest task name, in characters.
    pub const MAX_TASK_NAME: usize = 256;
    const MAX_MESSAGE: usize = 4_096;
    const MAX_STEPS: u64 = 1_000_000_000;

    /// Step `step` of `total_steps` is done, the last of which ends the task.
    pub fn step(task_id: TaskId, task_name: String, step: u64, total_steps: u64) -> Self {
        Self {
            task_id,
            task_name,
            progress: percent(step, total_steps),
            step,
            total_steps,
            message: format!("Completed step {step} of {total_steps}"),
            state: match step == total_steps {
                true => TaskState::Completed,
                false => TaskState::Running,
            },
        }
    }

    pub(crate) fn take(fields: &mut Fields) -> Option<Self> {
        let task_id = fields.required("task_id", Fields::parsed);
        let task_name = fields.required("task_name", text(1..=Self::MAX_TASK_NAME));
        let progress = fields.optional("progress", number(0.0..=100.0));
        let step = fields.required("step", integer(0..=Self::MAX_STEPS));
        let total_steps = fields.required("total_steps", integer(1..=Self::MAX_STEPS));
        let message = fields.optional("message", text(1..=Self::MAX_MESSAGE));
        let state = fields.optional("state", Fields::parsed);
        let (step, total_steps) = (step?, total_steps?);
        if step > total_steps {
            fields.refuse(Invalid::field("step", "an integer of at most total_steps"));
        }
        let at_step = Self::step(task_id?, task_name?, step, total_steps);
        Some(Self {
            progress: progress.unwrap_or(at_step.progress),
            message: message.unwrap_or(at_step.message),
            state: state.unwrap_or(at_step.state),
            ..at_step
        })
    }

    /// Percent as JSON has it: a whole number without a fraction, as in `10`, others as in `45.5`.
    pub(crate) fn percent_json(&self) -> Value {
        match self.progress.fract() == 0.0 {
            true => Value::from(self.progress as u64),
            false => Number::from_f64(self.progress).map_or(Value::Null, Value::Number),
        }
    }
}

/// `step` of `total_steps` in percent, to a hundredth.
fn percent(step: u64, total_steps: u64) -> f64 {
    (step as f64 * 10_000.0 / total_steps as f64).round() / 100.0
}

/// Whether a task goes on, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It goes on.
    Running,
    /// It did all it set out to do.
    Completed,
    /// It gave up.
    Failed,
    /// It was told to stop.
    Cancelled,
}

impl TaskState {
    const ALL: [Self; 4] = [
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for TaskState {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let named = Self::ALL.into_iter().find(|s| s.as_str() == text);
        named.ok_or(ParseError {
            what: "task state",
            expected: "running, completed, failed or cancelled",
        })
    }
}
