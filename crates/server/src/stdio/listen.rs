use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::sleep;

use super::bridge::Bridge;
use super::failure::Failure;
use super::relay::{get, is_stream};
use crate::event_stream::Events;

/// How long to wait before the stream is opened again: at first, and at most.
/// What was published meanwhile comes then, from the log.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What came of a stream.
enum Heard {
    /// It was open, and ended; the server wants its client back after so long.
    Ended(Option<Duration>),
    /// The server has none.
    None,
}

impl Bridge {
    /// Puts out what the server says of its own accord, for as long as there is a
    /// session. Goes on where it was when a stream or a session ends.
    pub(super) async fn listen(self: Arc<Self>) {
        let mut place = None;
        let mut wait = FIRST_WAIT;
        let mut said = None;
        loop {
            match self.hear(&mut place).await {
                Ok(Heard::None) => return,
                Ok(Heard::Ended(retry)) => {
                    wait = retry.unwrap_or(FIRST_WAIT);
                    said = None;
                }
                Err(failure) => {
                    // Once, not at every attempt.
                    if said.as_ref() != Some(&failure) {
                        tracing::warn!(%failure, "no stream of notifications; trying again");
                        said = Some(failure);
                    }
                    wait = (wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
                }
            }
            tokio::select! {
                () = sleep(wait.min(LONGEST_WAIT)) => {}
                // A request has found the server again.
                () = self.renewed.notified() => {}
            }
        }
    }

    /// Follows one stream to its end, and keeps the place.
    async fn hear(&self, place: &mut Option<String>) -> Result<Heard, Failure> {
        let Some(mut session) = self.session().await else {
            return Ok(Heard::None);
        };
        let mut response = self.server.send(get(&session, place.as_deref())).await?;
        if response.status() == StatusCode::NOT_FOUND {
            session = self.renew(&session).await?;
            response = self.server.send(get(&session, place.as_deref())).await?;
        }
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Ok(Heard::None);
        }
        if !is_stream(&response) {
            let (name, status) = (self.server.name(), response.status());
            return Err(Failure::no_answer(format!("{name} answered {status}")));
        }
        let mut events = Events::of(response.into_body());
        loop {
            let message = events.next().await;
            if let Ok(Some(data)) = &message {
                self.output.send(self.line(data.clone())?).await;
            }
            // Of what has been put out, or need not be.
            if let Some(id) = events.last_id() {
                *place = Some(id.to_owned());
            }
            match message {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Heard::Ended(events.retry())),
                Err(error) => {
                    tracing::debug!(%error, "the stream of notifications broke");
                    return Ok(Heard::Ended(events.retry()));
                }
            }
        }
    }
}
