use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use notification_loadgen::{Connection, MAX_MESSAGES, Message, Receivers, SIZE};

use crate::figures::{Figures, figure, wrong};
use crate::process::Meter;
use crate::row::TOO_LATE;
use crate::server::Server;

/// A publisher in a closed loop, to many topics in turn, each of which has an
/// open stream of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topics {
    pub(crate) topics: usize,
    pub(crate) duration: Duration,
}

/// How publishing to them went.
struct Published {
    /// To all topics, also before the clock started.
    all: u64,
    /// Since then.
    measured: u64,
    elapsed: Duration,
    meter: Meter,
}

impl Topics {
    pub(crate) fn measure(&self, server: &Server) -> anyhow::Result<Figures> {
        let paths = (0..self.topics).map(|index| format!("/v1/stream?topic={}", topic(index)));
        let mut receivers = Receivers::open(server.target(), paths)?;
        let published = thread::scope(|scope| {
            let publisher = scope.spawn(|| self.publish(server));
            while !publisher.is_finished() {
                receivers.receive(Duration::from_millis(5), |_| ())?;
            }
            publisher.join().expect("the publisher does not panic")
        })?;
        receivers.drain(published.all, TOO_LATE, |_| ())?;
        let cpu = published.meter.used()?;

        let measured = published.measured as f64;
        let mut figures = vec![
            figure("publishes/s", measured / published.elapsed.as_secs_f64()),
            figure(
                "server CPU µs/publish",
                cpu.server.as_secs_f64() * 1e6 / measured,
            ),
        ];
        let tally = receivers.tally(|index| self.published_to(index, published.all));
        figures.extend(wrong(tally));
        figures.extend(cpu.shares(published.elapsed));
        Ok(figures)
    }

    /// One message to each topic before the clock starts: both sides have
    /// touched what belongs to it then.
    fn publish(&self, server: &Server) -> anyhow::Result<Published> {
        let message = Message::new(server.target(), SIZE);
        let messages: Vec<_> = (0..self.topics)
            .map(|index| message.clone().on(&topic(index)))
            .collect();
        let mut connection = Connection::open(server.target())?;
        let mut request = Vec::new();
        let mut publish = |number: u64| {
            let (round, index) = self.turn(number);
            messages[index].write(&mut request, round, 0);
            connection.publish(&request).context("cannot publish")
        };
        let warm_up = self.topics as u64;
        (0..warm_up).try_for_each(&mut publish)?;
        let meter = Meter::start(server.processes())?;
        let started = Instant::now();
        let mut all = warm_up;
        while started.elapsed() < self.duration && all < MAX_MESSAGES {
            publish(all)?;
            all += 1;
        }
        Ok(Published {
            all,
            measured: all - warm_up,
            elapsed: started.elapsed(),
            meter,
        })
    }

    /// The number that message `number` of all has in its topic, and which topic that is.
    fn turn(&self, number: u64) -> (u64, usize) {
        let topics = self.topics as u64;
        (number / topics, (number % topics) as usize)
    }

    /// How many of the first `all` messages are for one topic. One that came to
    /// another topic's stream besides would be a duplicate there.
    fn published_to(&self, index: usize, all: u64) -> u64 {
        let (rounds, begun) = self.turn(all);
        rounds + u64::from(index < begun)
    }
}

fn topic(index: usize) -> String {
    format!("bench/t{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_take_turns() {
        for (topics, all) in [(1, 0), (1, 5), (3, 2), (3, 3), (3, 7), (100, 250)] {
            let row = Topics {
                topics,
                duration: Duration::ZERO,
            };
            let mut next = vec![0; topics];
            for number in 0..all {
                let (seq, index) = row.turn(number);
                assert_eq!(seq, next[index], "{topics} {number}");
                next[index] += 1;
            }
            let published: Vec<_> = (0..topics).map(|i| row.published_to(i, all)).collect();
            assert_eq!(published, next, "{topics} {all}");
        }
    }
}
