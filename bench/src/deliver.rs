use std::iter;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::connection::Connection;
use crate::figures::{Figures, Latencies, figure};
use crate::message::Message;
use crate::process::Meter;
use crate::receivers::{Arrival, Receivers};
use crate::server::Server;

/// For how long the streams are idle before memory is looked at.
const IDLE: Duration = Duration::from_secs(1);

/// For how long messages are delivered, and checked, before they are measured:
/// both sides have touched all their memory then.
const WARM_UP: Duration = Duration::from_millis(500);

/// How much later than planned publishing may end before it is given up.
const LATE: Duration = Duration::from_secs(10);

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
        let open =
            |streams| Receivers::open(server.address(), iter::repeat_n("/v1/stream", streams));
        // What a server allocates for its first stream is not what a stream costs.
        drop(open(1)?);
        let resident = server.process().resident()?;
        let mut receivers = open(self.streams)?;
        receivers.receive_until(Instant::now() + IDLE, |_| ())?;
        let idle_memory = server.process().resident()?.saturating_sub(resident);

        let schedule = Schedule::new(self);
        let mut latencies = Latencies::default();
        let mut note = |arrival: Arrival| {
            if arrival.seq >= schedule.warm_up {
                latencies.note(arrival.at - schedule.time(arrival.sent));
            }
        };
        let paced = thread::scope(|scope| {
            let publisher = scope.spawn(|| schedule.publish(server, self.size));
            while !publisher.is_finished() {
                receivers.receive(Duration::from_millis(5), &mut note)?;
            }
            publisher.join().expect("the publisher does not panic")
        })?;
        receivers.drain(paced.published * self.streams as u64, note)?;
        let cpu = paced.meter.used()?;

        let elapsed = receivers.last_arrival - schedule.due(schedule.warm_up);
        let deliveries = latencies.count() as f64;
        let mut figures = vec![
            figure("deliveries/s", deliveries / elapsed.as_secs_f64()),
            figure(
                "published/s",
                (paced.published - schedule.warm_up) as f64 / paced.elapsed.as_secs_f64(),
            ),
            figure("p50 ms", latencies.quantile_ms(0.5)),
            figure("p99 ms", latencies.quantile_ms(0.99)),
            figure("max ms", latencies.max_ms()),
        ];
        figures.extend(receivers.tally(|_| paced.published).figures());
        figures.extend([
            figure(
                "server CPU s/million",
                cpu.server.as_secs_f64() * 1e6 / deliveries,
            ),
            figure(
                "server memory KB/idle stream",
                idle_memory as f64 / 1024.0 / self.streams as f64,
            ),
        ]);
        figures.extend(cpu.shares(elapsed));
        Ok(figures)
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
        let mut connection = Connection::open(server.address())?;
        let mut request = Vec::new();
        let mut meter = None;
        let give_up = self.due(self.messages) + LATE;
        let mut published = 0;
        while published < self.messages && Instant::now() < give_up {
            let due = self.due(published);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if published == self.warm_up {
                meter = Some(Meter::start(server.process())?);
            }
            message.write(&mut request, published, self.micros(due));
            connection.publish(&request)?;
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

    fn time(&self, micros: u64) -> Instant {
        self.started + Duration::from_micros(micros)
    }
}
