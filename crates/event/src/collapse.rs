use std::fmt;

use crate::{CollapseKey, TaskId};

/// That newer events of the same kind take an event's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collapse {
    /// A newer event with the same key replaces it as long as it has not been sent.
    Key(CollapseKey),
    /// A newer report of the same task replaces it for streams that are held to a rate.
    Task {
        /// Which task.
        task: TaskId,
        /// Whether it may be replaced at all.
        phase: TaskPhase,
    },
}

/// Where in the life of its task a progress event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskPhase {
    /// More is to come.
    Underway,
    /// All steps are done, and the end has not been reported. Never replaced.
    LastStep,
    /// The task has ended. Nothing follows that could replace it.
    Ended,
}

/// In one word, which no two kinds share: `key/cpu`, `task/import-7`.
impl fmt::Display for Collapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key/{key}"),
            Self::Task { task, .. } => write!(f, "task/{task}"),
        }
    }
}

impl TaskPhase {
    /// The word for it in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Underway => "underway",
            Self::LastStep => "last_step",
            Self::Ended => "ended",
        }
    }

    /// The phase of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Underway, Self::LastStep, Self::Ended];
        all.into_iter().find(|phase| phase.as_str() == word)
    }
}
