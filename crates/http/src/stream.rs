use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use notification_event::schema::{object, reference};
use notification_event::{Cursor, Status};
use notification_hub::{Delivery, Peer, Start, Subscription, Transport};
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};

use crate::confirmation::Confirmation;
use crate::http::Http;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::query::{Query, describe_subscribe, subscribe};
use crate::wire::Wire;

/// How streams behave.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// After how long a silence a comment is sent, so that both ends see that
    /// the connection lives.
    pub heartbeat: Duration,
    /// The least and the most that a client is told to wait before it comes
    /// back. Each is told a time of its own in between, so that all of them
    /// together do not come back in one instant.
    pub retry: (Duration, Duration),
}

/// `GET`: a `text/event-stream` (WHATWG HTML, section 9.2) of the server's events.
pub(crate) async fn stream(
    State(http): State<Http>,
    method: Method,
    headers: HeaderMap,
    wire: Option<Extension<Arc<Wire>>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    if !accepts_event_stream(&headers) {
        let detail = "this is a text/event-stream, which the Accept header does not allow";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail));
    }
    let mut query = Query::new(query.as_deref());
    let mut wanted = subscribe(&mut query, Http::now());
    query.finish().map_err(Problem::bad_query)?;
    // A browser that reconnects repeats its query and adds this header, which
    // knows better.
    if let Some(cursor) = last_event_id(&headers)? {
        wanted.start = Start::After(cursor);
    }
    let wire = wire.map(|Extension(wire)| wire);
    wanted.transport = Transport {
        name: "sse",
        peer: wire.clone().map(|wire| wire as Arc<dyn Peer>),
    };
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => {
            let subscription = http.hub.subscribe(wanted).await?;
            body(subscription, wire, &http)
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

pub(crate) fn describe() -> Operation {
    let cursor = json!({"anyOf": [reference("Cursor"), {"const": ""}]});
    let operation = Operation::new("stream", "Events as they are published")
        .says("Server-sent events (WHATWG HTML, section 9.2). The first is a status, connected.");
    describe_subscribe(operation)
        .header("Last-Event-ID", cursor)
        .answers_in(
            "text/event-stream",
            StatusCode::OK,
            "A stream that does not end by itself",
            reference("StreamItem"),
        )
        .refuses(&[406, 409, 429, 503])
}

/// Of one event of the stream.
pub(crate) fn item_schema() -> Value {
    let data = json!({
        "type": "string", "contentMediaType": "application/json",
        "contentSchema": {"oneOf": [reference("Event"), reference("Status")]},
    });
    let fields = json!({
        "id": reference("Cursor"),
        "event": {"type": "string"},
        "retry": {"type": "integer", "minimum": 0},
        "data": data,
    });
    object(fields, &["data"])
}

fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let mut accept = headers.get_all(header::ACCEPT).iter().peekable();
    accept.peek().is_none()
        || accept
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|range| range.split(';').next())
            .any(|range| {
                let takes = ["text/event-stream", "text/*", "*/*"];
                takes.iter().any(|t| range.trim().eq_ignore_ascii_case(t))
            })
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let Some(value) = headers
        .get("last-event-id")
        .filter(|value| !value.is_empty())
    else {
        return Ok(None);
    };
    let cursor = value.to_str().ok().and_then(|text| text.parse().ok());
    cursor.map(Some).ok_or_else(|| {
        let detail = "Last-Event-ID: expected a cursor as this server gave it, unchanged";
        Problem::bad_request(detail)
    })
}

fn body(subscription: Subscription, wire: Option<Arc<Wire>>, http: &Http) -> Body {
    let config = &http.config.stream;
    let (min, max) = config.retry;
    let retry = fastrand::u128(min.as_millis()..=max.as_millis().max(min.as_millis()));
    let connected = Status::Connected {
        connection_id: subscription.id().to_string(),
        client_count: http.hub.connections(),
    };
    let mut writer = Writer {
        opening: None,
        subscription,
        told: None,
        heartbeat: Heartbeat::new(config.heartbeat),
        confirmation: Confirmation::new(wire),
        ended: false,
    };
    let mut opening = format!("retry: {retry}\n{}", sse(&connected));
    if !writer.subscription.is_before_cursor() {
        // Even if nothing is published before the connection breaks, the
        // client then knows where it was.
        opening += &writer.tell_cursor();
    }
    writer.opening = Some(opening.into());
    let chunks = stream::unfold(writer, async |mut writer| {
        let chunk = writer.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), writer))
    });
    Body::from_stream(chunks)
}

/// One open stream. It is asked for more only when the connection has taken
/// what it was given before, so a reader that stops is a cursor and one chunk.
struct Writer {
    opening: Option<Bytes>,
    subscription: Subscription,
    /// The cursor that the client was told last.
    told: Option<Cursor>,
    heartbeat: Heartbeat,
    confirmation: Confirmation,
    ended: bool,
}

