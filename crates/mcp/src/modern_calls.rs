use http::request::Parts;
use http::{Response, StatusCode};
use tokio_util::task::TaskTracker;

use crate::body::Body;
use crate::handler::{self, Handler, MODERN_METHODS, MODERN_VERSIONS};
use crate::listen::Listening;
use crate::message::Message;
use crate::metadata;
use crate::refusal::Refusal;
use crate::stateless::{Stateless, accepted};
use crate::stream::{self, Accepted, STREAM, is_stream};

/// Requests of revision 2026-07-28: each says all that is to be known of it, and
/// has an answer of its own, in JSON or as a stream of what is to be said before
/// the answer. Cheap to clone.
///
/// As in [`PlainCalls`](crate::plain_calls::PlainCalls), what `rmcp` would not
/// read as it is meant is answered here.
#[derive(Clone)]
pub(crate) struct ModernCalls {
    stateless: Stateless,
    listening: Listening,
}

impl ModernCalls {
    /// Requests that end in `handler`, each counted in `running` until its answer
    /// is made, or has begun if it is a stream.
    pub(crate) fn new(handler: &Handler, running: TaskTracker, listening: Listening) -> Self {
        Self {
            stateless: Stateless::new(handler.modern(), running),
            listening,
        }
    }

    /// A request is cancelled when the client hangs up (revision 2026-07-28,
    /// Streamable HTTP, "Cancellation").
    pub(crate) async fn answer(
        &self,
        parts: Parts,
        mut message: Message,
    ) -> Result<Response<Body>, Refusal> {
        let Some(id) = message.id.clone() else {
            return Ok(accepted());
        };
        metadata::agree(&parts.headers, &message, &MODERN_VERSIONS)?;
        let method = message.method.as_str();
        if !MODERN_METHODS.contains(&method) {
            let unknown = Refusal::unknown_method(method, &MODERN_METHODS);
            return Err(unknown.with_status(StatusCode::NOT_FOUND));
        }
        metadata::complete(&message)?;
        if let Some(misfit) = handler::misfit(method, &message.params) {
            return Err(Refusal::invalid_params(misfit));
        }
        let accepted = Accepted::of(&parts.headers);
        if method == "subscriptions/listen" {
            return match accepted.stream {
                true => self.listening.open(&parts, &message).await,
                false => Err(not_acceptable(STREAM)),
            };
        }
        if !accepted.stream {
            message.forget_progress();
        }
        let answer = self.stateless.clone().answer(parts, message);
        match accepted {
            Accepted { stream: true, json } => stream::before_it_is_late(answer, json, id).await,
            Accepted { json: true, .. } => match answer.await? {
                response if is_stream(response.headers()) => Err(not_acceptable(STREAM)),
                response => Ok(response),
            },
            _ => Err(not_acceptable(
                "application/json, text/event-stream or both",
            )),
        }
    }
}

fn not_acceptable(needed: &str) -> Refusal {
    let message = format!("Accept must have {needed}");
    Refusal::http(StatusCode::NOT_ACCEPTABLE, message)
}
