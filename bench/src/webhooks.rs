use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::ensure;
use notification_loadgen::{Connection, Message, SIZE};
use notification_testkit::post_json;
use serde_json::json;

use crate::figures::{Figures, figure};
use crate::process::{Meter, Used};
use crate::server::{Durability, Server, patiently};
use crate::setup::Setup;

/// How many events are published at once.
const BATCH: u64 = 100;

/// Events that are posted to receivers, which take all of them, or that one takes of
/// very many who have subscribed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Webhooks {
    /// Those that want the events.
    pub(crate) receivers: usize,
    /// Those that subscribe to the same event type and want others of it.
    pub(crate) others: usize,
    pub(crate) events: u64,
}

impl Webhooks {
    pub(crate) fn measure(&self, setup: &Setup) -> anyhow::Result<Figures> {
        let settings = "[webhooks]\ndev_allow_loopback = true\n";
        let server = setup.server(Durability::Write, settings)?;
        let taken = Arc::<AtomicU64>::default();
        for _ in 0..self.receivers {
            let address = receive(&taken)?;
            let arguments = json!({"topic": "bench/**"});
            subscribe(&server, address, &arguments)?;
        }
        let nobody = receive(&taken)?;
        for number in 0..self.others {
            subscribe(
                &server,
                nobody,
                &json!({"topic": format!("other/{number}")}),
            )?;
        }
        let mut connection = Connection::open(server.target())?;
        let message = Message::new(server.target(), SIZE).on("bench/webhooks");

        let meter = Meter::start(server.processes())?;
        let started = Instant::now();
        let mut request = Vec::new();
        for first in (0..self.events).step_by(BATCH as usize) {
            request.clear();
            message.write_batch(&mut request, first..first + BATCH);
            connection.publish(&request)?;
        }
        let deliveries = self.events * self.receivers as u64;
        patiently(|| Ok(taken.load(Ordering::Relaxed) >= deliveries))?;
        let elapsed = started.elapsed();
        let used: Used = meter.used()?;

        let delivered = taken.load(Ordering::Relaxed);
        ensure!(delivered == deliveries, "{delivered} of {deliveries} came");
        let cpu = used.server.as_secs_f64() * 1e6 / deliveries as f64;
        let mut figures = vec![
            figure("deliveries/s", deliveries as f64 / elapsed.as_secs_f64()),
            figure("server CPU µs/delivery", cpu),
        ];
        figures.extend(used.shares(elapsed));
        Ok(figures)
    }
}

fn subscribe(server: &Server, to: SocketAddr, arguments: &serde_json::Value) -> anyhow::Result<()> {
    let body = json!({
        "url": format!("http://{to}/"), "event_type": "notification.sent", "arguments": arguments,
    });
    let created = post_json(server.target().address(), "/v1/webhooks", &body);
    ensure!(created.status == 201, "{created:?}");
    Ok(())
}

/// A receiver that takes everything, and counts it.
fn receive(taken: &Arc<AtomicU64>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let taken = taken.clone();
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let taken = taken.clone();
            thread::spawn(move || serve(&connection, &taken));
        }
    });
    Ok(address)
}

fn serve(connection: &TcpStream, taken: &AtomicU64) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().ok()?;
                }
                Some(_) => {}
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
        let mut writer = connection;
        writer.write_all(b"HTTP/1.1 204 Taken\r\n\r\n").ok()?;
        taken.fetch_add(1, Ordering::Relaxed);
    }
}
