use std::iter;
use std::time::{Duration, Instant};

use notification_loadgen::{Pace, Receivers};

use crate::figures::{Figures, figure, wrong};
use crate::peers::Running;
use crate::process::Meter;
use crate::stalled::Stalled;

/// For how long the streams are idle before memory is looked at.
const IDLE: Duration = Duration::from_secs(1);

/// Later than this a delivery is not in time.
const IN_TIME: Duration = Duration::from_secs(1);

/// Messages at a steady rate to many open streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deliver {
    /// Those that are read.
    pub(crate) streams: usize,
    /// How many more there are that are never read.
    pub(crate) stalled: usize,
    /// In messages per second.
    pub(crate) rate: u64,
    /// In bytes.
    pub(crate) size: usize,
    pub(crate) duration: Duration,
    /// What is measured besides the deliveries.
    pub(crate) look_at: LookAt,
}

/// What else one run of a delivery can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookAt {
    /// The memory of an idle stream.
    Idle,
    /// That, and what it costs to open one.
    Opening,
    /// The memory in the end.
    End,
}

impl Deliver {
    pub(crate) fn measure(&self, peer: &dyn Running) -> anyhow::Result<Figures> {
        let target = peer.target();
        let path = peer.stream_path();
        let open = |streams| Receivers::open(target, iter::repeat_n(path, streams));
        // What a server allocates for its first stream is not what a stream costs.
        drop(open(1)?);
        let memory_before = peer.processes()?.memory()?;
        let opening = Meter::start(peer.processes()?)?;
        let began = Instant::now();
        let mut receivers = open(self.streams)?;
        let (opening, open_after) = (opening.used()?, began.elapsed());
        let _stalled = Stalled::open(target, path, self.stalled)?;
        receivers.receive_until(Instant::now() + IDLE, |_| ())?;
        let idle_memory = peer.processes()?.memory()?.saturating_sub(memory_before);

        let pace = Pace {
            rate: self.rate,
            duration: self.duration,
        };
        let (publish_target, message) = (peer.publish_target(), peer.message(self.size));
        let (delivered, meter) = pace.run(publish_target, &message, &mut receivers, || {
            Meter::start(peer.processes()?)
        })?;
        let cpu = meter?.used()?;
        if receivers.broken() > 0 {
            eprintln!("  {} streams broke", receivers.broken());
        }

        let latencies = &delivered.latencies;
        let deliveries = latencies.count() as f64;
        let planned = delivered.planned * self.streams as u64;
        let in_time = latencies.within(IN_TIME) as f64 / planned as f64;
        let mut figures = vec![
            figure("deliveries/s", delivered.deliveries_per_second()),
            figure("published/s", delivered.published_per_second()),
            figure("delivered within 1 s %", in_time * 100.0),
            figure("p50 ms", latencies.quantile_ms(0.5)),
            figure("p99 ms", latencies.quantile_ms(0.99)),
            figure("max ms", latencies.max_ms()),
        ];
        figures.extend(wrong(delivered.tally));
        figures.extend([
            figure("bytes/delivery", delivered.bytes),
            figure(
                "server CPU s/million",
                cpu.server.as_secs_f64() * 1e6 / deliveries,
            ),
        ]);
        let streams = self.streams as f64;
        if self.look_at == LookAt::Opening {
            figures.extend([
                figure("opening all ms", open_after.as_secs_f64() * 1e3),
                figure(
                    "server CPU µs/connection",
                    opening.server.as_secs_f64() * 1e6 / streams,
                ),
            ]);
        }
        figures.push(match self.look_at {
            LookAt::Idle | LookAt::Opening => figure(
                "server memory KB/idle stream",
                idle_memory as f64 / 1024.0 / streams,
            ),
            LookAt::End => figure(
                "server memory MB",
                peer.processes()?.memory()? as f64 / 1024.0 / 1024.0,
            ),
        });
        figures.extend(cpu.shares(delivered.delivering));
        Ok(figures)
    }
}
