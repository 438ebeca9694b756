use std::thread;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::error::LoadError;
use crate::latencies::Latencies;
use crate::message::Message;
use crate::receivers::{Arrival, Receivers};
use crate::sequence::Tally;
use crate::target::Target;

/// For how long messages are delivered, and checked, before they are measured:
/// both sides have touched all their memory then.
const WARM_UP: Duration = Duration::from_millis(500);

/// How much later than planned publishing may end before it is given up, and
/// how long after it what has not arrived counts as lost.
const LATE: Duration = Duration::from_secs(10);

/// Messages at a steady rate.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// In messages per second.
    pub rate: u64,
    /// For how long they are measured, after half a second of warm-up.
    pub duration: Duration,
}

/// What came of publishing at a [`Pace`] to open streams.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// How many messages were published, the warm-up's too.
    pub published: u64,
    /// How many of them were to be measured, and were published.
    pub measured: u64,
    /// How many should have been.
    pub planned: u64,
    /// From when the first message that is measured was due to the last answer.
    pub publishing: Duration,
    /// From when it was due to when the last delivery was read.
    pub delivering: Duration,
    /// Of the deliveries that are measured, from when their message was due
    /// until they were read.
    pub latencies: Latencies,
    /// What was found wrong, in the warm-up too.
    pub tally: Tally,
    /// How many bytes the streams got for a delivery, on average.
    pub bytes: f64,
}

impl Delivered {
    /// In messages per second, over the time they took.
    pub fn published_per_second(&self) -> f64 {
        self.measured as f64 / self.publishing.as_secs_f64()
    }

    /// Messages in a second, each counted once for each stream.
    pub fn deliveries_per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.delivering.as_secs_f64()
    }
}

impl Pace {
    /// Publishes over one connection, so that there is an order, and reads the
    /// streams on this thread. Calls `begin` when measuring begins, and returns
    /// what it returned.
    pub fn run<B: Send>(
        self,
        target: &Target,
        message: &Message,
        receivers: &mut Receivers,
        begin: impl FnOnce() -> B + Send,
    ) -> Result<(Delivered, B), LoadError> {
        let schedule = Schedule::new(self);
        let mut latencies = Latencies::default();
        let mut note = |arrival: Arrival| {
            if arrival.seq >= schedule.warm_up {
                latencies.note(
                    arrival
                        .at
                        .saturating_duration_since(schedule.time(arrival.sent)),
                );
            }
        };
        let (bytes, arrived) = (receivers.bytes(), receivers.arrived());
        let paced = thread::scope(|scope| {
            let publisher = scope.spawn(|| schedule.publish(target, message, begin));
            while !publisher.is_finished() {
                receivers.receive(Duration::from_millis(5), &mut note)?;
            }
            publisher.join().expect("the publisher does not panic")
        })?;
        receivers.drain(
            arrived + paced.published * receivers.streams() as u64,
            LATE,
            note,
        )?;
        let began = schedule.due(schedule.warm_up);
        let deliveries = receivers.arrived() - arrived;
        let delivered = Delivered {
            published: paced.published,
            measured: paced.published - schedule.warm_up,
            planned: schedule.messages - schedule.warm_up,
            publishing: paced.elapsed,
            delivering: receivers.last_arrival().saturating_duration_since(began),
            latencies,
            tally: receivers.tally(|_| paced.published),
            bytes: (receivers.bytes() - bytes) as f64 / deliveries.max(1) as f64,
        };
        Ok((delivered, paced.begun))
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
struct Paced<B> {
    published: u64,
    /// From the first message that is measured to the last answer.
    elapsed: Duration,
    /// What there was when the first message that is measured was due.
    begun: B,
}

impl Schedule {
    fn new(pace: Pace) -> Self {
        let messages = |duration: Duration| (duration.as_secs_f64() * pace.rate as f64) as u64;
        let warm_up = messages(WARM_UP);
        Self {
            started: Instant::now(),
            rate: pace.rate,
            warm_up,
            messages: warm_up + messages(pace.duration),
        }
    }

    fn due(&self, seq: u64) -> Instant {
        self.started + Duration::from_nanos(seq * 1_000_000_000 / self.rate)
    }

    /// Publishes each message when it is due, or, if the server is slower, when
    /// the one before it was answered. Stops, short of messages, if the server
    /// is far too slow.
    fn publish<B>(
        &self,
        target: &Target,
        message: &Message,
        begin: impl FnOnce() -> B,
    ) -> Result<Paced<B>, LoadError> {
        let mut connection = Connection::open(target)?;
        let mut request = Vec::new();
        let (mut begin, mut begun) = (Some(begin), None);
        let give_up = self.due(self.messages) + LATE;
        let mut published = 0;
        while published < self.messages && Instant::now() < give_up {
            let due = self.due(published);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if published == self.warm_up {
                begun = begin.take().map(|begin| begin());
            }
            message.write(&mut request, published, self.micros(due));
            connection.publish(&request)?;
            published += 1;
        }
        let begun = begun.ok_or(LoadError::TooSlow(published))?;
        Ok(Paced {
            published,
            elapsed: self.due(self.warm_up).elapsed(),
            begun,
        })
    }

    fn micros(&self, time: Instant) -> u64 {
        (time - self.started).as_micros() as u64
    }

    fn time(&self, micros: u64) -> Instant {
        self.started + Duration::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_a_steady_rate_after_the_warm_up() {
        let schedule = Schedule::new(Pace {
            rate: 200,
            duration: Duration::from_secs(3),
        });
        assert_eq!((schedule.warm_up, schedule.messages), (100, 700));
        let due = schedule.due(schedule.warm_up);
        assert_eq!(due - schedule.started, WARM_UP);
        assert_eq!(schedule.time(schedule.micros(due)), due);
    }
}
