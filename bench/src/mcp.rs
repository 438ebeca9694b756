use std::iter;
use std::time::Duration;

use anyhow::{Context, ensure};
use notification_loadgen::{Message, Pace, Receivers};
use notification_testkit::request;
use serde_json::json;

use crate::figures::{Figures, figure, wrong};
use crate::process::{Meter, Used};
use crate::server::{Durability, Server};
use crate::setup::Setup;

/// How often each way has its turn.
const ROUNDS: u32 = 5;

/// What it costs to say events in the words of MCP: the same messages to as many
/// streams, plain ones on one server, those of sessions on another and those of the
/// extension for events on a third, in turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mcp {
    pub(crate) streams: usize,
    /// In messages per second.
    pub(crate) rate: u64,
    /// In bytes.
    pub(crate) size: usize,
    /// For how long each server is measured.
    pub(crate) duration: Duration,
}

/// What a server's streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Session,
    Events,
}

/// One server, and what its turns came to.
struct Turns {
    server: Server,
    /// What opens each stream.
    requests: Vec<String>,
    deliveries: u64,
    used: Used,
    delivering: Duration,
}

impl Mcp {
    pub(crate) fn measure(&self, setup: &Setup) -> anyhow::Result<Figures> {
        let mut turns = [Way::Plain, Way::Session, Way::Events]
            .into_iter()
            .map(|way| self.start(way, setup))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut tally = Vec::new();
        for round in 0..ROUNDS as usize {
            for turn in 0..turns.len() {
                let count = turns.len();
                tally.push(self.take(&mut turns[(round + turn) % count])?);
            }
        }
        let cost = |turns: &Turns| turns.used.server.as_secs_f64() * 1e6 / turns.deliveries as f64;
        let [plain, session, events] = [0, 1, 2].map(|way| cost(&turns[way]));
        let mut figures = vec![
            figure("plain: server CPU s/million", plain),
            figure("sessions: server CPU s/million", session),
            figure("sessions ÷ plain: server CPU s/million", session / plain),
            figure("events/stream: server CPU s/million", events),
            figure(
                "events/stream ÷ plain: server CPU s/million",
                events / plain,
            ),
        ];
        figures.extend(wrong(tally.into_iter().sum()));
        let mut used = Used::default();
        turns.iter().for_each(|turns| used += turns.used);
        let delivering = turns.iter().map(|turns| turns.delivering).sum();
        figures.extend(used.shares(delivering));
        Ok(figures)
    }

    fn start(&self, way: Way, setup: &Setup) -> anyhow::Result<Turns> {
        let server = setup.server(Durability::Write, "")?;
        let head = server.target().headers();
        let requests = match way {
            Way::Plain => {
                let plain = format!("GET /v1/stream HTTP/1.1\r\n{head}\r\n");
                iter::repeat_n(plain, self.streams).collect()
            }
            Way::Session => (0..self.streams)
                .map(|_| {
                    let id = begin_session(&server)?;
                    let accept = "Accept: text/event-stream";
                    Ok(format!(
                        "GET /mcp HTTP/1.1\r\n{head}Mcp-Session-Id: {id}\r\n{accept}\r\n\r\n"
                    ))
                })
                .collect::<anyhow::Result<_>>()?,
            Way::Events => iter::repeat_n(events_stream(&head), self.streams).collect(),
        };
        Ok(Turns {
            server,
            requests,
            deliveries: 0,
            used: Used::default(),
            delivering: Duration::ZERO,
        })
    }

    fn take(&self, turns: &mut Turns) -> anyhow::Result<notification_loadgen::Tally> {
        let target = turns.server.target();
        let mut receivers = Receivers::open_requests(target, turns.requests.iter())?;
        let pace = Pace {
            rate: self.rate,
            duration: self.duration / ROUNDS,
        };
        let message = Message::new(target, self.size);
        let processes = turns.server.processes();
        let (delivered, meter) =
            pace.run(target, &message, &mut receivers, || Meter::start(processes))?;
        turns.used += meter?.used()?;
        turns.deliveries += delivered.latencies.count();
        turns.delivering += delivered.delivering;
        drop(receivers);
        turns.server.wait_until_nobody_is_there()?;
        Ok(delivered.tally)
    }
}

/// What opens a stream of the messages.
fn events_stream(head: &str) -> String {
    let version = "2026-07-28";
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "events/stream", "params": {
        "name": "notification.sent",
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    let body = body.to_string();
    let length = body.len();
    let content = format!("Content-Type: application/json\r\nContent-Length: {length}");
    let mcp = format!("MCP-Protocol-Version: {version}\r\nMcp-Method: events/stream");
    format!(
        "POST /mcp HTTP/1.1\r\n{head}Accept: text/event-stream\r\n{content}\r\n{mcp}\r\n\r\n{body}"
    )
}

/// The id of a new session.
fn begin_session(server: &Server) -> anyhow::Result<String> {
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "notification-bench", "version": "1"}}});
    let address = server.target().address();
    let begun = request(address, "POST", "/mcp", &headers, &initialize.to_string());
    ensure!(begun.status == 200, "initialize: {}", begun.status);
    let id = begun.header("mcp-session-id");
    Ok(id.context("initialize: no session")?.to_owned())
}
