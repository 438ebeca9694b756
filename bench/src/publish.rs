use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::figures::{Figures, Latencies, figure};
use crate::http::whole_answer;
use crate::message::{MAX_MESSAGES, Message, SIZE};
use crate::process::Meter;
use crate::server::{Loopback, PATIENCE, Server};

/// Publishers in a closed loop: each publishes as soon as it has its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish {
    pub(crate) publishers: usize,
    pub(crate) duration: Duration,
}

impl Publish {
    pub(crate) fn measure(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut load = Load::new(server.address(), self.publishers)?;
        let meter = Meter::start(server.process())?;
        let started = Instant::now();
        load.run(started + self.duration)?;
        let elapsed = started.elapsed();
        let cpu = meter.used()?;

        let log = server.commits();
        let latencies = load.latencies;
        let published = latencies.count() as f64;
        if log.events != published {
            bail!(
                "the server answered {published} publishes, and committed {}",
                log.events
            );
        }
        let mut figures = vec![
            figure("publishes/s", published / elapsed.as_secs_f64()),
            figure("p50 ms", latencies.quantile_ms(0.5)),
            figure("p99 ms", latencies.quantile_ms(0.99)),
            figure("events per commit", log.events / log.commits),
            figure("commits/s", log.commits / elapsed.as_secs_f64()),
            figure(
                "server CPU µs/publish",
                cpu.server.as_secs_f64() * 1e6 / published,
            ),
        ];
        figures.extend(cpu.shares(elapsed));
        Ok(figures)
    }
}

/// The publishers, served by one thread.
struct Load {
    poll: Poll,
    publishers: Vec<Publisher>,
    message: Message,
    latencies: Latencies,
    published: u64,
    /// The request that is being written.
    request: Vec<u8>,
}

struct Publisher {
    connection: TcpStream,
    /// The beginning of an answer.
    answer: Vec<u8>,
    published_at: Instant,
}

impl Load {
    fn new(server: Loopback, publishers: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let publishers = (0..publishers).map(|index| {
            let connection = server.connect()?;
            connection.set_nonblocking(true)?;
            let mut connection = TcpStream::from_std(connection);
            poll.registry()
                .register(&mut connection, Token(index), Interest::READABLE)?;
            Ok(Publisher {
                connection,
                answer: Vec::new(),
                published_at: Instant::now(),
            })
        });
        Ok(Self {
            publishers: publishers.collect::<std::io::Result<_>>()?,
            poll,
            message: Message::new(server, SIZE),
            latencies: Latencies::default(),
            published: 0,
            request: Vec::new(),
        })
    }

    /// Publishes until `deadline`, and until what was begun then is answered.
    fn run(&mut self, deadline: Instant) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(self.publishers.len());
        let mut waiting = self.publishers.len();
        for index in 0..self.publishers.len() {
            self.publish(index)?;
        }
        while waiting > 0 {
            poll_patiently(&mut self.poll, &mut events)?;
            for event in &events {
                let index = event.token().0;
                if !self.publishers[index].take_answer()? {
                    continue;
                }
                let now = Instant::now();
                let latency = now - self.publishers[index].published_at;
                self.latencies.note(latency);
                match now < deadline && self.published < MAX_MESSAGES {
                    true => self.publish(index)?,
                    false => waiting -= 1,
                }
            }
        }
        Ok(())
    }

    fn publish(&mut self, index: usize) -> anyhow::Result<()> {
        let publisher = &mut self.publishers[index];
        publisher.published_at = Instant::now();
        self.message.write(&mut self.request, self.published, 0);
        self.published += 1;
        // The one before was answered, so the socket's buffer is empty.
        let written = publisher.connection.write(&self.request);
        match written.context("cannot publish")? {
            whole if whole == self.request.len() => Ok(()),
            _ => bail!(
                "the kernel did not take {} bytes at once",
                self.request.len()
            ),
        }
    }
}

fn poll_patiently(poll: &mut Poll, events: &mut Events) -> anyhow::Result<()> {
    match poll.poll(events, Some(PATIENCE)) {
        Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
        Ok(()) if events.is_empty() => bail!("no answer for {PATIENCE:?}"),
        _ => Ok(()),
    }
}

impl Publisher {
    /// Reads what there is. True if it completes the answer.
    fn take_answer(&mut self) -> anyhow::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.connection.read(&mut buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(length) => {
                    self.answer.extend_from_slice(&buffer[..length]);
                    // A short read has emptied the socket: what comes later is
                    // announced anew (epoll(7), question 9).
                    if length < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let whole = whole_answer(&self.answer, 201)?;
        if whole.is_some() {
            self.answer.clear();
        }
        Ok(whole.is_some())
    }
}
