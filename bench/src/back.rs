use std::iter;
use std::time::Instant;

use anyhow::Context;
use notification_loadgen::{Connection, Receivers, SIZE};

use crate::figures::{Figures, figure, wrong};
use crate::peers::Running;
use crate::process::Meter;
use crate::row::TOO_LATE;

/// How many events each stream has missed.
const MISSED: u64 = 100;

/// Streams that come back all at once, and say with `Last-Event-ID` where they were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back {
    pub(crate) streams: usize,
}

impl Back {
    pub(crate) fn measure(&self, peer: &dyn Running) -> anyhow::Result<Figures> {
        let target = peer.target();
        let mut connection = Connection::open(peer.publish_target())?;
        let message = peer.message(SIZE);
        let mut request = Vec::new();
        message.write(&mut request, 0, 0);
        let id = peer.id(connection.publish_for_body(&request)?);
        let id = id.context("the answer to publishing has no id")?;
        for seq in 1..=MISSED {
            message.write(&mut request, seq, 0);
            connection.publish(&request)?;
        }

        let meter = Meter::start(peer.processes()?)?;
        let started = Instant::now();
        let paths = iter::repeat_n(peer.stream_path(), self.streams);
        let mut receivers = Receivers::come_back(target, paths, 1, Some(&id))?;
        receivers.drain(MISSED * self.streams as u64, TOO_LATE, |_| ())?;
        let cpu = meter.used()?;

        let elapsed = receivers.last_arrival() - started;
        let mut figures = vec![
            figure("all caught up ms", elapsed.as_secs_f64() * 1e3),
            figure("server CPU ms", cpu.server.as_secs_f64() * 1e3),
        ];
        figures.extend(wrong(receivers.tally(|_| MISSED + 1)));
        figures.extend(cpu.shares(elapsed));
        Ok(figures)
    }
}