/// When to say something because nothing was said.
///
/// The timer is not set anew with each event, which would cost more than the
/// event: when it fires, it looks how long the silence has been.
struct Heartbeat {
    interval: Duration,
    silent_since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Heartbeat {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            silent_since: Instant::now(),
            timer: Box::pin(tokio::time::sleep(interval)),
        }
    }

    /// Waits until there was silence for the whole interval. Dropping the
    /// future loses nothing.
    async fn due(&mut self) {
        loop {
            self.timer.as_mut().await;
            let due = self.silent_since + self.interval;
            if due <= Instant::now() {
                return;
            }
            self.timer.as_mut().reset(due);
        }
    }

    /// Something was said.
    fn spoke(&mut self) {
        self.silent_since = Instant::now();
        if self.timer.is_elapsed() {
            self.timer.as_mut().reset(self.silent_since + self.interval);
        }
    }
}

impl Writer {
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        self.confirmation.taken(self.subscription.cursor());
        let delivery = loop {
            let needs_confirmation = self.subscription.needs_confirmation();
            tokio::select! {
                biased;
                delivery = self.subscription.next() => break Some(delivery),
                () = self.confirmation.due(), if needs_confirmation => {
                    if let Some(reached) = self.confirmation.look(self.subscription.cursor()) {
                        self.subscription.confirm(reached);
                    }
                }
                () = self.heartbeat.due() => break None,
            }
        };
        self.heartbeat.spoke();
        Some(match delivery {
            None => self.comment(),
            Some(delivery) => self.write(delivery),
        })
    }

    fn write(&mut self, delivery: Delivery) -> Bytes {
        match delivery {
            Delivery::Events(frames) => {
                let epoch = self.subscription.cursor().epoch;
                let last = frames.last().map(|frame| frame.position);
                self.told = last.map(|position| Cursor { epoch, position });
                match frames.as_slice() {
                    [frame] => frame.sse().clone(),
                    frames => join(frames.iter().map(|frame| &frame.sse()[..])),
                }
            }
            Delivery::Snapshot(frames) => join(frames.iter().map(|f| f.sse_without_id())),
            Delivery::SnapshotComplete(events) => {
                let complete = sse(&Status::SnapshotComplete { events });
                (complete + &self.tell_cursor()).into()
            }
            Delivery::Gap { cursor, reason } => {
                let mut gap = sse(&Status::Gap { cursor, reason });
                if !self.subscription.is_before_cursor() {
                    gap += &self.tell_cursor();
                }
                gap.into()
            }
            Delivery::Conflated(events) => sse(&Status::Conflated { events }).into(),
            Delivery::Paused(max_unacknowledged) => {
                sse(&Status::Paused { max_unacknowledged }).into()
            }
            Delivery::Closed => self.end("this connection was closed by an administrator"),
            Delivery::Closing => self.end("the server is shutting down"),
            Delivery::Failed(_) => self.end("the log cannot be read"),
        }
    }

    /// A comment. If events passed by that this stream did not want, it brings
    /// their cursor along, so that a client that comes back with it does not
    /// have them searched again.
    fn comment(&mut self) -> Bytes {
        match self.told == Some(self.subscription.cursor()) {
            true => Bytes::from_static(b":\n\n"),
            false => format!(":\n{}", self.tell_cursor()).into(),
        }
    }

    /// An `id:` without `data:` makes no event, and is where the client resumes
    /// (WHATWG HTML, section 9.2.6).
    fn tell_cursor(&mut self) -> String {
        let cursor = self.subscription.cursor();
        self.told = Some(cursor);
        format!("id: {cursor}\n\n")
    }

    fn end(&mut self, reason: &'static str) -> Bytes {
        self.ended = true;
        sse(&Status::Closing { reason }).into()
    }
}

/// What has reached the peer at the end counts, too.
impl Drop for Writer {
    fn drop(&mut self) {
        if self.subscription.needs_confirmation()
            && let Some(reached) = self.confirmation.last_look()
        {
            self.subscription.confirm(reached);
        }
    }
}

fn join<'a>(parts: impl Iterator<Item = &'a [u8]> + Clone) -> Bytes {
    let size = parts.clone().map(<[u8]>::len).sum();
    let mut chunk = BytesMut::with_capacity(size);
    parts.for_each(|part| chunk.extend_from_slice(part));
    chunk.freeze()
}

fn sse(status: &Status) -> String {
    format!("data: {}\n\n", status.to_json(Http::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_event_streams_gets_one() {
        let check = |accept: Option<&'static str>, expected: bool| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(accepts_event_stream(&headers), expected, "{accept:?}");
        };
        check(None, true);
        check(Some("*/*"), true);
        check(Some("text/event-stream"), true);
        check(Some("application/json, text/event-stream;q=0.5"), true);
        check(Some("text/*"), true);
        check(Some("Text/Event-Stream"), true);
        check(Some("application/json"), false);
        check(Some("text/html"), false);
    }
}
