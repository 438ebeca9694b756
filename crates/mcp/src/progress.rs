use std::sync::Mutex;
use std::time::Duration;

use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};

/// How long a tool waits for a client that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a tool says how far a call is: `notifications/progress`, on the stream
/// that the answer will end (revisions 2025-03-26 to 2026-07-28, "Progress").
///
/// Who sent no `progressToken` does not want to hear it; saying it does nothing
/// then. A lane whose answers are no streams takes the token away.
#[derive(Debug)]
pub(crate) struct Progress(Option<Listener>);

#[derive(Debug)]
struct Listener {
    peer: Peer<RoleServer>,
    token: ProgressToken,
    /// The newest that was said; none if nothing more is to be said.
    said: Mutex<Option<u64>>,
}

impl Progress {
    /// Whoever made the request hears of it, if they asked for it.
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Self {
        let token = context.meta.get_progress_token();
        Self(token.map(|token| Listener {
            peer: context.peer.clone(),
            token,
            said: Mutex::new(Some(0)),
        }))
    }

    /// Says that `done` of `total` is done. It has to increase, so what is no
    /// more than was said before is left out.
    ///
    /// Returns when it is on its way. A client that does not read is waited for
    /// once, and hears no more: its call goes on.
    pub(crate) async fn report(&self, done: u64, total: u64, message: String) {
        let Some(listener) = &self.0 else { return };
        if !listener.begin(done) {
            return;
        }
        let step = ProgressNotificationParam::new(listener.token.clone(), done as f64)
            .with_total(total as f64)
            .with_message(message);
        let said = listener.peer.notify_progress(step);
        if !matches!(tokio::time::timeout(PATIENCE, said).await, Ok(Ok(()))) {
            *listener.said.lock().expect("no holder panics") = None;
        }
    }
}

impl Listener {
    /// Whether `done` is to be said.
    fn begin(&self, done: u64) -> bool {
        let mut said = self.said.lock().expect("no holder panics");
        let is_more = said.is_some_and(|said| done > said);
        if is_more {
            *said = Some(done);
        }
        is_more
    }
}
