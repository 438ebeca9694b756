use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::task::TaskTracker;

use crate::body::{Body, boxed};
use crate::denied::DeniedSlot;
use crate::handler::Handler;
use crate::message::{Message, is_json};
use crate::refusal::Refusal;
use crate::stream::is_stream;

/// What `rmcp` insists on finding in `Accept`.
const BOTH_TYPES: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// What `rmcp` finds in `Host` if the client sent none; who may be the host
/// was settled before.
const SOME_HOST: HeaderValue = HeaderValue::from_static("localhost");

/// Requests that `rmcp` answers one by one, without a session. Cheap to clone.
///
/// It has no store of events either: with one, a request whose client hangs up
/// would go on.
#[derive(Clone)]
pub(crate) struct Stateless {
    rmcp: StreamableHttpService<Handler, NeverSessionManager>,
    running: TaskTracker,
}

impl Stateless {
    /// Requests that end in `handler`, each counted in `running` until its answer
    /// is made, or has begun if it is a stream.
    pub(crate) fn new(handler: Handler, running: TaskTracker) -> Self {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            // Streams have comments of our own, also before `rmcp` has a stream.
            .with_sse_keep_alive(None)
            .with_max_request_body_bytes(Message::MAX_BODY)
            .disable_allowed_hosts()
            .disable_allowed_origins();
        let sessions = Arc::new(NeverSessionManager::default());
        Self {
            rmcp: StreamableHttpService::new(move || Ok(handler.clone()), sessions, config),
            running,
        }
    }

    /// What `rmcp` answers: JSON, or a stream if something was said before the answer.
    /// If this is dropped, the request is cancelled.
    pub(crate) async fn answer(
        self,
        mut parts: Parts,
        message: Message,
    ) -> Result<Response<Body>, Refusal> {
        let caller = Refusal::unless_known(&parts)?;
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
        match is_json(response.headers()) || is_stream(response.headers()) {
            true => Ok(response),
            false => Err(put_into_json(response).await),
        }
    }
}

/// The answer to a notification: it was taken, and there is nothing to say.
pub(crate) fn accepted() -> Response<Body> {
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
