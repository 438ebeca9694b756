//! Durable clients: the server keeps their place, whatever happens to them or to it.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::{notification, server, server_with};
use notification_testkit::{EventStream, ServerProcess, eventually, signal};
use serde_json::{Value, json};

fn publish(server: &ServerProcess, message: &str) -> Value {
    let answer = server.post("/v1/events", &notification(message));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

fn connect(server: &ServerProcess, client: &str, more: &str) -> EventStream {
    let path = format!("/v1/stream?client_id={client}&durable=true{more}");
    EventStream::open(server.address(), &path, &[])
}

fn acknowledge(server: &ServerProcess, client: &str, body: &Value) -> Value {
    let answer = server.post(&format!("/v1/clients/{client}/acks"), body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn cursor(server: &ServerProcess, client: &str) -> String {
    let status = server.get(&format!("/v1/clients/{client}")).json();
    status["cursor"].as_str().unwrap().to_owned()
}

/// Waits until the server knows that the client has got everything up to `cursor`.
fn reached(server: &ServerProcess, client: &str, reached: &str) {
    eventually("the client's place follows", || {
        position(&cursor(server, client)) >= position(reached)
    });
}

/// Cursors are opaque to clients; these tests look inside to know their order.
fn position(cursor: &str) -> u64 {
    cursor.split_once('-').unwrap().1.parse().unwrap()
}

fn message(event: &Value) -> &str {
    event["message"].as_str().unwrap()
}

fn messages(events: &[Value]) -> Vec<&str> {
    events.iter().map(message).collect()
}

/// Takes notifications until the one with this message.
fn until(stream: &mut EventStream, end: &str) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let event = stream.next().expect("another event").data;
        if message(&event) == end {
            return events;
        }
        events.push(event);
    }
}

#[test]
fn a_client_that_was_away_goes_on_where_it_was() {
    let server = server(&[]);
    let mut stream = connect(&server, "alice", "");
    let seen = publish(&server, "one");
    assert_eq!(messages(&stream.take(1)), ["one"]);
    reached(&server, "alice", seen["cursor"].as_str().unwrap());
    stream.close();
    eventually("the stream is closed", || {
        publish(&server, "two")["clients_away"] == 1
    });
    let mut again = connect(&server, "alice", "");
    let missed = until_idle(&server, &mut again);
    assert!(
        !missed.is_empty() && missed.iter().all(|m| m == "two"),
        "{missed:?}"
    );
    assert_eq!(publish(&server, "three")["clients_away"], 0);
}

/// All messages that come before one that is published now.
fn until_idle(server: &ServerProcess, stream: &mut EventStream) -> Vec<String> {
    publish(server, "now");
    let before = until(stream, "now");
    before.iter().map(|e| message(e).to_owned()).collect()
}

/// What was written to a connection whose other end has lost its network never arrived.
#[cfg(target_os = "linux")]
#[test]
fn what_was_written_and_not_confirmed_comes_again() {
    let server = server_with("[stream]\nheartbeat_seconds = 1\npeer_timeout_seconds = 1");
    let mut stream = connect(&server, "alice", "");
    let one = publish(&server, "one");
    assert_eq!(messages(&stream.take(1)), ["one"]);
    reached(&server, "alice", one["cursor"].as_str().unwrap());
    let connection = stream.into_connection();
    notification_testkit::deafen(&connection);
    assert_eq!(publish(&server, "two")["subscribers"], 1);
    eventually("the connection is given up", || {
        server.metric("notification_connections") == 0.0
    });
    let mut again = connect(&server, "alice", "");
    assert_eq!(until_idle(&server, &mut again), ["two"]);
}

#[test]
fn what_a_client_says_it_has_got_comes_before_what_was_written() {
    let server = server(&[]);
    let mut stream = connect(&server, "alice", "");
    let first = publish(&server, "one")["cursor"].clone();
    let second = publish(&server, "two")["cursor"].clone();
    stream.take(2);
    reached(&server, "alice", second.as_str().unwrap());
    stream.close();
    let header = [("Last-Event-ID", first.as_str().unwrap())];
    let path = "/v1/stream?client_id=alice&durable=true";
    let mut again = EventStream::open(server.address(), path, &header);
    assert_eq!(messages(&again.take(1)), ["two"]);
}

#[test]
fn what_is_not_acknowledged_comes_again() {
    let server = server(&[]);
    let mut stream = connect(&server, "alice", "&ack=manual");
    let ids: Vec<_> = ["one", "two", "three"]
        .map(|m| publish(&server, m)["event_id"].clone())
        .to_vec();
    stream.take(3);
    let before = cursor(&server, "alice");
    acknowledge(&server, "alice", &json!({"event_ids": [ids[1]]}));
    assert_eq!(server.get("/v1/clients/alice").json()["unacknowledged"], 2);
    stream.close();

    let mut again = connect(&server, "alice", "&ack=manual");
    assert_eq!(messages(&again.take(2)), ["one", "three"]);
    let answer = acknowledge(&server, "alice", &json!({"event_ids": [ids[0], ids[2]]}));
    assert_ne!(answer["cursor"], before);
    again.close();
    let mut last = connect(&server, "alice", "&ack=manual");
    assert_eq!(until_idle(&server, &mut last), [""; 0]);
}

#[test]
fn two_streams_of_a_client_each_get_everything_and_one_acknowledgement_counts_for_both() {
    let server = server(&[]);
    let mut phone = connect(&server, "alice", "&ack=manual");
    let mut laptop = connect(&server, "alice", "&ack=manual");
    let one = publish(&server, "one");
    assert_eq!(one["subscribers"], 2);
    assert_eq!(messages(&phone.take(1)), ["one"]);
    assert_eq!(messages(&laptop.take(1)), ["one"]);
    acknowledge(&server, "alice", &json!({"cursor": one["cursor"]}));
    phone.close();
    laptop.close();
    let mut tablet = connect(&server, "alice", "&ack=manual");
    assert_eq!(until_idle(&server, &mut tablet), [""; 0]);

    let other = server.get("/v1/stream?client_id=alice&durable=true&ack=manual&topic=x");
    assert_eq!(other.status, 409, "{other:?}");
}

#[test]
fn a_client_that_acknowledges_nothing_is_not_sent_everything() {
    let server = server_with("[clients]\nmax_unacknowledged = 2");
    let mut stream = connect(&server, "alice", "&ack=manual");
    let ids: Vec<_> = ["one", "two", "three"]
        .map(|m| publish(&server, m)["event_id"].clone())
        .to_vec();
    assert_eq!(messages(&stream.take(2)), ["one", "two"]);
    let paused = stream.take(1).remove(0);
    assert_eq!(
        (&paused["status"], &paused["max_unacknowledged"]),
        (&json!("paused"), &json!(2))
    );
    assert_eq!(server.metric("notification_streams_paused_total"), 1.0);
    acknowledge(&server, "alice", &json!({"event_ids": [ids[0]]}));
    assert_eq!(messages(&stream.take(1)), ["three"]);
}

#[test]
fn a_stopped_server_knows_where_its_clients_were() {
    let mut server = server(&[]);
    let mut stream = connect(&server, "alice", "");
    let one = publish(&server, "one");
    stream.take(1);
    reached(&server, "alice", one["cursor"].as_str().unwrap());
    server.stop();
    server.restart();
    let mut again = connect(&server, "alice", "");
    assert_eq!(until_idle(&server, &mut again), [""; 0]);
}

/// Clients read and acknowledge while others publish, until the server is
/// killed. What it answered is what it knows afterwards.
#[test]
fn a_killed_server_knows_what_was_acknowledged_and_nothing_else() {
    const CLIENTS: usize = 6;
    let mut server = server(&[]);
    let clients: Vec<_> = (0..CLIENTS).map(|n| format!("c{n}")).collect();
    let streams: Vec<_> = clients
        .iter()
        .map(|client| connect(&server, client, "&ack=manual"))
        .collect();
    let counts: [AtomicUsize; CLIENTS] = Default::default();
    let hook = std::panic::take_hook();
    // The last requests fail, as they should.
    std::panic::set_hook(Box::new(|_| {}));
    let (published, acknowledged) = thread::scope(|scope| {
        let server = &server;
        let publishers: Vec<_> = (0..3)
            .map(|publisher| scope.spawn(move || publish_until_the_end(server, publisher)))
            .collect();
        let readers: Vec<_> = streams
            .into_iter()
            .zip(clients.iter().zip(&counts))
            .map(|(stream, (client, count))| {
                scope.spawn(move || acknowledge_until_the_end(server, client, stream, count))
            })
            .collect();
        // Long enough that every reader has acknowledged something. Whatever
        // comes of it, the server is killed, or the others would never end.
        let acknowledging = attempt(|| {
            eventually("events are acknowledged", || {
                counts
                    .iter()
                    .all(|count| count.load(Ordering::Relaxed) > 20)
            });
        });
        signal(server.pid(), libc::SIGKILL);
        let published: BTreeSet<_> = publishers
            .into_iter()
            .flat_map(|p| p.join().unwrap())
            .collect();
        let acknowledged: Vec<(BTreeSet<_>, BTreeSet<_>)> = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect();
        acknowledging.expect("events are acknowledged");
        (published, acknowledged)
    });
    std::panic::set_hook(hook);
    server.wait();
    server.restart();
    for (client, (acknowledged, unknown)) in clients.iter().zip(&acknowledged) {
        assert!(
            acknowledged.len() > 10,
            "{client} acknowledged {}",
            acknowledged.len()
        );
        publish(&server, "the end");
        let mut stream = connect(&server, client, "&ack=manual");
        let again = until(&mut stream, "the end");
        let again: BTreeSet<_> = again.iter().map(|e| message(e).to_owned()).collect();
        let twice: Vec<_> = again.intersection(acknowledged).collect();
        assert!(twice.is_empty(), "acknowledged, and again: {twice:?}");
        let missing: Vec<_> = published
            .iter()
            .filter(|m| {
                ![&again, acknowledged, unknown]
                    .iter()
                    .any(|set| set.contains(*m))
            })
            .collect();
        assert!(
            missing.is_empty(),
            "not acknowledged, and missing: {missing:?}"
        );
        stream.close();
    }
}

/// Does something that panics if the server is gone.
fn attempt<T>(what: impl FnOnce() -> T) -> thread::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(what))
}

