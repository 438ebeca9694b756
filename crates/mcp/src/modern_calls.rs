use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::body::{Body, boxed};
use crate::endpoint::Answer;
use crate::event_methods::{self, Answered, EventMethods};
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
    events: EventMethods,
}

impl ModernCalls {
    /// Requests that end in `handler`, each counted in `running` until its answer
    /// is made, or has begun if it is a stream.
    pub(crate) fn new(
        handler: &Handler,
        running: TaskTracker,
        listening: Listening,
        events: EventMethods,
    ) -> Self {
        Self {
            stateless: Stateless::new(handler.modern(), running),
            listening,
            events,
        }
    }

    /// A request is cancelled when the client hangs up (revision 2026-07-28,
    /// Streamable HTTP, "Cancellation").
    pub(crate) async fn answer(
        &self,
        parts: Parts,
        mut message: Message,
    ) -> Result<Answer, Refusal> {
        let Some(id) = message.id.clone() else {
            return Ok(accepted().into());
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
                true => self
                    .listening
                    .open(&parts, &message)
                    .await
                    .map(Answer::from),
                false => Err(not_acceptable(STREAM)),
            };
        }
        if event_methods::METHODS.contains(&method) {
            return self.answer_of_events(parts, &message, &id, accepted).await;
        }
        let is_discovery = method == "server/discover";
        if !accepted.stream {
            message.forget_progress();
        }
        let answer = self.stateless.clone().answer(parts, message);
        let answer = async move {
            match is_discovery {
                true => with_events(answer.await?).await,
                false => answer.await,
            }
        };
        let answer = match accepted {
            Accepted { stream: true, json } => stream::before_it_is_late(answer, json, id).await,
            Accepted { json: true, .. } => match answer.await? {
                response if is_stream(response.headers()) => Err(not_acceptable(STREAM)),
                response => Ok(response),
            },
            _ => Err(not_acceptable(
                "application/json, text/event-stream or both",
            )),
        };
        answer.map(Answer::from)
    }

    async fn answer_of_events(
        &self,
        parts: Parts,
        message: &Message,
        id: &Value,
        accepted: Accepted,
    ) -> Result<Answer, Refusal> {
        let caller = Refusal::unless_known(&parts)?;
        if message.method == "events/stream" && !accepted.stream {
            return Err(not_acceptable(STREAM));
        }
        let answered = self.events.answer(&caller, message).await;
        match answered.map_err(Refusal::error)? {
            Answered::Result(mut result) => {
                result["resultType"] = "complete".into();
                result["_meta"] = json!({ "io.modelcontextprotocol/serverInfo": self.events.identity().to_json() });
                let response = stream::one_message(id, &result, accepted);
                Ok(response.into())
            }
            Answered::Stream(order) => Ok(Answer::Stream {
                id: id.clone(),
                parts: Box::new(parts),
                order,
            }),
        }
    }
}

/// What the server says of itself, with what `rmcp` does not know.
async fn with_events(response: Response<Body>) -> Result<Response<Body>, Refusal> {
    let (mut head, body) = response.into_parts();
    let broken = |error: String| Refusal::http(StatusCode::INTERNAL_SERVER_ERROR, error);
    let body = body
        .collect()
        .await
        .map_err(|e| broken(e.to_string()))?
        .to_bytes();
    let mut answer: Value = serde_json::from_slice(&body).map_err(|e| broken(e.to_string()))?;
    if let Some(capabilities) = answer.pointer_mut("/result/capabilities") {
        event_methods::advertise(capabilities);
    }
    head.headers.remove(header::CONTENT_LENGTH);
    let body = Full::new(Bytes::from(answer.to_string()));
    Ok(Response::from_parts(head, boxed(body)))
}

fn not_acceptable(needed: &str) -> Refusal {
    let message = format!("Accept must have {needed}");
    Refusal::http(StatusCode::NOT_ACCEPTABLE, message)
}
