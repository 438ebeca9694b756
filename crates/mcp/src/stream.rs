use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::time::{Interval, interval, timeout};

use crate::body::{Body, BoxError, boxed};
use crate::refusal::Refusal;

/// How long nothing is said before a comment is, for the sake of what is between
/// client and server and closes silent connections.
const SILENCE: Duration = Duration::from_secs(15);

const JSON: &str = "application/json";
pub(crate) const STREAM: &str = "text/event-stream";

/// Which kinds of answer a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) json: bool,
    pub(crate) stream: bool,
}

impl Accepted {
    /// Both, if the client does not say (RFC 9110, section 12.5.1).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            json: accepts(headers, JSON),
            stream: accepts(headers, STREAM),
        }
    }
}

/// Whether `Accept` takes `media_type`: the narrowest range that has it decides.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let ranges = values.filter_map(|value| value.to_str().ok());
    let ranges = ranges.flat_map(|value| value.split(','));
    let narrowest = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?.to_ascii_lowercase();
        let breadth = match name.split_once('/')? {
            ("*", "*") => 2,
            (kind, "*") if media_type.starts_with(&format!("{kind}/")) => 1,
            _ if name == media_type => 0,
            _ => return None,
        };
        let is_refused = parts.any(|parameter| {
            let quality = parameter.split_once('=').filter(|(name, _)| *name == "q");
            quality.is_some_and(|(_, quality)| quality.parse() == Ok(0.0))
        });
        Some((breadth, !is_refused))
    });
    let narrowest = narrowest.min_by_key(|(breadth, _)| *breadth);
    narrowest.is_some_and(|(_, is_accepted)| is_accepted)
}

/// Whether an answer is a `text/event-stream`.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE);
    media_type.is_some_and(|value| value.as_bytes().starts_with(STREAM.as_bytes()))
}

/// The answer to the request `id`, for a client that takes a stream. It is JSON if
/// that is taken, too, and nothing has to be said before it. If it lets itself be
/// waited for, a stream is opened before it is there.
///
/// Dropping it, or the body that it gives, drops `answer`.
pub(crate) async fn before_it_is_late(
    answer: impl Future<Output = Result<Response<Body>, Refusal>> + Send + 'static,
    json: bool,
    id: Value,
) -> Result<Response<Body>, Refusal> {
    let mut answer = Box::pin(answer);
    let Ok(response) = timeout(SILENCE, answer.as_mut()).await else {
        let late = async move {
            let refused = |refusal: Refusal| {
                let refused = refusal.with_id(id).into_response::<Full<Bytes>>();
                refused.map(boxed)
            };
            on_stream(answer.await.unwrap_or_else(refused)).await
        };
        return Ok(opened(Kept::silent_since_long(Part::Late(Box::pin(late)))));
    };
    let response = response?;
    match response.status() {
        StatusCode::OK if is_stream(response.headers()) || !json => {
            let body = on_stream(response).await;
            Ok(opened(Kept::new(Part::There(body))))
        }
        _ => Ok(response),
    }
}

/// An answer that is there, of the kind that is taken.
pub(crate) fn one_message(id: &Value, result: &Value, accepted: Accepted) -> Response<Body> {
    let message = serde_json::json!({ "jsonrpc": "2.0", "id": id, "result": result });
    if !accepted.json {
        let event = format!("data: {message}\n\n");
        return opened(Kept::new(Part::There(boxed(Full::from(event)))));
    }
    let mut response = Response::new(boxed(Full::from(message.to_string())));
    let json = HeaderValue::from_static(JSON);
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A stream of messages that has one at once, and is kept alive.
pub(crate) fn of_messages(body: Body) -> Response<Body> {
    opened(Kept::new(Part::There(body)))
}

fn opened(body: Kept) -> Response<Body> {
    let mut response = Response::new(boxed(body));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, STREAM),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The body of an answer, as one of a stream.
async fn on_stream(response: Response<Body>) -> Body {
    if is_stream(response.headers()) {
        return response.into_body();
    }
    match response.into_body().collect().await {
        Ok(json) => {
            // JSON of one line: nothing in it ends the event.
            let mut event = BytesMut::from(&b"data: "[..]);
            event.put(json.aggregate());
            event.put_slice(b"\n\n");
            boxed(Full::new(event.freeze()))
        }
        Err(error) => boxed(Broken(Some(error))),
    }
}

/// The body of a stream on which a comment is said when nothing else is.
struct Kept {
    part: Part,
    comments: Interval,
}

enum Part {
    /// The stream was opened before there was something to say.
    Late(Pin<Box<dyn Future<Output = Body> + Send>>),
    There(Body),
}

impl Kept {
    fn new(part: Part) -> Self {
        let mut comments = interval(SILENCE);
        comments.reset();
        Self { part, comments }
    }

    /// The first comment is due.
    fn silent_since_long(part: Part) -> Self {
        let comments = interval(SILENCE);
        Self { part, comments }
    }
}

impl Part {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self {
                Self::Late(body) => *self = Self::There(ready!(body.as_mut().poll(cx))),
                Self::There(body) => return http_body::Body::poll_frame(Pin::new(body), cx),
            }
        }
    }
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let said = self.part.poll_frame(cx);
        if said.is_ready() {
            self.comments.reset();
            return said;
        }
        ready!(self.comments.poll_tick(cx));
        // The next one is due after as long a silence, however late this was.
        self.comments.reset();
        let comment = Bytes::from_static(b":\n\n");
        Poll::Ready(Some(Ok(Frame::data(comment))))
    }
}

