use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use notification_event::schema::{object, reference};
use notification_event::{Cursor, Filter};
use notification_hub::{Caller, Peer, Start, StreamOrder, Subscription, Transport, Wording};
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};

use crate::confirmation::BufferedConfirmation;
use crate::handoff::Handoff;
use crate::http::Http;
use crate::identity::TicketFilter;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::query::{Query, describe_subscribe, subscribe};
use crate::speech::{Said, Speech};
use crate::wire::Wire;

/// How streams behave.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Whether there are any but those of MCP clients.
    pub enabled: bool,
    /// After how long a silence a comment is sent, so that both ends see that
    /// the connection lives.
    pub heartbeat: Duration,
    /// The least and the most that a client is told to wait before it comes
    /// back. Each is told a time of its own in between, so that all of them
    /// together do not come back in one instant.
    pub retry: (Duration, Duration),
}

/// Whether streams are served at this path: what a request for another is, its
/// connection need not be asked for.
pub(crate) fn is_path(path: &str) -> bool {
    matches!(path, "/v1/stream" | "/mcp")
}

/// `GET`: a `text/event-stream` (WHATWG HTML, section 9.2) of the server's events.
pub(crate) async fn stream(
    State(http): State<Http>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    extensions: Extensions,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    if !accepts_event_stream(&headers) {
        let detail = "this is a text/event-stream, which the Accept header does not allow";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail));
    }
    let mut query = Query::new(query.as_deref());
    let mut wanted = subscribe(&mut query, Http::now(), caller.principal().client.is_some());
    let given = query.one("ticket", |ticket| Ok(ticket.to_owned()));
    match extensions.get::<TicketFilter>() {
        Some(TicketFilter(filter)) => {
            if wanted.filter != Filter::default() || wanted.client.is_some() {
                let expected = "no filter and no client_id beside it, which the ticket says";
                query.refuse("ticket", expected);
            }
            wanted.filter = filter.clone();
        }
        None if given.is_some() => query.refuse("ticket", "a GET, which a ticket is for"),
        None => {}
    }
    query.finish().map_err(Problem::bad_query)?;
    // A browser that reconnects repeats its query and adds this header, which
    // knows better.
    let order = extensions.get::<StreamOrder>().cloned();
    if let Some(cursor) = last_event_id(&headers)? {
        wanted.start = Start::After(cursor);
    } else if let Some(order) = order.as_ref().filter(|_| wanted.start == Start::Now) {
        wanted.start = order.start;
    }
    if order.is_none() && !http.config.stream.enabled {
        return Err(Problem::not_found(
            "streams of events are switched off here",
        ));
    }
    let wire = extensions.get::<Arc<Wire>>().cloned();
    let handoff = extensions.get::<Handoff>().cloned();
    wanted.transport = Transport {
        name: order.as_ref().map_or("sse", |order| order.transport),
        peer: match &handoff {
            Some(handoff) => Some(handoff.wire.clone()),
            None => wire.clone().map(|wire| wire as Arc<dyn Peer>),
        },
    };
    if let Some(filter) = order.as_ref().and_then(|order| order.filter.clone()) {
        wanted.filter = filter;
    }
    let wording = order.as_ref().map(|order| order.wording.clone());
    wanted.control = order.map(|order| order.control);
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => {
            http.config.capacity.admit_stream()?;
            let stream = Opened::new(caller.subscribe(wanted).await?, wording, &http);
            match handoff {
                Some(handoff) => handoff.leave(stream),
                None => body(stream, wire, http.config.stream.heartbeat),
            }
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
    let ticket = json!({"description": "From POST /v1/tickets", "type": "string"});
    describe_subscribe(operation)
        .query("ticket", ticket)
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

/// A stream of which nothing has been said yet.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) subscription: Subscription,
    pub(crate) speech: Speech,
    /// What it says first.
    pub(crate) opening: Bytes,
}

impl Opened {
    pub(crate) fn new(
        subscription: Subscription,
        wording: Option<Arc<dyn Wording>>,
        http: &Http,
    ) -> Self {
        let mut speech = Speech::in_words_of(wording);
        Self {
            opening: speech.open(&subscription, http),
            subscription,
            speech,
        }
    }
}

/// A stream whose body hyper carries.
fn body(stream: Opened, wire: Option<Arc<Wire>>, heartbeat: Duration) -> Body {
    let heartbeat = stream.speech.silence(heartbeat);
    let writer = Writer {
        opening: Some(stream.opening),
        speech: stream.speech,
        subscription: stream.subscription,
        heartbeat: Heartbeat::new(heartbeat),
        confirmation: BufferedConfirmation::new(wire.clone()),
        wire,
        ended: false,
    };
    if let Some(wire) = &writer.wire {
        wire.carries_stream(true);
    }
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
    speech: Speech,
    subscription: Subscription,
    heartbeat: Heartbeat,
    confirmation: BufferedConfirmation,
    wire: Option<Arc<Wire>>,
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
            let needs_proof = needs_confirmation && !self.confirmation.is_proven();
            tokio::select! {
                biased;
                delivery = self.subscription.next() => break Some(delivery),
                () = std::future::ready(()), if needs_proof => break None,
                () = self.confirmation.due(), if needs_confirmation => {
                    if let Some(reached) = self.confirmation.look(self.subscription.cursor()) {
                        self.subscription.confirm(reached);
                    }
                }
                () = self.heartbeat.due() => break None,
            }
        };
        self.heartbeat.spoke();
        self.confirmation.give(delivery.is_none());
        let Some(delivery) = delivery else {
            return Some(self.speech.comment(Some(&self.subscription)));
        };
        let said = self.speech.say(delivery, &self.subscription);
        self.ended = matches!(said, Said::End(_));
        Some(said.into_bytes())
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
        if let Some(wire) = &self.wire {
            wire.carries_stream(false);
        }
    }
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
