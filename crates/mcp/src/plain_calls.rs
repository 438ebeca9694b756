use http::request::Parts;
use http::{Response, StatusCode};
use tokio_util::task::TaskTracker;

use crate::body::Body;
use crate::handler::{self, Handler, METHODS};
use crate::message::Message;
use crate::refusal::Refusal;
use crate::stateless::{Stateless, accepted};

/// Stateless calls, as curl makes them: JSON in, JSON out, no session, and no
/// `initialize` needed. Cheap to clone.
///
/// What is not a request that `rmcp` would read as it is meant is answered
/// here: `rmcp` has plain text or no answer at all for many mistakes.
#[derive(Clone)]
pub(crate) struct PlainCalls {
    stateless: Stateless,
    running: TaskTracker,
}

impl PlainCalls {
    /// Calls that end in `handler`, each counted in `running` until its answer is made.
    pub(crate) fn new(handler: Handler, running: TaskTracker) -> Self {
        Self {
            stateless: Stateless::new(handler, running.clone()),
            running,
        }
    }

    /// A call goes on if the client hangs up: curl may not have waited for its end.
    pub(crate) async fn answer(
        &self,
        parts: Parts,
        mut message: Message,
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
        message.forget_progress();
        let answer = self.stateless.clone().answer(parts, message);
        let answer = self.running.spawn(answer).await;
        answer.unwrap_or_else(|error| {
            tracing::error!(%error, "a call died");
            let unexpected = "the call failed unexpectedly";
            Err(Refusal::http(StatusCode::INTERNAL_SERVER_ERROR, unexpected))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use http::Request;
    use http_body_util::BodyExt;
    use notification_access::Principal;
    use notification_event::JsonObject;
    use notification_hub::{Hub, HubConfig};
    use notification_log::MemoryLog;
    use serde_json::{Value, json};

    use super::*;
    use crate::tool::{Call, Tool, ToolError};
    use crate::toolbox::{Toolbox, schema};

    struct Panics;

    #[async_trait]
    impl Tool for Panics {
        fn descriptor(&self) -> rmcp::model::Tool {
            rmcp::model::Tool::new("panics", "Panics.", schema(json!({"type": "object"})))
        }

        async fn call(&self, _: &Call, _: JsonObject) -> Result<Value, ToolError> {
            panic!("as announced")
        }
    }

    #[tokio::test]
    async fn a_tool_that_panics_is_answered_for() {
        let running = TaskTracker::new();
        let tools = Toolbox::new(running.clone()).with(Panics);
        let calls = PlainCalls::new(
            Handler::new(tools, crate::Identity::default()),
            running.clone(),
        );
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
