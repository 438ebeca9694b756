use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::error::LoadError;
use crate::http::{BadAnswer, Chunks, Framing, Head};
use crate::sequence::{Data, Order, Scanner, Tally};
use crate::socket;
use crate::target::{PATIENCE, Target};

/// How many streams may be on their way to being open when there is no hurry.
const A_FEW: usize = 64;

/// How many may be when all come at once: fewer than a listener's backlog
/// holds, for whom it does not hold has to wait a second (tcp(7), SYN retries).
const ALL: usize = 1_000;

/// How long nothing may arrive before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(10);

/// For how long what has no business to arrive is waited for.
const AFTERWARDS: Duration = Duration::from_millis(50);

/// How much is read from a stream at once.
const BUFFER: usize = 64 << 10;

/// Many open streams, served by one thread, and the check of each.
pub struct Receivers {
    poll: Poll,
    events: Events,
    streams: Vec<Stream>,
    buffer: Box<[u8]>,
    open: usize,
    arrived: u64,
    last_arrival: Instant,
    bytes: u64,
    broken: usize,
    /// Why the first of them broke.
    failure: Option<LoadError>,
}

/// A message that arrived on a stream for the first time.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its number.
    pub seq: u64,
    /// As it was published: microseconds, whatever they count from.
    pub sent: u64,
    /// When it was read.
    pub at: Instant,
}

struct Stream {
    connection: TcpStream,
    phase: Phase,
    open_at: OpenAt,
    scanner: Scanner,
    order: Order,
}

enum Phase {
    /// The request that is written when the connection is made.
    Connecting(String),
    /// What has arrived of the head of the answer.
    Opening(Vec<u8>),
    Open(Body),
}

enum Body {
    Chunked(Chunks),
    Plain,
}

/// How streams come.
#[derive(Clone, Copy)]
struct Arriving {
    at_once: usize,
    /// Their messages below this number were had before.
    next: u64,
    /// What shows that one is open.
    open_at: OpenAt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenAt {
    /// The server's first word.
    Word,
    /// The head of its answer.
    Head,
}

impl Receivers {
    /// Opens a stream on each of `paths`, a few at a time, and waits until the
    /// server has said `connected` on all. Each is to get the messages 0, 1, 2 …
    pub fn open(
        target: &Target,
        paths: impl ExactSizeIterator<Item = impl Display>,
    ) -> Result<Self, LoadError> {
        let arriving = Arriving {
            at_once: A_FEW,
            next: 0,
            open_at: OpenAt::Word,
        };
        let requests = paths.map(|path| request(target, &path, None));
        Self::open_with(target, requests, arriving)
    }

    /// Opens a stream with each of `requests`, a few at a time, and waits until
    /// all are answered. Each is to get the messages 0, 1, 2 …
    pub fn open_requests(
        target: &Target,
        requests: impl ExactSizeIterator<Item = impl Into<String>>,
    ) -> Result<Self, LoadError> {
        let arriving = Arriving {
            at_once: A_FEW,
            next: 0,
            open_at: OpenAt::Head,
        };
        Self::open_with(target, requests.map(Into::into), arriving)
    }

    /// Opens them all at once, behind the event of this id, if there is one.
    /// Each had the messages below `next`, and is to get those from there on.
    pub fn come_back(
        target: &Target,
        paths: impl ExactSizeIterator<Item = impl Display>,
        next: u64,
        last_event_id: Option<&str>,
    ) -> Result<Self, LoadError> {
        let arriving = Arriving {
            at_once: ALL,
            next,
            open_at: OpenAt::Word,
        };
        let requests = paths.map(|path| request(target, &path, last_event_id));
        Self::open_with(target, requests, arriving)
    }

