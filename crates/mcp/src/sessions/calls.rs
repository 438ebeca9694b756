use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use notification_event::Cursor;
use notification_hub::StreamOrder;
use rmcp::model::{
    ClientJsonRpcMessage, GetExtensions, InitializeRequestParams, ProtocolVersion,
    ServerJsonRpcMessage,
};
use rmcp::service::serve_directly_with_ct;
use rmcp::transport::OneshotTransport;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::level::Level;
use super::registry::{Sessions, TooMany};
use super::reply::Place;
use super::session::{Call, Session};
use crate::Body;
use crate::body::boxed;
use crate::denied::DeniedSlot;
use crate::endpoint::Answer;
use crate::event_methods::{self, Answered, EventMethods};
use crate::handler::{self, Handler, METHODS, SUPPORTED_VERSIONS};
use crate::lane::SESSION;
use crate::message::Message;
use crate::metadata::VERSION;
use crate::plain_calls::PlainCalls;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::stateless::accepted;
use crate::watches::Watches;

/// What is answered within this time is answered in JSON, and with the status
/// that it deserves. What takes longer is a stream.
const AT_ONCE: Duration = Duration::from_millis(50);

/// What a session can be asked for beside what every call can.
const SESSION_METHODS: [&str; 3] = [
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
];

/// Answers the requests of sessions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SessionCalls {
    sessions: Arc<Sessions>,
    handler: Handler,
    plain: PlainCalls,
    running: TaskTracker,
    watches: Arc<Watches>,
    events: EventMethods,
}

