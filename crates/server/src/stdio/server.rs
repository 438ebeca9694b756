use bytes::Bytes;
use hyper::{Request, Response};
use notification_mcp::Body;

use super::failure::Failure;
use super::own::Own;
use super::remote::Remote;

/// Who answers.
pub(super) enum Server {
    /// A server in this process.
    Own(Box<Own>),
    /// One that runs.
    Remote(Box<Remote>),
}

impl Server {
    /// Asks its endpoint; what comes back has not been read. Dropping that is
    /// hanging up.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, Failure> {
        match self {
            Self::Own(own) => Ok(own.send(request).await),
            Self::Remote(remote) => remote.send(request).await,
        }
    }

    /// What it is called when something is wrong with it, without secrets.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Own(_) => "the server in this process",
            Self::Remote(remote) => remote.name(),
        }
    }

    /// Stops, if it is ours to stop.
    pub(super) async fn stop(&self) {
        if let Self::Own(own) = self {
            own.stop().await;
        }
    }
}
