use std::time::Duration;

/// What is kept. Each bound that is set holds; the default keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Events appended longer ago than this are removed.
    pub max_age: Option<Duration>,
    /// Events beyond this many are removed, oldest first.
    pub max_events: Option<u64>,
    /// Events are removed, oldest first, while their JSON takes more than this.
    pub max_bytes: Option<u64>,
}