impl SessionCalls {
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        handler: Handler,
        plain: PlainCalls,
        running: TaskTracker,
        watches: Arc<Watches>,
        events: EventMethods,
    ) -> Self {
        Self {
            sessions,
            handler,
            plain,
            running,
            watches,
            events,
        }
    }

    /// Answers `initialize` of a client that takes what a session needs, and
    /// begins one. Without one the client would hear of nothing.
    pub(crate) async fn begin(
        &self,
        parts: Parts,
        message: Message,
    ) -> Result<Response<Body>, Refusal> {
        let caller = Refusal::unless_known(&parts)?;
        let params = InitializeRequestParams::deserialize(&message.params);
        let response = self.plain.answer(parts, message).await?;
        let (mut head, body) = response.into_parts();
        let body = body.collect().await;
        let body = body.map_err(|e| internal(&e.to_string()))?.to_bytes();
        let mut answer: Value =
            serde_json::from_slice(&body).map_err(|e| internal(&e.to_string()))?;
        let (Ok(mut peer), Some(result)) = (params, answer.get_mut("result")) else {
            return Ok(Response::from_parts(head, boxed(Full::new(body))));
        };
        // Only a session has messages that could be more or less severe.
        result["capabilities"]["logging"] = json!({});
        // And only it can tell what has changed.
        result["capabilities"]["resources"] = json!({ "subscribe": true, "listChanged": true });
        event_methods::advertise(&mut result["capabilities"]);
        let agreed = ProtocolVersion::deserialize(&result["protocolVersion"]);
        peer.protocol_version = agreed.map_err(|e| internal(&e.to_string()))?;
        let bounds = caller.hub().log_bounds();
        let head_of_log = Cursor {
            epoch: bounds.epoch,
            position: bounds.head,
        };
        let principal = caller.principal();
        let session = Session::new(&caller, peer, head_of_log, &self.watches);
        let begun = self.sessions.begin(session, principal);
        let id = begun.map_err(|TooMany { limit, max }| {
            tracing::warn!(principal = %principal.name, limit, max, "session refused: there are too many");
            Refusal::too_many_sessions(limit, max)
        })?;
        let id = HeaderValue::from_str(&id.to_string()).expect("of hexadecimal digits");
        head.headers.insert(SESSION, id);
        head.headers.remove(header::CONTENT_LENGTH);
        let body = Full::new(Bytes::from(answer.to_string()));
        Ok(Response::from_parts(head, boxed(body)))
    }

    /// Answers a message of a session.
    pub(crate) async fn answer(&self, parts: Parts, message: Message) -> Result<Answer, Refusal> {
        let session = self.session(&parts)?;
        let Some(id) = message.id.clone() else {
            session.notified(&message);
            return Ok(accepted().into());
        };
        if event_methods::METHODS.contains(&message.method.as_str()) {
            let caller = Refusal::unless_known(&parts)?;
            let answered = self.events.answer(&caller, &message).await;
            return Ok(match answered.map_err(Refusal::error)? {
                Answered::Result(answer) => result(&id, &answer).into(),
                Answered::Stream(order) => Answer::Stream {
                    id,
                    parts: Box::new(parts),
                    order,
                },
            });
        }
        let answer = self.answer_call(session, parts, message, &id).await;
        answer.map(Answer::from)
    }

    async fn answer_call(
        &self,
        session: Arc<Session>,
        parts: Parts,
        message: Message,
        id: &Value,
    ) -> Result<Response<Body>, Refusal> {
        match message.method.as_str() {
            "initialize" => Err(Refusal::invalid_request(
                "this session has begun; leave Mcp-Session-Id away to begin another",
            )),
            "logging/setLevel" => {
                session.set_level(level(&message.params)?);
                Ok(result(id, &json!({})))
            }
            "resources/subscribe" => {
                let uri = uri(&message)?;
                let resource = Resource::to_watch(&Refusal::unless_known(&parts)?, uri);
                session.subscribe(resource.map_err(Refusal::error)?, uri)?;
                Ok(result(id, &json!({})))
            }
            "resources/unsubscribe" => {
                let uri = uri(&message)?;
                // Also of what may not be read any more; of what never was there, nothing.
                if let Some(resource) = Resource::parse(uri) {
                    session.unsubscribe(resource, uri);
                }
                Ok(result(id, &json!({})))
            }
            "tools/call" => self.call(session, parts, message, id).await,
            method if METHODS.contains(&method) => self.plain.answer(parts, message).await,
            method => {
                let events = &event_methods::METHODS[..];
                let known = [&METHODS[..], &SESSION_METHODS, events].concat();
                Err(Refusal::unknown_method(method, &known))
            }
        }
    }

    /// What a GET asks for.
    pub(crate) fn stream(&self, parts: &Parts) -> Result<Stream, Refusal> {
        let session = self.session(parts)?;
        let last = parts.headers.get("last-event-id");
        let place = last
            .and_then(|last| last.to_str().ok())
            .and_then(Place::parse);
        let Some(place) = place else {
            return Ok(Stream::Events(session.stream()));
        };
        let Some(reply) = session.reply(place.number) else {
            return Err(Refusal::invalid_request(
                "Last-Event-ID: the answer to that call is not kept any more",
            ));
        };
        Ok(Stream::Reply(event_stream(reply.resume(place))))
    }

    /// Ends a session.
    pub(crate) fn end(&self, parts: &Parts) -> Result<Response<Body>, Refusal> {
        let principal = Refusal::unless_known(parts)?.principal().name.clone();
        match self.sessions.end(session_id(&parts.headers), &principal) {
            true => {
                let mut response = Response::new(Body::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            false => Err(Refusal::unknown_session()),
        }
    }

    fn session(&self, parts: &Parts) -> Result<Arc<Session>, Refusal> {
        let caller = Refusal::unless_known(parts)?;
        let id = session_id(&parts.headers);
        let session = self.sessions.get(id, &caller.principal().name);
        let session = session.ok_or_else(Refusal::unknown_session)?;
        check_version(&parts.headers)?;
        session.used(&caller);
        Ok(session)
    }

    /// Calls a tool. It goes on if its client hangs up, and comes back for the rest.
    async fn call(
        &self,
        session: Arc<Session>,
        mut parts: Parts,
        message: Message,
        id: &Value,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(misfit) = handler::misfit(&message.method, &message.params) {
            return Err(Refusal::invalid_params(misfit));
        }
        let takes_empty_data = session.wording.takes_empty_data();
        let caller = Refusal::unless_known(&parts)?;
        let denied = DeniedSlot::default();
        parts.extensions.insert(denied.clone());
        let call = session.begin_call(id)?;
        let reply = call.reply.clone();
        self.run(call, session.peer.clone(), request(&message, parts)?);
        if let Some(response) = reply.at_once(AT_ONCE).await {
            session.forget(&reply);
            return match denied.challenge(&caller) {
                Some(denied) => Err(Refusal::denied(denied)),
                None => Ok(json_response(response)),
            };
        }
        Ok(event_stream(reply.stream(takes_empty_data)))
    }

    /// Has `rmcp` make the reply, whether anybody reads it or not.
    fn run(&self, call: Call, peer: InitializeRequestParams, request: ClientJsonRpcMessage) {
        let (transport, mut messages) = OneshotTransport::new(request);
        // One of its own, which rmcp cancels when it is done.
        let stop = call.stop.child_token();
        let service = serve_directly_with_ct(self.handler.clone(), transport, Some(peer), stop);
        let replying = async move {
            while let Some(message) = messages.recv().await {
                let is_response = matches!(
                    message,
                    ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_)
                );
                // To what was cancelled nobody expects a response (revision
                // 2025-11-25, Utilities, "Cancellation").
                if is_response && call.stop.is_cancelled() {
                    break;
                }
                let json = serde_json::to_vec(&message).expect("messages are JSON");
                call.reply.say(json.into());
                if is_response {
                    break;
                }
            }
        };
        self.running.spawn(async move {
            // Fails if it was told to end, and then there is no response.
            let _ = tokio::join!(service.waiting(), replying);
        });
    }
}