fn publish_until_the_end(server: &ServerProcess, publisher: usize) -> BTreeSet<String> {
    let mut published = BTreeSet::new();
    for n in 0.. {
        let message = format!("{publisher}/{n}");
        let body = notification(&message);
        let answer = attempt(|| server.post("/v1/events", &body));
        match answer {
            Ok(answer) if answer.status == 201 => published.insert(message),
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => break,
        };
    }
    published
}

/// Acknowledges two of each three events. Returns those whose acknowledgement
/// was answered, and the last, of whose acknowledgement nobody knows.
fn acknowledge_until_the_end(
    server: &ServerProcess,
    client: &str,
    mut stream: EventStream,
    count: &AtomicUsize,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut acknowledged = BTreeSet::new();
    let path = format!("/v1/clients/{client}/acks");
    let mut asked = Vec::new();
    let mut n = 0;
    while let Ok(Some(event)) = attempt(|| stream.next()) {
        if event.data["type"] != "notification" {
            continue;
        }
        n += 1;
        // A third stays unacknowledged for as long as the window allows.
        if n % 3 == 0 && n < 300 {
            continue;
        }
        let body = json!({"event_ids": [event.data["event_id"]]});
        asked.push(message(&event.data).to_owned());
        match attempt(|| server.post(&path, &body)) {
            Ok(answer) if answer.status == 200 => {
                acknowledged.extend(asked.drain(..));
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => break,
        }
    }
    (acknowledged, asked.into_iter().collect())
}
