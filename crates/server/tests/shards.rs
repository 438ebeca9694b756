//! Streams that leave hyper, on real sockets: they are what they would be there.
//! A head that comes in one packet leaves, one that comes in two stays.

#[path = "common/mod.rs"]
mod common;
#[path = "common/modern.rs"]
mod modern;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{notification, server, server_with};
use modern::Modern;
use notification_testkit::{DEADLINE, EventStream, ServerProcess, eventually};
use serde_json::{Value, json};

/// How the head of a request comes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// In one packet.
    Shard,
    /// In two.
    Hyper,
}

const WAYS: [Way; 2] = [Way::Shard, Way::Hyper];

fn connect(server: &ServerProcess) -> TcpStream {
    let connection = TcpStream::connect(server.address()).unwrap();
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    connection.set_nodelay(true).unwrap();
    connection
}

fn head(path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("GET {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head += "Host: localhost\r\n";
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

fn ask(connection: &mut TcpStream, head: &str, way: Way) {
    match way {
        Way::Shard => connection.write_all(head.as_bytes()).unwrap(),
        Way::Hyper => {
            let (start, end) = head.split_at(head.len() / 2);
            connection.write_all(start.as_bytes()).unwrap();
            // So that the server sees that they are two.
            thread::sleep(Duration::from_millis(100));
            connection.write_all(end.as_bytes()).unwrap();
        }
    }
}

fn open(server: &ServerProcess, path: &str, way: Way) -> EventStream {
    let mut connection = connect(server);
    ask(&mut connection, &head(path, &[]), way);
    EventStream::answered_on(connection)
}

/// The lines of an answer's head, apart from its date.
fn answer_head(connection: &mut TcpStream) -> Vec<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let lines = head.split("\r\n").filter(|line| !line.starts_with("date:"));
    let kept: Vec<_> = lines.map(str::to_owned).collect();
    assert_eq!(kept.len() + 1, head.split("\r\n").count(), "one date");
    kept
}

/// An answer that has a length.
fn answer(connection: &mut TcpStream) -> (Vec<String>, String) {
    let head = answer_head(connection);
    let mut lengths = head
        .iter()
        .filter_map(|l| l.strip_prefix("content-length: "));
    let length = lengths.next().expect("a length").parse().unwrap();
    let mut body = vec![0; length];
    connection.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn publish(server: &ServerProcess, messages: impl Iterator<Item = String>) {
    let events = messages.map(|message| notification(&message)).collect();
    let answer = server.post("/v1/events", &Value::Array(events));
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn connections(server: &ServerProcess) -> f64 {
    server.metric("notification_connections")
}

/// Reads to the end, however it comes, and not for ever if there are heartbeats.
fn read_out(connection: &mut TcpStream) {
    let begun = Instant::now();
    let mut some = [0; 4_096];
    loop {
        match connection.read(&mut some) {
            Ok(0) => return,
            Ok(_) => assert!(begun.elapsed() < DEADLINE, "there is no end"),
            Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn the_head_of_a_stream_is_the_one_that_hyper_writes() {
    let server = server(&[]);
    let origin = ("Origin", "http://localhost:3000");
    for path in ["/v1/stream?topic=a", "/mcp", "/v1/stream?since=all"] {
        for headers in [&[][..], &[origin], &[("Connection", "keep-alive")]] {
            let heads = WAYS.map(|way| {
                let mut connection = connect(&server);
                ask(&mut connection, &head(path, headers), way);
                answer_head(&mut connection)
            });
            assert_eq!(heads[0][0], "HTTP/1.1 200 OK");
            assert_eq!(heads[0], heads[1], "{path} {headers:?}");
        }
    }
}

#[test]
fn a_refusal_is_the_same_whoever_read_the_request() {
    let server = server(&[]);
    for path in ["/v1/stream", "/mcp"] {
        let unknown = format!("{path}?colour=red");
        for (path, headers, status) in [
            (unknown.as_str(), &[][..], 400),
            (path, &[("Last-Event-ID", "yesterday")], 400),
            (path, &[("Host", "evil.test")], 403),
            (path, &[("Origin", "https://evil.test")], 403),
            (path, &[("Accept", "image/png")], 406),
        ] {
            let answers = WAYS.map(|way| {
                let mut connection = connect(&server);
                ask(&mut connection, &head(path, headers), way);
                let refusal = answer(&mut connection);
                // The connection can still be used.
                ask(&mut connection, &head("/healthz", &[]), way);
                assert_eq!(answer(&mut connection).0[0], "HTTP/1.1 200 OK");
                refusal
            });
            assert!(answers[0].0[0].starts_with(&format!("HTTP/1.1 {status} ")));
            assert_eq!(answers[0], answers[1], "{path} {headers:?}");
        }
    }
    assert_eq!(connections(&server), 0.0);
}

/// A stream of MCP events, which is asked for in a body.
fn asked_in_a_body(params: &Value, more: &[(&str, &str)]) -> String {
    let request = Modern::new("events/stream", params.clone());
    let (mut headers, body) = (request.headers(), request.body.to_string());
    let length = body.len().to_string();
    headers.push(("Content-Length", &length));
    headers.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    headers.extend(more);
    head("/mcp", &headers).replacen("GET", "POST", 1) + &body
}

#[test]
fn a_stream_that_is_asked_for_in_a_body_is_the_same() {
    let server = server(&[]);
    let wanted = json!({"name": "notification.sent"});
    let streams = WAYS.map(|way| {
        let mut connection = connect(&server);
        ask(&mut connection, &asked_in_a_body(&wanted, &[]), way);
        let head = answer_head(&mut connection.try_clone().unwrap());
        assert_eq!(head[0], "HTTP/1.1 200 OK");
        (head, connection)
    });
    assert_eq!(streams[0].0, streams[1].0);
    assert_eq!(connections(&server), 2.0);
    publish(&server, ["one".to_owned()].into_iter());
    for (_, mut connection) in streams {
        let mut said = String::new();
        while !said.contains("notifications/events/event") {
            let mut some = [0; 4_096];
            let read = connection.read(&mut some).unwrap();
            assert!(read > 0, "{said}");
            said += std::str::from_utf8(&some[..read]).unwrap();
        }
        assert!(said.contains("notifications/events/active") && said.contains("\"one\""));
        drop(connection);
    }
    eventually("they are over", || connections(&server) == 0.0);
    for (params, headers, status) in [
        (json!({"name": "nobody.knows"}), &[][..], 200),
        (
            json!({"name": "notification.sent", "colour": "red"}),
            &[],
            200,
        ),
        (
            wanted.clone(),
            &[("MCP-Protocol-Version", "2999-01-01")],
            400,
        ),
        (wanted.clone(), &[("Content-Type", "text/plain")], 415),
        (wanted.clone(), &[("Origin", "https://evil.test")], 403),
        (wanted.clone(), &[("Accept", "image/png")], 406),
    ] {
        let answers = WAYS.map(|way| {
            let mut connection = connect(&server);
            let whole = asked_in_a_body(&params, headers);
            ask(&mut connection, &whole, way);
            let refusal = answer(&mut connection);
            // The connection can still be used, if its body was of interest.
            if status == 200 {
                ask(&mut connection, &head("/healthz", &[]), way);
                assert_eq!(answer(&mut connection).0[0], "HTTP/1.1 200 OK");
            }
            refusal
        });
        let line = &answers[0].0[0];
        assert!(
            line.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line} {headers:?}"
        );
        assert_eq!(answers[0], answers[1], "{params} {headers:?}");
    }
    assert_eq!(connections(&server), 0.0);
}

#[test]
fn who_does_not_read_holds_nobody_up_and_gets_everything_when_it_does() {
    const EVENTS: usize = 600;
    const STALLED: usize = 100;
    let server = server(&[]);
    let mut stalled: Vec<_> = (0..STALLED)
        .map(|_| open(&server, "/v1/stream", Way::Shard))
        .collect();
    let mut good: Vec<_> = (0..5)
        .map(|_| open(&server, "/v1/stream", Way::Shard))
        .collect();
    let check = |stream: &mut EventStream| {
        assert_eq!(stream.next().unwrap().data["status"], "connected");
        for n in 0..EVENTS {
            let event = stream.next().expect("it was not cut off").data;
            let message = event["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("{n} ")), "{n}: {message:.10}");
        }
    };
    let filler = "x".repeat(3_000);
    thread::scope(|scope| {
        let readers = good.iter_mut().map(|stream| scope.spawn(|| check(stream)));
        let readers: Vec<_> = readers.collect();
        for batch in 0..EVENTS / 20 {
            let numbers = batch * 20..batch * 20 + 20;
            publish(&server, numbers.map(|n| format!("{n} {filler}")));
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
    let list = server.get("/v1/connections").json();
    let list = list["connections"].as_array().unwrap();
    let behind = list.iter().filter(|of| of["lag"].as_u64().unwrap() > 0);
    assert_eq!(behind.count(), STALLED, "more than all buffers hold");
    stalled.iter_mut().for_each(check);
    assert_eq!(connections(&server), (STALLED + good.len()) as f64);
}

#[test]
fn a_client_that_ends_its_half_ends_the_stream() {
    let server = server(&[]);
    for way in WAYS {
        let mut connection = open(&server, "/v1/stream", way).into_connection();
        eventually("it is open", || connections(&server) == 1.0);
        connection.shutdown(Shutdown::Write).unwrap();
        read_out(&mut connection);
        eventually("it is over", || connections(&server) == 0.0);
    }
}

#[test]
fn a_client_that_goes_on_sending_is_let_go() {
    let server = server(&[]);
    let mut connection = open(&server, "/v1/stream", Way::Shard).into_connection();
    // A little does not matter.
    connection.write_all(&[b'x'; 1_000]).unwrap();
    publish(&server, ["still there".to_owned()].into_iter());
    let mut byte = [0];
    connection.read_exact(&mut byte).unwrap();
    assert_eq!(connections(&server), 1.0);
    let _ = connection.write_all(&[b'x'; 32 << 10]);
    read_out(&mut connection);
    eventually("it is over", || connections(&server) == 0.0);
}

#[test]
fn a_stream_may_be_the_second_request_of_a_connection() {
    let server = server(&[]);
    for way in WAYS {
        let mut connection = connect(&server);
        ask(&mut connection, &head("/healthz", &[]), Way::Shard);
        assert_eq!(answer(&mut connection).0[0], "HTTP/1.1 200 OK");
        ask(&mut connection, &head("/v1/stream", &[]), way);
        let mut stream = EventStream::answered_on(connection);
        assert_eq!(stream.take(1)[0]["status"], "connected");
        publish(&server, ["one".to_owned()].into_iter());
        assert_eq!(stream.take(1)[0]["message"], "one");
    }
}

#[test]
fn a_request_behind_that_of_a_stream_does_no_harm() {
    let server = server(&[]);
    let mut connection = connect(&server);
    let both = head("/v1/stream", &[]) + &head("/healthz", &[]);
    ask(&mut connection, &both, Way::Shard);
    let mut pipelined = EventStream::answered_on(connection);
    // And one that comes only when the stream is there.
    let mut connection = open(&server, "/v1/stream", Way::Shard).into_connection();
    ask(&mut connection, &head("/healthz", &[]), Way::Shard);
    publish(&server, ["one".to_owned()].into_iter());
    let first = pipelined.take(2);
    assert_eq!(first[0]["status"], "connected");
    assert_eq!(first[1]["message"], "one");
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("\"one\"") {
        let mut some = [0; 256];
        let read = connection.read(&mut some).unwrap();
        assert_ne!(read, 0);
        text.extend(&some[..read]);
    }
}

#[test]
fn heartbeats_come_as_often_as_from_hyper() {
    const BEATS: u32 = 4;
    let server = server_with("[stream]\nheartbeat_seconds = 1");
    let time = |way| {
        let mut stream = open(&server, "/v1/stream", way);
        stream.comment();
        let first = Instant::now();
        (0..BEATS).for_each(|_| stream.comment());
        first.elapsed()
    };
    thread::scope(|scope| {
        let hyper = scope.spawn(|| time(Way::Hyper));
        let shard: Vec<_> = (0..10).map(|_| scope.spawn(|| time(Way::Shard))).collect();
        let hyper = hyper.join().unwrap();
        for shard in shard {
            let ratio = shard.join().unwrap().as_secs_f64() / hyper.as_secs_f64();
            assert!((0.7..1.5).contains(&ratio), "{ratio}");
        }
    });
}