    fn open_with(
        target: &Target,
        mut requests: impl ExactSizeIterator<Item = String>,
        arriving: Arriving,
    ) -> Result<Self, LoadError> {
        let streams = requests.len();
        let mut receivers = Self {
            poll: Poll::new().map_err(LoadError::Wait)?,
            events: Events::with_capacity(1024),
            streams: Vec::with_capacity(streams),
            buffer: vec![0; BUFFER].into(),
            open: 0,
            arrived: 0,
            last_arrival: Instant::now(),
            bytes: 0,
            broken: 0,
            failure: None,
        };
        let mut last_opened = Instant::now();
        while receivers.open < streams {
            let opening = receivers.streams.len() - receivers.open;
            if opening < arriving.at_once
                && let Some(request) = requests.next()
            {
                receivers.connect(target, request, arriving)?;
                continue;
            }
            let open_before = receivers.open;
            receivers.receive(PATIENCE, |_| ())?;
            if let Some(failure) = receivers.failure.take() {
                return Err(failure);
            }
            if receivers.open > open_before {
                last_opened = Instant::now();
            } else if last_opened.elapsed() >= PATIENCE {
                return Err(LoadError::NotOpen {
                    open: open_before,
                    streams,
                });
            }
        }
        Ok(receivers)
    }

    fn connect(
        &mut self,
        target: &Target,
        request: String,
        arriving: Arriving,
    ) -> Result<(), LoadError> {
        let number = self.streams.len();
        let connecting = socket::connect(target.address(), number).map_err(LoadError::Connect)?;
        let mut stream = Stream {
            connection: TcpStream::from_std(connecting.stream),
            phase: Phase::Connecting(request),
            open_at: arriving.open_at,
            scanner: Scanner::default(),
            order: Order::from(arriving.next),
        };
        let interest = match connecting.is_connected {
            true => {
                stream.ask()?;
                Interest::READABLE
            }
            false => Interest::READABLE | Interest::WRITABLE,
        };
        let registered =
            self.poll
                .registry()
                .register(&mut stream.connection, Token(number), interest);
        registered.map_err(LoadError::Wait)?;
        self.streams.push(stream);
        Ok(())
    }

    /// How many streams there are, broken ones too.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// How many messages arrived, each counted once for each stream.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// When the last of them did; when the streams were opened, if none has.
    pub fn last_arrival(&self) -> Instant {
        self.last_arrival
    }

    /// How many bytes were read from all streams.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many streams ended or broke after they were open.
    pub fn broken(&self) -> usize {
        self.broken
    }

    /// Receives until `deadline`.
    pub fn receive_until(
        &mut self,
        deadline: Instant,
        mut new: impl FnMut(Arrival),
    ) -> Result<(), LoadError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.receive(left, &mut new)?;
        }
    }

    /// Receives until as many messages have arrived in all, or the rest is lost:
    /// after `too_late`, or when nothing has arrived for ten seconds. And then
    /// for a moment what arrives once too often.
    pub fn drain(
        &mut self,
        expected: u64,
        too_late: Duration,
        mut new: impl FnMut(Arrival),
    ) -> Result<(), LoadError> {
        let began = Instant::now();
        while self.arrived < expected
            && self.broken < self.streams.len()
            && self.last_arrival.max(began).elapsed() < SILENCE
            && began.elapsed() < too_late
        {
            self.receive(Duration::from_millis(5), &mut new)?;
        }
        self.receive_until(Instant::now() + AFTERWARDS, new)
    }

    /// Takes what has arrived, or what arrives next within `timeout`. A stream
    /// that ends or breaks is counted, and gets nothing more.
    pub fn receive(
        &mut self,
        timeout: Duration,
        mut new: impl FnMut(Arrival),
    ) -> Result<(), LoadError> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled.map_err(LoadError::Wait)?,
        }
        for event in &self.events {
            let stream = &mut self.streams[event.token().0];
            let mut found = |at: Instant, order: &mut Order, data: Data| match data {
                Data::Connected => self.open += 1,
                Data::Message { seq, sent } if order.note(seq) => {
                    self.arrived += 1;
                    self.last_arrival = at;
                    new(Arrival { seq, sent, at });
                }
                Data::Message { .. } | Data::Other => {}
            };
            let read = stream.read(&mut self.buffer, &mut found);
            match read {
                Ok(bytes) => self.bytes += bytes,
                Err(failure) => {
                    self.broken += 1;
                    self.failure.get_or_insert(failure);
                    // Closed streams are not reported any more.
                    let _ = self.poll.registry().deregister(&mut stream.connection);
                }
            }
        }
        Ok(())
    }

    /// What the checks come to, when so many messages were published for the
    /// stream of that index.
    pub fn tally(&self, published: impl Fn(usize) -> u64) -> Tally {
        let streams = self.streams.iter().enumerate();
        streams
            .map(|(index, stream)| stream.order.tally(published(index)))
            .sum()
    }
}

