use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;
use tokio_util::task::TaskTracker;

/// Streams that a connection may have open at once.
const MAX_STREAMS: u32 = 100;

/// Header fields of a request (RFC 9113, section 6.5.2), in bytes: as with HTTP/1.1.
const MAX_HEADERS: u32 = 16 << 10;

/// What a client may send before it is read, for one request and for all of a
/// connection, in bytes.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// Streams that a client has reset and that have not been looked at yet. One
/// that opens and resets without end is cut (CVE-2023-44487).
const MAX_RESET_UNSEEN: usize = 20;

/// Streams that we have reset because the client broke the rules. One that makes
/// us do it without end is cut (CVE-2025-8671).
const MAX_RESET_BY_US: usize = 100;

/// How many bytes of a stream may wait for the client to open its window before
/// hyper waits with the next chunk. With one byte, every chunk has gone out when the
/// next is taken, so a reader that stops costs two chunks. What durable clients
/// are taken to have got rests on it, too (`confirmation.rs`).
const SEND_BUFFER: usize = 1;

/// How HTTP/2 is spoken here.
///
/// Without pings: who does not read would not answer them, and would be cut. The
/// kernel is asked who is gone, as with HTTP/1.1.
pub(crate) fn protocol(tasks: Tasks) -> Builder<Tasks> {
    let mut protocol = Builder::new(tasks);
    protocol
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(MAX_RESET_UNSEEN)
        .max_local_error_reset_streams(MAX_RESET_BY_US)
        .max_send_buf_size(SEND_BUFFER);
    protocol
}

/// Where hyper runs the streams of a connection, so that they can be waited for.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(pub(crate) TaskTracker);

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// How long a connection may be quiet between two requests.
const NEXT_REQUEST: Duration = Duration::from_secs(60);

/// The requests of one connection, which says nothing of its own accord when it
/// is of no more use.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    begun: AtomicU64,
    open: AtomicU64,
}

/// One that is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Requests>);

impl Requests {
    pub(crate) fn begin(self: &Arc<Self>) -> Answering {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }
}

impl Answering {
    /// Lasts as long as the answer.
    pub(crate) fn with(self, response: Response) -> Response {
        response.map(|body| {
            Body::new(body.map_err(move |error| {
                let _lasts = &self;
                error
            }))
        })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// For how long a connection has had nothing to do, as seen from time to time.
#[derive(Debug)]
pub(crate) struct Idle {
    requests: Arc<Requests>,
    /// How long it may be quiet before the first request.
    first_request: Duration,
    seen: u64,
    since: Instant,
}

impl Idle {
    pub(crate) fn new(requests: Arc<Requests>, first_request: Duration, now: Instant) -> Self {
        Self {
            requests,
            first_request,
            seen: 0,
            since: now,
        }
    }

    /// Looks. True if it has been for too long.
    pub(crate) fn is_over(&mut self, now: Instant) -> bool {
        let begun = self.requests.begun.load(Ordering::Relaxed);
        let is_busy = self.requests.open.load(Ordering::Relaxed) > 0;
        if is_busy || begun != self.seen {
            self.seen = begun;
            self.since = now;
        }
        let limit = match begun {
            0 => self.first_request,
            _ => NEXT_REQUEST,
        };
        now.duration_since(self.since) >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_when_nothing_is_asked_or_answered() {
        let requests = Arc::new(Requests::default());
        let start = Instant::now();
        let mut idle = Idle::new(Arc::clone(&requests), Duration::from_secs(10), start);
        let mut look = |second| idle.is_over(start + Duration::from_secs(second));
        assert!(!look(9));
        assert!(look(10));
        let answering = requests.begin();
        assert!(!look(11));
        assert!(!look(1_000));
        drop(answering);
        assert!(!look(1_001));
        // One that came and went between two looks counts, too.
        drop(requests.begin());
        assert!(!look(1_060));
        assert!(!look(1_119));
        assert!(look(1_120));
    }

    #[test]
    fn an_answer_is_being_answered_until_its_body_is_gone() {
        let requests = Arc::new(Requests::default());
        let response = requests.begin().with(Response::new(Body::from("hello")));
        assert_eq!(
            hyper::body::Body::size_hint(response.body()).exact(),
            Some(5)
        );
        assert_eq!(requests.open.load(Ordering::Relaxed), 1);
        drop(response);
        assert_eq!(requests.open.load(Ordering::Relaxed), 0);
    }
}
