use std::io::{ErrorKind, Read, Write};
use std::iter;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use notification_loadgen::{
    Latencies, MAX_MESSAGES, Message, PATIENCE, Receivers, SIZE, Target, whole_answer,
};

use crate::figures::{Figures, figure, wrong};
use crate::process::Meter;
use crate::row::TOO_LATE;
use crate::server::Server;

/// Publishers in a closed loop: each publishes as soon as it has its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish {
    pub(crate) publishers: usize,
    /// How many streams are open and get everything.
    pub(crate) streams: usize,
    pub(crate) duration: Duration,
}

impl Publish {
    pub(crate) fn measure(&self, server: &Server) -> anyhow::Result<Figures> {
        let paths = iter::repeat_n("/v1/stream", self.streams);
        let mut receivers = Receivers::open(server.target(), paths)?;
        let mut load = Load::new(server.target(), self.publishers)?;
        let meter = Meter::start(server.processes())?;
        let started = Instant::now();
        thread::scope(|scope| {
            let publishing = scope.spawn(|| load.run(started + self.duration));
            while !publishing.is_finished() {
                receivers.receive(Duration::from_millis(5), |_| ())?;
            }
            publishing.join().expect("the publishers do not panic")
        })?;
        let elapsed = started.elapsed();
        let cpu = meter.used()?;

        let log = server.commits();
        let latencies = &load.latencies;
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
        if self.streams > 0 {
            let all = load.published;
            receivers.drain(all * self.streams as u64, TOO_LATE, |_| ())?;
            // Several publish at once, and nobody said whose message comes first.
            let [lost, duplicated, _] = wrong(receivers.tally(|_| all));
            figures.extend([lost, duplicated]);
        }
        figures.extend(cpu.shares(elapsed));
        Ok(figures)
    }
}

/// The publishers, served by one thread.
pub(crate) struct Load {
    poll: Poll,
    publishers: Vec<Publisher>,
    message: Message,
    latencies: Latencies,
    /// How many messages, whether or not they are answered.
    pub(crate) published: u64,
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
    pub(crate) fn new(target: &Target, publishers: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let publishers = (0..publishers).map(|index| {
            let connection = target.connect()?;
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
            message: Message::new(target, SIZE),
            latencies: Latencies::default(),
            published: 0,
            request: Vec::new(),
        })
    }

    /// Publishes until `deadline`, and until what was begun then is answered.
    pub(crate) fn run(&mut self, deadline: Instant) -> anyhow::Result<()> {
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
        let whole = whole_answer(&self.answer)?;
        if whole.is_some() {
            self.answer.clear();
        }
        Ok(whole.is_some())
    }
}
