use std::io::{ErrorKind, Read, Write};
use std::net;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::figures::{Figures, Latencies, figure};
use crate::http::{BadAnswer, Chunks, Framing, Head, whole_answer};
use crate::message::Message;
use crate::process::Meter;
use crate::sequence::{Data, Order, Scanner};
use crate::server::{Loopback, PATIENCE, Server};

/// How many streams may be on their way to being open at once: fewer than a
/// listener's backlog holds.
const OPENING_AT_ONCE: usize = 64;

/// For how long the streams are idle before memory is looked at.
const IDLE: Duration = Duration::from_secs(1);

/// For how long messages are delivered, and checked, before they are measured:
/// both sides have touched all their memory then.
const WARM_UP: Duration = Duration::from_millis(500);

/// How long deliveries may take after the last message was published.
const DRAIN: Duration = Duration::from_secs(10);

/// How much is read from a stream at once.
const BUFFER: usize = 64 << 10;

/// Messages at a steady rate to many open streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deliver {
    pub(crate) streams: usize,
    /// In messages per second.
    pub(crate) rate: u64,
    /// In bytes.
    pub(crate) size: usize,
    pub(crate) duration: Duration,
}

impl Deliver {
    pub(crate) fn measure(&self, server: &Server) -> anyhow::Result<Figures> {
        // What a server allocates for its first stream is not what a stream costs.
        drop(Receivers::open(server.address(), 1)?);
        let resident = server.process().resident()?;
        let mut receivers = Receivers::open(server.address(), self.streams)?;
        receivers.receive_until(Instant::now() + IDLE)?;
        let idle_memory = server.process().resident()?.saturating_sub(resident);

        let schedule = Schedule::new(self);
        let paced = thread::scope(|scope| {
            let publisher = scope.spawn(|| schedule.publish(server, self.size));
            receivers.begin(schedule);
            while !publisher.is_finished() {
                receivers.receive(Duration::from_millis(5))?;
            }
            publisher.join().expect("the publisher does not panic")
        })?;
        receivers.drain(paced.published)?;
        let cpu = paced.meter.used()?;

        let measured_from = schedule.due(schedule.warm_up);
        let elapsed = (receivers.last_arrival - measured_from).as_secs_f64();
        let deliveries = receivers.latencies.count() as f64;
        let sum = |count: fn(&Order) -> u64| -> f64 {
            receivers
                .streams
                .iter()
                .map(|stream| count(&stream.order))
                .sum::<u64>() as f64
        };
        let lost = receivers
            .streams
            .iter()
            .map(|s| s.order.lost(paced.published))
            .sum::<u64>();
        Ok(vec![
            figure("deliveries/s", deliveries / elapsed),
            figure(
                "published/s",
                (paced.published - schedule.warm_up) as f64 / paced.elapsed.as_secs_f64(),
            ),
            figure("p50 ms", receivers.latencies.quantile_ms(0.5)),
            figure("p99 ms", receivers.latencies.quantile_ms(0.99)),
            figure("max ms", receivers.latencies.max_ms()),
            figure("lost", lost as f64),
            figure("duplicated", sum(|order| order.duplicated)),
            figure("out of order", sum(|order| order.out_of_order)),
            figure(
                "server CPU s/million",
                cpu.server.as_secs_f64() * 1e6 / deliveries,
            ),
            figure(
                "server memory KB/idle stream",
                idle_memory as f64 / 1024.0 / self.streams as f64,
            ),
            figure(
                "load generator CPU %",
                cpu.generator.as_secs_f64() / elapsed * 100.0,
            ),
            figure("others' CPU %", cpu.others.as_secs_f64() / elapsed * 100.0),
        ])
    }
}

/// Which message is due when.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    started: Instant,
    rate: u64,
    /// How many messages come before those that are measured.
    warm_up: u64,
    /// How many messages there are in all.
    messages: u64,
}

/// How publishing to a schedule went.
struct Paced {
    published: u64,
    /// From the first message that is measured to the last answer.
    elapsed: Duration,
    /// Since the first message that is measured was due.
    meter: Meter,
}

impl Schedule {
    fn new(deliver: &Deliver) -> Self {
        let messages = |duration: Duration| (duration.as_secs_f64() * deliver.rate as f64) as u64;
        let warm_up = messages(WARM_UP);
        Self {
            started: Instant::now(),
            rate: deliver.rate,
            warm_up,
            messages: warm_up + messages(deliver.duration),
        }
    }

    fn due(&self, seq: u64) -> Instant {
        self.started + Duration::from_nanos(seq * 1_000_000_000 / self.rate)
    }

