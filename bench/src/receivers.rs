use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::http::{BadAnswer, Chunks, Framing, Head};
use crate::sequence::{Data, Order, Scanner, Tally};
use crate::server::{Loopback, PATIENCE};

/// How many streams may be on their way to being open when there is no hurry.
const A_FEW: usize = 64;

/// How many may be when all come at once: fewer than a listener's backlog
/// holds, for whom it does not hold has to wait a second (tcp(7), SYN retries).
const ALL: usize = 1_000;

/// How long nothing may arrive before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(10);

/// After how long it counts as lost even if something still arrives.
const TOO_LATE: Duration = Duration::from_secs(60);

/// For how long what has no business to arrive is waited for.
const AFTERWARDS: Duration = Duration::from_millis(50);

/// How much is read from a stream at once.
const BUFFER: usize = 64 << 10;

/// Many open streams, served by one thread, and the check of each.
pub(crate) struct Receivers {
    poll: Poll,
    events: Events,
    streams: Vec<Stream>,
    buffer: Box<[u8]>,
    open: usize,
    /// How many messages arrived, each counted once for each stream.
    pub(crate) arrived: u64,
    /// When the last of them did.
    pub(crate) last_arrival: Instant,
    /// How many bytes were read from all streams.
    pub(crate) bytes: u64,
}

/// A message that arrived on a stream for the first time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) seq: u64,
    /// As it was published: microseconds, whatever they count from.
    pub(crate) sent: u64,
    pub(crate) at: Instant,
}

struct Stream {
    connection: TcpStream,
    phase: Phase,
    scanner: Scanner,
    order: Order,
}

enum Phase {
    /// What has arrived of the head of the answer.
    Opening(Vec<u8>),
    Open(Chunks),
}

impl Receivers {
    /// Opens a stream on each of `paths`, a few at a time, and waits until the
    /// server has said `connected` on all. Each is to get the messages 0, 1, 2 …
    pub(crate) fn open(
        server: Loopback,
        paths: impl ExactSizeIterator<Item = impl Display>,
    ) -> anyhow::Result<Self> {
        Self::open_with(server, paths, A_FEW, &Order::default())
    }

    /// Opens them all at once. Each had the messages below `next`, and is to
    /// get those from there on.
    pub(crate) fn come_back(
        server: Loopback,
        paths: impl ExactSizeIterator<Item = impl Display>,
        next: u64,
    ) -> anyhow::Result<Self> {
        Self::open_with(server, paths, ALL, &Order::from(next))
    }

    fn open_with(
        server: Loopback,
        mut paths: impl ExactSizeIterator<Item = impl Display>,
        at_once: usize,
        order: &Order,
    ) -> anyhow::Result<Self> {
        let streams = paths.len();
        let mut receivers = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            streams: Vec::with_capacity(streams),
            buffer: vec![0; BUFFER].into(),
            open: 0,
            arrived: 0,
            last_arrival: Instant::now(),
            bytes: 0,
        };
        while receivers.open < streams {
            let opening = receivers.streams.len() - receivers.open;
            if opening < at_once
                && let Some(path) = paths.next()
            {
                let opened = receivers.connect(server, path, order.clone());
                opened.context("cannot open a stream")?;
                continue;
            }
            let open_before = receivers.open;
            receivers.receive(PATIENCE, |_| ())?;
            if receivers.events.is_empty() && receivers.open == open_before {
                bail!("{open_before} of {streams} streams opened, and then none for {PATIENCE:?}");
            }
        }
        Ok(receivers)
    }

    fn connect(
        &mut self,
        server: Loopback,
        path: impl Display,
        order: Order,
    ) -> std::io::Result<()> {
        let mut connection = server.connect()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nAccept: text/event-stream\r\n\r\n");
        connection.write_all(request.as_bytes())?;
        connection.set_nonblocking(true)?;
        let mut connection = TcpStream::from_std(connection);
        let token = Token(self.streams.len());
        self.poll
            .registry()
            .register(&mut connection, token, Interest::READABLE)?;
        self.streams.push(Stream {
            connection,
            phase: Phase::Opening(Vec::new()),
            scanner: Scanner::default(),
            order,
        });
        Ok(())
    }

    pub(crate) fn receive_until(
        &mut self,
        deadline: Instant,
        mut new: impl FnMut(Arrival),
    ) -> anyhow::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.receive(left, &mut new)?;
        }
    }

    /// Receives until as many messages have arrived, or the rest is lost; and
    /// then for a moment what arrives once too often.
    pub(crate) fn drain(
        &mut self,
        expected: u64,
        mut new: impl FnMut(Arrival),
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.arrived < expected
            && self.last_arrival.max(began).elapsed() < SILENCE
            && began.elapsed() < TOO_LATE
        {
            self.receive(Duration::from_millis(5), &mut new)?;
        }
        self.receive_until(Instant::now() + AFTERWARDS, new)
    }

    /// Takes what has arrived, or what arrives next within `timeout`.
    pub(crate) fn receive(
        &mut self,
        timeout: Duration,
        mut new: impl FnMut(Arrival),
    ) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.events {
            let stream = &mut self.streams[event.token().0];
            loop {
                let length = match stream.connection.read(&mut self.buffer) {
                    Ok(0) => bail!(BadAnswer::Ended),
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("a stream broke"),
                };
                let at = Instant::now();
                self.bytes += length as u64;
                stream.take(&self.buffer[..length], |order, data| match data {
                    Data::Connected => self.open += 1,
                    Data::Message { seq, sent } if order.note(seq) => {
                        self.arrived += 1;
                        self.last_arrival = at;
                        new(Arrival { seq, sent, at });
                    }
                    Data::Message { .. } | Data::Other => {}
                })?;
                // A short read has emptied the socket: what comes later is
                // announced anew (epoll(7), question 9).
                if length < BUFFER {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What the checks come to, when so many messages were published for the
    /// stream of that index.
    pub(crate) fn tally(&self, published: impl Fn(usize) -> u64) -> Tally {
        let streams = self.streams.iter().enumerate();
        streams
            .map(|(index, stream)| stream.order.tally(published(index)))
            .sum()
    }
}

impl Stream {
    fn take(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(&mut Order, Data),
    ) -> Result<(), BadAnswer> {
        match &mut self.phase {
            Phase::Open(chunks) => {
                let mut rest = bytes;
                while let Some(piece) = chunks.next(&mut rest)? {
                    self.scanner
                        .scan(piece, |data| found(&mut self.order, data));
                }
                Ok(())
            }
            Phase::Opening(so_far) => {
                so_far.extend_from_slice(bytes);
                let Some(head) = Head::parse(so_far)? else {
                    return Ok(());
                };
                head.expect(200)?;
                if head.body != Framing::Chunked {
                    return Err(BadAnswer::Head);
                }
                let body = so_far.split_off(head.length);
                self.phase = Phase::Open(Chunks::default());
                self.take(&body, found)
            }
        }
    }
}