fn request(target: &Target, path: &impl Display, last_event_id: Option<&str>) -> String {
    let headers = target.headers();
    let mut request = format!("GET {path} HTTP/1.1\r\n{headers}Accept: text/event-stream\r\n");
    if let Some(id) = last_event_id {
        request.push_str("Last-Event-ID: ");
        request.push_str(id);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

impl Stream {
    /// Sends the request, now that there is a connection.
    fn ask(&mut self) -> Result<(), LoadError> {
        if let Phase::Connecting(request) = &self.phase {
            // The socket's buffer is empty, and larger than any request of ours.
            let written = self.connection.write_all(request.as_bytes());
            written.map_err(LoadError::Broken)?;
            self.phase = Phase::Opening(Vec::new());
        }
        Ok(())
    }

    /// Reads what there is, and returns how many bytes that was.
    fn read(
        &mut self,
        buffer: &mut [u8],
        mut found: impl FnMut(Instant, &mut Order, Data),
    ) -> Result<u64, LoadError> {
        if matches!(self.phase, Phase::Connecting(_)) {
            let failed = self.connection.take_error().and_then(|error| match error {
                Some(error) => Err(error),
                None => self.connection.peer_addr().map(drop),
            });
            match failed {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(0),
                done => done.map_err(LoadError::Connect)?,
            }
            self.ask()?;
        }
        let mut bytes = 0;
        loop {
            let length = match self.connection.read(buffer) {
                Ok(0) => return Err(BadAnswer::Ended.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(LoadError::Broken(error)),
            };
            let at = Instant::now();
            bytes += length as u64;
            self.take(&buffer[..length], |order, data| found(at, order, data))?;
            // A short read has emptied the socket: what comes later is
            // announced anew (epoll(7), question 9).
            if length < buffer.len() {
                break;
            }
        }
        Ok(bytes)
    }

    fn take(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(&mut Order, Data),
    ) -> Result<(), BadAnswer> {
        match &mut self.phase {
            Phase::Open(Body::Chunked(chunks)) => {
                let mut rest = bytes;
                while let Some(piece) = chunks.next(&mut rest)? {
                    self.scanner
                        .scan(piece, |data| found(&mut self.order, data));
                }
                Ok(())
            }
            Phase::Open(Body::Plain) => {
                self.scanner
                    .scan(bytes, |data| found(&mut self.order, data));
                Ok(())
            }
            Phase::Connecting(_) => Err(BadAnswer::Head),
            Phase::Opening(so_far) => {
                so_far.extend_from_slice(bytes);
                let Some(head) = Head::parse(so_far)? else {
                    return Ok(());
                };
                head.expect_success()?;
                let body = so_far.split_off(head.length);
                self.phase = Phase::Open(match head.body {
                    Framing::Chunked => Body::Chunked(Chunks::default()),
                    Framing::Close => Body::Plain,
                    Framing::Length(_) => return Err(BadAnswer::Head),
                });
                if self.open_at == OpenAt::Head {
                    self.scanner = Scanner::connected();
                    found(&mut self.order, Data::Connected);
                }
                self.take(&body, found)
            }
        }
    }
}