    /// Publishes each message when it is due, or, if the server is slower, when
    /// the one before it was answered. One connection, so that there is an
    /// order. Stops, short of messages, if the server is far too slow.
    fn publish(&self, server: &Server, size: usize) -> anyhow::Result<Paced> {
        let message = Message::new(server.address(), size);
        let mut connection = server.address().connect()?;
        let mut request = Vec::new();
        let mut meter = None;
        let give_up = self.due(self.messages) + DRAIN;
        let mut published = 0;
        while published < self.messages && Instant::now() < give_up {
            let due = self.due(published);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if published == self.warm_up {
                meter = Some(Meter::start(server.process())?);
            }
            message.write(&mut request, published, self.micros(due));
            connection.write_all(&request).context("cannot publish")?;
            read_answer(&mut connection)?;
            published += 1;
        }
        let Some(meter) = meter else {
            bail!("only {published} messages could be published");
        };
        Ok(Paced {
            published,
            elapsed: self.due(self.warm_up).elapsed(),
            meter,
        })
    }

    fn micros(&self, time: Instant) -> u64 {
        (time - self.started).as_micros() as u64
    }
}

fn read_answer(connection: &mut net::TcpStream) -> anyhow::Result<()> {
    let mut answer = [0; 4096];
    let mut length = 0;
    while whole_answer(&answer[..length], 201)?.is_none() {
        match connection
            .read(&mut answer[length..])
            .context("no answer to a publish")?
        {
            0 => bail!("the server closed the publisher's connection"),
            more => length += more,
        }
    }
    Ok(())
}

/// All open streams, served by one thread.
struct Receivers {
    poll: Poll,
    events: Events,
    streams: Vec<Stream>,
    buffer: Box<[u8]>,
    open: usize,
    /// None until there is something to measure.
    schedule: Option<Schedule>,
    latencies: Latencies,
    /// How many messages arrived, each counted once for each stream.
    arrived: u64,
    last_arrival: Instant,
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
    /// Opens streams, and waits until the server has said `connected` on each.
    fn open(server: Loopback, streams: usize) -> anyhow::Result<Self> {
        let mut receivers = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            streams: Vec::with_capacity(streams),
            buffer: vec![0; BUFFER].into(),
            open: 0,
            schedule: None,
            latencies: Latencies::default(),
            arrived: 0,
            last_arrival: Instant::now(),
        };
        while receivers.open < streams {
            let opening = receivers.streams.len() - receivers.open;
            if opening < OPENING_AT_ONCE && receivers.streams.len() < streams {
                receivers.connect(server).context("cannot open a stream")?;
                continue;
            }
            let open_before = receivers.open;
            receivers.receive(PATIENCE)?;
            if receivers.events.is_empty() && receivers.open == open_before {
                bail!("{open_before} of {streams} streams opened, and then none for {PATIENCE:?}");
            }
        }
        Ok(receivers)
    }

    fn connect(&mut self, server: Loopback) -> std::io::Result<()> {
        let mut connection = server.connect()?;
        write!(
            connection,
            "GET /v1/stream HTTP/1.1\r\nHost: {server}\r\nAccept: text/event-stream\r\n\r\n"
        )?;
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
            order: Order::default(),
        });
        Ok(())
    }

    /// From now on, messages are those of `schedule`.
    fn begin(&mut self, schedule: Schedule) {
        self.schedule = Some(schedule);
    }

    fn receive_until(&mut self, deadline: Instant) -> anyhow::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.receive(left)?;
        }
    }

    /// Receives until everything that was published is there, or is lost.
    fn drain(&mut self, published: u64) -> anyhow::Result<()> {
        let expected = published * self.streams.len() as u64;
        let deadline = Instant::now() + DRAIN;
        while self.arrived < expected && Instant::now() < deadline {
            self.receive(Duration::from_millis(5))?;
        }
        Ok(())
    }

    /// Takes what has arrived, or what arrives next within `timeout`.
    fn receive(&mut self, timeout: Duration) -> anyhow::Result<()> {
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
                let now = Instant::now();
                stream.take(&self.buffer[..length], |order, data| {
                    match (data, self.schedule) {
                        (Data::Connected, _) => self.open += 1,
                        (Data::Message { seq, sent }, Some(schedule))
                            if seq < schedule.messages =>
                        {
                            if !order.note(seq) {
                                return;
                            }
                            self.arrived += 1;
                            self.last_arrival = now;
                            if seq >= schedule.warm_up {
                                let sent = schedule.started + Duration::from_micros(sent);
                                self.latencies.note(now - sent);
                            }
                        }
                        _ => {}
                    }
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
