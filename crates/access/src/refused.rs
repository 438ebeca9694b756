use crate::{Denied, IssueError, Lapsed, Limited};

/// Why somebody who was let in does not get what he asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// He may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// He is no longer vouched for: what he asked took longer than his credential lasted.
    #[error(transparent)]
    Lapsed(#[from] Lapsed),
    /// It is more than he may.
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl From<IssueError> for Refused {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Denied(denied) => denied.into(),
            IssueError::Limited(limited) => limited.into(),
        }
    }
}
