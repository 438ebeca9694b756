use std::iter;
use std::time::Instant;

use notification_loadgen::{Connection, Message, Receivers, SIZE};

use crate::figures::{Figures, figure, wrong};
use crate::process::Meter;
use crate::row::TOO_LATE;
use crate::server::Server;

/// How many events one request publishes: the most that the server takes.
const BATCH: u64 = 1_000;

/// One stream that asks for everything that was published before it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replay {
    pub(crate) events: u64,
}

impl Replay {
    /// What the server has to be told: a million of these events are more than
    /// the 256 MiB that it keeps by itself.
    pub(crate) const SETTINGS: &str = "[retention]\nmax_bytes = 0\n";

    pub(crate) fn measure(&self, server: &Server) -> anyhow::Result<Figures> {
        self.publish(server)?;
        let meter = Meter::start(server.processes())?;
        let started = Instant::now();
        let path = iter::once("/v1/stream?since=all");
        let mut receivers = Receivers::open(server.target(), path)?;
        receivers.drain(self.events, TOO_LATE, |_| ())?;
        let cpu = meter.used()?;

        let elapsed = receivers.last_arrival() - started;
        let events = receivers.arrived() as f64;
        let mut figures = vec![
            figure("events/s", events / elapsed.as_secs_f64()),
            figure(
                "MB/s",
                receivers.bytes() as f64 / 1e6 / elapsed.as_secs_f64(),
            ),
            figure(
                "server CPU µs/event",
                cpu.server.as_secs_f64() * 1e6 / events,
            ),
        ];
        figures.extend(wrong(receivers.tally(|_| self.events)));
        figures.extend(cpu.shares(elapsed));
        Ok(figures)
    }

    fn publish(&self, server: &Server) -> anyhow::Result<()> {
        let message = Message::new(server.target(), SIZE);
        let mut connection = Connection::open(server.target())?;
        let mut request = Vec::new();
        for first in (0..self.events).step_by(BATCH as usize) {
            message.write_batch(&mut request, first..self.events.min(first + BATCH));
            connection.publish(&request)?;
        }
        Ok(())
    }
}
