use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use notification_hub::StreamOrder;
use serde_json::Value;
use tower_service::Service;

use crate::body::{Body, BoxError, boxed};
use crate::lane::{Lane, names_version};
use crate::message::Message;
use crate::modern_calls::ModernCalls;
use crate::plain_calls::PlainCalls;
use crate::refusal::Refusal;
use crate::sessions::{SessionCalls, Stream, takes_streams};

/// The service on `/mcp`, made by [`Mcp::endpoint`](crate::Mcp::endpoint).
///
/// Whatever the method, it answers: `GET` and `HEAD` without a session belong
/// to the plain stream `S`, which serves those of sessions, too; `POST` carries
/// one JSON-RPC message, and `DELETE` ends a session. Host, Origin
/// and CORS are settled before it.
#[derive(Clone)]
pub struct Endpoint<S> {
    plain_stream: S,
    calls: Calls,
    body_timeout: Duration,
}

/// The lanes of what is called.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) plain: PlainCalls,
    pub(crate) modern: ModernCalls,
    pub(crate) sessions: SessionCalls,
}

/// What a message is answered with.
pub(crate) enum Answer {
    Response(Response<Body>),
    /// A stream of events, which is opened as the plain one is.
    Stream {
        /// The request's.
        id: Value,
        parts: Box<Parts>,
        order: Box<StreamOrder>,
    },
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self::Response(response)
    }
}

impl<S> Endpoint<S> {
    pub(crate) fn new(plain_stream: S, calls: Calls, body_timeout: Duration) -> Self {
        Self {
            plain_stream,
            calls,
            body_timeout,
        }
    }
}

impl<S, B, R> Service<Request<B>> for Endpoint<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Default + Send + 'static,
    R: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.plain_stream.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match *request.method() {
            Method::GET | Method::HEAD => match Lane::of(request.headers(), None) {
                // A client without a session that speaks MCP wants JSON-RPC
                // messages, and the plain stream has none.
                Lane::Plain if names_version(request.headers()) => {
                    refuse(Refusal::method_not_allowed("POST"))
                }
                Lane::Plain => {
                    let response = self.plain_stream.call(request);
                    Box::pin(async { Ok(response.await?.map(boxed)) })
                }
                Lane::Session => self.session_stream(request),
                Lane::Modern => refuse(Refusal::method_not_allowed("POST")),
            },
            Method::DELETE if Lane::of(request.headers(), None) == Lane::Session => {
                let ended = self.calls.sessions.end(&request.into_parts().0);
                Box::pin(async { Ok(ended.unwrap_or_else(refused)) })
            }
            Method::POST => {
                let answer = post(self.calls.clone(), request, self.body_timeout);
                let mut plain_stream = self.plain_stream.clone();
                Box::pin(async move {
                    match answer.await {
                        Ok(Answer::Response(response)) => Ok(response),
                        Ok(Answer::Stream {
                            id,
                            mut parts,
                            order,
                        }) => {
                            parts.method = Method::GET;
                            parts.uri = Uri::from_static("/mcp");
                            parts.extensions.insert(*order);
                            let request = Request::from_parts(*parts, B::default());
                            let response = plain_stream.call(request).await?.map(boxed);
                            match response.status().is_success() {
                                true => Ok(response),
                                false => Ok(refused(in_words(response).await.with_id(id))),
                            }
                        }
                        Err(refusal) => Ok(refused(refusal)),
                    }
                })
            }
            _ if Lane::of(request.headers(), None) == Lane::Modern => {
                refuse(Refusal::method_not_allowed("POST"))
            }
            _ => refuse(Refusal::method_not_allowed("GET, HEAD, POST, DELETE")),
        }
    }
}

impl<S> Endpoint<S> {
    /// A session's stream, which is one of events in other words, or the rest of a reply.
    fn session_stream<B, R>(&mut self, request: Request<B>) -> Answering
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
        S::Future: Send + 'static,
        R: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (parts, body) = request.into_parts();
        match self.calls.sessions.stream(&parts) {
            Ok(Stream::Events(order)) => {
                let mut request = Request::from_parts(parts, body);
                request.extensions_mut().insert(order);
                let response = self.plain_stream.call(request);
                Box::pin(async { Ok(response.await?.map(boxed)) })
            }
            Ok(Stream::Reply(response)) => Box::pin(async { Ok(response) }),
            Err(refusal) => refuse(refusal),
        }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

async fn post<B>(
    calls: Calls,
    request: Request<B>,
    body_timeout: Duration,
) -> Result<Answer, Refusal>
where
    B: http_body::Body<Error: Into<BoxError>>,
{
    let (parts, body) = request.into_parts();
    let message = Message::receive(&parts.headers, body, body_timeout).await?;
    let id = message.id.clone().unwrap_or_default();
    let answer = match Lane::of(&parts.headers, Some(&message)) {
        Lane::Plain if message.method == "initialize" && takes_streams(&parts.headers) => {
            calls.sessions.begin(parts, message).await.map(Answer::from)
        }
        Lane::Plain => calls.plain.answer(parts, message).await.map(Answer::from),
        Lane::Session => calls.sessions.answer(parts, message).await,
        Lane::Modern => calls.modern.answer(parts, message).await,
    };
    answer.map_err(|refusal| refusal.with_id(id))
}

/// Why a stream was not opened, of which the plain stream's service has told in
/// its own way (RFC 9457).
async fn in_words(problem: Response<Body>) -> Refusal {
    let status = problem.status();
    let body = problem.into_body().collect().await;
    let problem: Option<Value> = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    let detail = problem.and_then(|problem| Some(problem["detail"].as_str()?.to_owned()));
    Refusal::http(
        status,
        detail.unwrap_or_else(|| "the stream was refused".to_owned()),
    )
}

fn refused(refusal: Refusal) -> Response<Body> {
    refusal
        .into_response::<http_body_util::Full<Bytes>>()
        .map(boxed)
}

fn refuse(refusal: Refusal) -> Answering {
    Box::pin(async { Ok(refused(refusal)) })
}
