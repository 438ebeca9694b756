use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};

use crate::body::{Body, BoxError, boxed};
use crate::refusal::Refusal;

/// How long nothing is said before a comment is, for the sake of what is between
/// client and server and closes silent connections; `rmcp` has the same.
const SILENCE: Duration = Duration::from_secs(15);

const JSON: &str = "application/json";
const STREAM: &str = "text/event-stream";

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
/// waited for, a stream is opened on which comments are said until it is there.
///
/// Dropping it, or the body that it gives, drops `answer`.
pub(crate) async fn before_it_is_late(
    answer: impl Future<Output = Result<Response<Body>, Refusal>> + Send + 'static,
    json: bool,
    id: Value,
) -> Result<Response<Body>, Refusal> {
    let mut answer = Box::pin(answer);
    match timeout(SILENCE, answer.as_mut()).await {
        Ok(Ok(response)) if json || is_stream(response.headers()) => Ok(response),
        Ok(Ok(response)) => match response.status() {
            StatusCode::OK => Ok(opened(on_stream(response).await)),
            _ => Ok(response),
        },
        Ok(Err(refusal)) => Err(refusal),
        Err(_) => {
            let answer = async move {
                match answer.await {
                    Ok(response) => on_stream(response).await,
                    Err(refusal) => {
                        let refused = refusal.with_id(id).into_response::<Full<Bytes>>();
                        on_stream(refused.map(boxed)).await
                    }
                }
            };
            let mut comments = interval_at(tokio::time::Instant::now(), SILENCE);
            comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Ok(opened(boxed(Late::Awaited {
                answer: Box::pin(answer),
                comments,
            })))
        }
    }
}

fn opened(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
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

/// The body of a stream that was opened before its answer was there.
enum Late {
    Awaited {
        answer: Pin<Box<dyn Future<Output = Body> + Send>>,
        comments: Interval,
    },
    There(Body),
}

impl http_body::Body for Late {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Self::Awaited { answer, comments } = &mut *self {
            let Poll::Ready(answer) = answer.as_mut().poll(cx) else {
                ready!(comments.poll_tick(cx));
                let comment = Bytes::from_static(b":\n\n");
                return Poll::Ready(Some(Ok(Frame::data(comment))));
            };
            *self = Self::There(answer);
        }
        match &mut *self {
            Self::There(body) => Pin::new(body).poll_frame(cx),
            Self::Awaited { .. } => unreachable!("it is there by now"),
        }
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