/// What a GET in a session is answered with.
pub(crate) enum Stream {
    /// The events since then.
    Events(StreamOrder),
    /// The rest of a reply.
    Reply(Response<Body>),
}

/// Whether an answer may be a stream, as a session's have to.
pub(crate) fn takes_streams(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    let ranges = accept.filter_map(|value| value.to_str().ok());
    let mut types = ranges.flat_map(|value| value.split(','));
    types.any(|range| {
        let essence = range.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/event-stream")
    })
}

fn session_id(headers: &HeaderMap) -> &str {
    let id = headers.get(SESSION).and_then(|id| id.to_str().ok());
    id.unwrap_or_default()
}

/// Revision 2025-06-18, Transports, "Protocol Version Header".
fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(version) = headers.get(VERSION) else {
        return Ok(());
    };
    let mut supported = SUPPORTED_VERSIONS.iter().map(ProtocolVersion::as_str);
    match supported.any(|known| known.as_bytes() == version.as_bytes()) {
        true => Ok(()),
        false => {
            let version = String::from_utf8_lossy(version.as_bytes());
            Err(Refusal::unsupported_version(&version, &SUPPORTED_VERSIONS))
        }
    }
}

fn uri(message: &Message) -> Result<&str, Refusal> {
    let uri = message.params.get("uri").and_then(Value::as_str);
    uri.ok_or_else(|| {
        let method = &message.method;
        Refusal::invalid_params(format!(
            "invalid params for {method}: uri: expected a string"
        ))
    })
}

fn level(params: &Value) -> Result<Level, Refusal> {
    Level::deserialize(&params["level"]).map_err(|_| {
        Refusal::invalid_params(
            "level: expected debug, info, notice, warning, error, critical, alert or emergency",
        )
    })
}

/// A request as `rmcp` takes it, with what came along with it.
fn request(message: &Message, parts: Parts) -> Result<ClientJsonRpcMessage, Refusal> {
    let request = serde_json::from_slice(&message.to_json());
    let mut request: ClientJsonRpcMessage = request.map_err(|e| internal(&e.to_string()))?;
    if let ClientJsonRpcMessage::Request(request) = &mut request {
        request.request.extensions_mut().insert(parts);
    }
    Ok(request)
}

fn result(id: &Value, result: &Value) -> Response<Body> {
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
    json_response(answer.to_string().into())
}

fn json_response(json: Bytes) -> Response<Body> {
    answer("application/json", boxed(Full::new(json)))
}

fn event_stream(body: Body) -> Response<Body> {
    const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
    let mut response = answer("text/event-stream", body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

fn answer(media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let media_type = HeaderValue::from_static(media_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}

fn internal(error: &str) -> Refusal {
    Refusal::http(StatusCode::INTERNAL_SERVER_ERROR, error)
}