/// A body that breaks off at once.
struct Broken(Option<BoxError>);

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &'static str) -> Response<Body> {
        let mut response = Response::new(boxed(Full::from(text)));
        let json = HeaderValue::from_static(JSON);
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }

    #[test]
    fn accept_is_read_as_it_is_meant() {
        let check = |accept: Option<&'static str>, json: bool, stream: bool| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            let expected = Accepted { json, stream };
            assert_eq!(Accepted::of(&headers), expected, "{accept:?}");
        };
        check(None, true, true);
        check(Some("*/*"), true, true);
        check(Some("application/json, text/event-stream"), true, true);
        check(Some("Application/JSON;charset=utf-8"), true, false);
        check(Some("text/event-stream"), false, true);
        check(Some("text/*, application/xml"), false, true);
        check(Some("*/*, text/event-stream;q=0"), true, false);
        check(
            Some("application/json;q=0.0, text/event-stream; q=0.1"),
            false,
            true,
        );
        check(Some("text/html"), false, false);
        check(Some(""), false, false);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_comes_on_a_stream_that_is_kept_alive() {
        let answer = async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            Ok(event(r#"{"id":1}"#))
        };
        let response = before_it_is_late(answer, true, Value::from(1)).await;
        let response = response.unwrap();
        assert_eq!(response.headers()["content-type"], STREAM);
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, ":\n\n:\n\ndata: {\"id\":1}\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_puts_the_comment_off() {
        let (said, heard) = tokio::sync::mpsc::channel::<()>(1);
        let words = ["a", "b"].map(Bytes::from).into_iter();
        let body = StreamBody { words, heard };
        let mut response = Response::new(boxed(body));
        let stream = HeaderValue::from_static(STREAM);
        response.headers_mut().insert(header::CONTENT_TYPE, stream);
        let answer = async { Ok(response) };
        let response = before_it_is_late(answer, true, Value::Null).await.unwrap();
        let collected = tokio::spawn(response.into_body().collect());
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            said.send(()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        drop(said);
        let body = collected.await.unwrap().unwrap().to_bytes();
        assert_eq!(body, "ab:\n\n");
    }

    /// Says the next of its words whenever it is told to.
    struct StreamBody<W> {
        words: W,
        heard: tokio::sync::mpsc::Receiver<()>,
    }

    impl<W: Iterator<Item = Bytes> + Unpin> http_body::Body for StreamBody<W> {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let told = ready!(self.heard.poll_recv(cx));
            let word = told.and_then(|()| self.words.next());
            Poll::Ready(word.map(|word| Ok(Frame::data(word))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_refusal_is_an_answer_too() {
        let answer = async {
            tokio::time::sleep(SILENCE * 2).await;
            Err(Refusal::invalid_params("no"))
        };
        let response = before_it_is_late(answer, true, Value::from("seven")).await;
        let body = response.unwrap().into_body().collect().await.unwrap();
        let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        assert!(
            body.contains(r#""id":"seven","error":{"code":-32602"#),
            "{body}"
        );
        assert!(body.ends_with("}\n\n"), "{body}");
    }

    #[tokio::test]
    async fn an_answer_in_time_is_of_the_kind_that_is_taken() {
        let check = async |json: bool, media_type: &str, body: &str| {
            let answer = async { Ok(event("{}")) };
            let response = before_it_is_late(answer, json, Value::Null).await.unwrap();
            assert_eq!(response.headers()["content-type"], media_type);
            let got = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(got, body.as_bytes());
        };
        check(true, JSON, "{}").await;
        check(false, STREAM, "data: {}\n\n").await;
    }
}
