use std::io;

use crate::http::BadAnswer;
use crate::target::PATIENCE;

/// A load that could not be put on the server.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection could be made.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// A connection ended with an error, or was silent for [`PATIENCE`].
    #[error("a connection broke")]
    Broken(#[source] io::Error),
    /// The server closed a connection that it should have kept.
    #[error("the server closed a connection")]
    Closed,
    /// The server sent something else than what it was asked for.
    #[error(transparent)]
    Answer(#[from] BadAnswer),
    /// Streams did not open.
    #[error("{open} of {streams} streams opened, and then none for {PATIENCE:?}")]
    NotOpen {
        /// How many did.
        open: usize,
        /// How many should have.
        streams: usize,
    },
    /// The server took so long to answer that nothing could be measured.
    #[error("only {0} messages could be published")]
    TooSlow(u64),
    /// Readiness could not be waited for.
    #[error("cannot wait for sockets")]
    Wait(#[source] io::Error),
}
