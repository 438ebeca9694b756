use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use notification_loadgen::{Connection, Message, SIZE};
use serde_json::{Value, json};

use crate::figures::{Figures, figure};
use crate::process::{Meter, Used};
use crate::server::{Durability, Server};
use crate::setup::Setup;

/// How many events one answer has, where it has some.
const EVENTS: u64 = 100;

/// One client that asks again and again what has happened (`events/poll`): when
/// nothing has, and when a hundred events have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poll {
    /// For how long it asks, each.
    pub(crate) duration: Duration,
}

impl Poll {
    pub(crate) fn measure(&self, setup: &Setup) -> anyhow::Result<Figures> {
        let server = setup.server(Durability::Write, "")?;
        let mut connection = Connection::open(server.target())?;
        let start = ask(&server, &mut connection, &Value::Null)?;
        let mut request = Vec::new();
        let message = Message::new(server.target(), SIZE);
        message.write_batch(&mut request, 0..EVENTS);
        connection.publish(&request)?;
        let all = ask(&server, &mut connection, &start["cursor"])?;
        let count = all["events"].as_array().map_or(0, Vec::len);
        ensure!(count == EVENTS as usize, "{count} events");

        let mut used = Used::default();
        let nothing = self.repeat(&server, &mut connection, &all["cursor"], &mut used)?;
        let hundred = self.repeat(&server, &mut connection, &start["cursor"], &mut used)?;
        let mut figures = vec![
            figure("polls/s, nothing new", nothing.0),
            figure("server CPU µs/poll, nothing new", nothing.1),
            figure("polls/s, 100 events", hundred.0),
            figure("server CPU µs/poll, 100 events", hundred.1),
        ];
        figures.extend(used.shares(self.duration * 2));
        Ok(figures)
    }

    /// How many answers come in a second, and what one costs the server.
    fn repeat(
        &self,
        server: &Server,
        connection: &mut Connection,
        cursor: &Value,
        used: &mut Used,
    ) -> anyhow::Result<(f64, f64)> {
        let request = request(server, cursor);
        let meter = Meter::start(server.processes())?;
        let started = Instant::now();
        let mut polls = 0_u64;
        while started.elapsed() < self.duration {
            connection.publish(request.as_bytes())?;
            polls += 1;
        }
        let elapsed = started.elapsed().as_secs_f64();
        let own = meter.used()?;
        *used += own;
        let polls = polls as f64;
        Ok((polls / elapsed, own.server.as_secs_f64() * 1e6 / polls))
    }
}

fn ask(server: &Server, connection: &mut Connection, cursor: &Value) -> anyhow::Result<Value> {
    let request = request(server, cursor);
    let answer = connection.publish_for_answer(request.as_bytes())?;
    let result = answer.get("result").cloned();
    result.with_context(|| format!("events/poll: {answer}"))
}

fn request(server: &Server, cursor: &Value) -> String {
    let version = "2026-07-28";
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "events/poll", "params": {
        "name": "notification.sent", "cursor": cursor,
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    let (head, body) = (server.target().headers(), body.to_string());
    let length = body.len();
    format!(
        "POST /mcp HTTP/1.1\r\n{head}Accept: application/json, text/event-stream\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\
         MCP-Protocol-Version: {version}\r\nMcp-Method: events/poll\r\n\r\n{body}"
    )
}
