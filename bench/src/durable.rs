use std::time::Instant;

use anyhow::{Context, bail};
use notification_loadgen::{Connection, Message, Receivers, SIZE};
use serde_json::Value;

use crate::figures::{Figures, figure, wrong};
use crate::process::Meter;
use crate::row::TOO_LATE;
use crate::server::{Server, patiently};

/// How many events are published while they are away: in one batch.
const EVENTS: u64 = 100;

/// Clients whose place the server keeps, who were away, and come back all at
/// once without saying where they were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durable {
    pub(crate) clients: usize,
}

impl Durable {
    pub(crate) fn measure(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut publisher = Publisher::open(server)?;
        self.come_and_go(server, &mut publisher)?;
        publisher.publish(EVENTS)?;

        let meter = Meter::start(server.processes())?;
        let started = Instant::now();
        let mut receivers = Receivers::come_back(server.target(), self.paths(), 1, None)?;
        receivers.drain(EVENTS * self.clients as u64, TOO_LATE, |_| ())?;
        let cpu = meter.used()?;

        let elapsed = receivers.last_arrival() - started;
        let mut figures = vec![
            figure("all caught up ms", elapsed.as_secs_f64() * 1e3),
            figure("server CPU ms", cpu.server.as_secs_f64() * 1e3),
        ];
        figures.extend(wrong(receivers.tally(|_| publisher.published)));
        figures.extend(cpu.shares(elapsed));
        Ok(figures)
    }

    /// Lets every client come, get message 0, and go when the server knows that
    /// it has got it.
    fn come_and_go(&self, server: &Server, publisher: &mut Publisher) -> anyhow::Result<()> {
        let clients = self.clients as u64;
        let mut receivers = Receivers::open(server.target(), self.paths())?;
        let place = publisher.publish(1)?;
        receivers.drain(clients, TOO_LATE, |_| ())?;
        if receivers.arrived() < clients {
            bail!(
                "{} of {clients} clients got the first event",
                receivers.arrived()
            );
        }
        let mut connection = Connection::open(server.target())?;
        let mut unconfirmed = 0..self.clients;
        let confirmed = patiently(|| {
            while let Some(client) = unconfirmed.clone().next() {
                let answer = connection.get(&format!("/v1/clients/c{client}"))?;
                if position(&answer)? < place {
                    return Ok(false);
                }
                unconfirmed.next();
            }
            Ok(true)
        });
        confirmed
            .with_context(|| format!("client c{} has no confirmed place", unconfirmed.start))?;
        drop(receivers);
        server.wait_until_nobody_is_there()
    }

    fn paths(&self) -> impl ExactSizeIterator<Item = String> {
        (0..self.clients)
            .map(|client| format!("/v1/stream?client_id=c{client}&durable=true&topic=bench/**"))
    }
}

/// Publishes the messages 0, 1, 2 …
struct Publisher {
    connection: Connection,
    message: Message,
    published: u64,
}

impl Publisher {
    fn open(server: &Server) -> anyhow::Result<Self> {
        Ok(Self {
            connection: Connection::open(server.target())?,
            message: Message::new(server.target(), SIZE).on("bench/durable"),
            published: 0,
        })
    }

    /// Publishes so many more. Returns the place of the last.
    fn publish(&mut self, count: u64) -> anyhow::Result<u64> {
        let mut request = Vec::new();
        let next = self.published + count;
        self.message.write_batch(&mut request, self.published..next);
        self.published = next;
        let answer = self.connection.publish_for_answer(&request)?;
        let last = answer.as_array().and_then(|events| events.last());
        position(last.context("the answer to a batch is no array")?)
    }
}

/// The place in the log that the `cursor` of an answer names, behind its epoch.
fn position(answer: &Value) -> anyhow::Result<u64> {
    let cursor = answer["cursor"].as_str();
    let position = cursor.and_then(|cursor| cursor.rsplit_once('-')?.1.parse().ok());
    position.with_context(|| format!("no cursor in {answer}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cursor_ends_with_a_place() {
        let check = |answer: Value, expected: Option<u64>| {
            assert_eq!(position(&answer).ok(), expected, "{answer}");
        };
        check(json!({"cursor": "0123abcd-17"}), Some(17));
        check(json!({"cursor": "17"}), None);
        check(json!({"cursor": null}), None);
        check(json!([]), None);
    }
}
