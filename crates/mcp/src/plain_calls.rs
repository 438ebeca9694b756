use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use notification_hub::Caller;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::task::TaskTracker;

use crate::body::{Body, boxed};
use crate::denied::DeniedSlot;
use crate::handler::{self, Handler, METHODS};
use crate::message::{Message, is_json};
use crate::refusal::Refusal;

/// What `rmcp` insists on finding in `Accept`.
const BOTH_TYPES: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// What `rmcp` finds in `Host` if the client sent none; who may be the host
/// was settled before.
const SOME_HOST: HeaderValue = HeaderValue::from_static("localhost");

/// Stateless calls, as curl makes them: JSON in, JSON out, no session, and no
/// `initialize` needed. Cheap to clone.
///
/// What is not a request that `rmcp` would read as it is meant is answered
/// here: `rmcp` has plain text or no answer at all for many mistakes.
#[derive(Clone)]
pub(crate) struct PlainCalls {
    rmcp: StreamableHttpService<Handler, NeverSessionManager>,
    running: TaskTracker,
}

impl PlainCalls {
    /// Calls that end in `handler`, each counted in `running` until its answer is made.
    pub(crate) fn new(handler: Handler, running: TaskTracker) -> Self {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(Message::MAX_BODY)
            .disable_allowed_hosts()
            .disable_allowed_origins();
        let sessions = Arc::new(NeverSessionManager::default());
        Self {
            rmcp: StreamableHttpService::new(move || Ok(handler.clone()), sessions, config),
            running,
        }
    }

    pub(crate) async fn answer(
        &self,
        mut parts: Parts,
        message: Message,
    ) -> Result<Response<Body>, Refusal> {
        if message.id.is_none() {
            return Ok(accepted());
        }
        let method = message.method.as_str();
        if !METHODS.contains(&method) {
            return Err(Refusal::unknown_method(method, &METHODS));
        }
        if let Some(misfit) = handler::misfit(method, &message.params) {
            return Err(Refusal::invalid_params(misfit));
        }
        let Some(caller) = parts.extensions.get::<Caller>().cloned() else {
            let unknown = "authentication is required";
            return Err(Refusal::http(StatusCode::UNAUTHORIZED, unknown));
        };
        let denied = DeniedSlot::default();
        parts.extensions.insert(denied.clone());
        parts.headers.insert(header::ACCEPT, BOTH_TYPES);
        parts.headers.entry(header::HOST).or_insert(SOME_HOST);
        let request = Request::from_parts(parts, Full::new(message.to_json()));
        let answer = self.rmcp.handle(request);
        let response = self.running.track_future(answer).await.map(boxed);
        if let Some(denied) = denied.challenge(&caller) {
            return Err(Refusal::denied(denied));
        }
        match is_json(response.headers()) {
            true => Ok(response),
            false => Err(put_into_json(response).await),
        }
    }
}

/// The answer to a notification: it was taken, and there is nothing to say.
fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// What `rmcp` said in plain text.
async fn put_into_json(response: Response<Body>) -> Refusal {
    let status = match response.status() {
        // Its word for a message it cannot read; the media type was right.
        StatusCode::UNSUPPORTED_MEDIA_TYPE => StatusCode::BAD_REQUEST,
        status => status,
    };
    match response.into_body().collect().await {
        Ok(body) => Refusal::http(status, String::from_utf8_lossy(&body.to_bytes())),
        Err(error) => Refusal::http(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use notification_access::Principal;
    use notification_event::JsonObject;
    use notification_hub::{Hub, HubConfig};
    use notification_log::MemoryLog;
    use serde_json::{Value, json};

    use super::*;
    use crate::tool::{Tool, ToolError};
    use crate::toolbox::{Toolbox, schema};

    struct Panics;

    #[async_trait]
    impl Tool for Panics {
        fn descriptor(&self) -> rmcp::model::Tool {
            rmcp::model::Tool::new("panics", "Panics.", schema(json!({"type": "object"})))
        }

        async fn call(&self, _: &Caller, _: JsonObject) -> Result<Value, ToolError> {
            panic!("as announced")
        }
    }

    #[tokio::test]
    async fn a_tool_that_panics_is_answered_for() {
        let running = TaskTracker::new();
        let tools = Toolbox::new(running.clone()).with(Panics);
        let calls = PlainCalls::new(Handler::new(tools), running.clone());
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "panics"}
        });
        let message = Message::read(message.to_string().as_bytes()).unwrap();
        let request = Request::post("/mcp").header("content-type", "application/json");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let hub = Hub::open(Arc::new(MemoryLog::new()), HubConfig::default());
        let local = Arc::new(Principal::local());
        parts
            .extensions
            .insert(hub.await.unwrap().caller(local, None));
        let response = calls.answer(parts, message).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["error"]["code"], -32603);
        assert_eq!(answer["error"]["message"], "panics failed unexpectedly");
        assert!(running.is_empty());
    }
}
