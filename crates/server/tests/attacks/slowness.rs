//! Connections that say nothing, requests that do not end, and answers that
//! nobody takes, in numbers. The limits are short here, and nothing is said of
//! how long they take; only that they end, and that others are served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use notification_testkit::{eventually, open_files, resident_bytes};
use serde_json::json;

use crate::victim::Victim;
use crate::wire::connect;

const IMPATIENT: &str = "[http]\nhead_timeout_seconds = 1\nbody_timeout_seconds = 1\n\
                         answer_timeout_seconds = 1\n[stream]\nheartbeat_seconds = 1";

/// How many there are of those that do not cost the attacker much.
const MANY: usize = 1_500;

/// How much memory each may take, in bytes.
const COST: u64 = 8 << 10;

/// A connection that is written to, a byte at a time, for as long as it lasts.
struct Dripping {
    connection: TcpStream,
    /// What it says again and again.
    drops: &'static [u8],
    said: usize,
    answer: Vec<u8>,
}

impl Dripping {
    fn new(connection: TcpStream, start: &[u8], drops: &'static [u8]) -> Self {
        (&connection).write_all(start).unwrap();
        connection.set_nonblocking(true).unwrap();
        let answer = Vec::new();
        Self {
            connection,
            drops,
            said: 0,
            answer,
        }
    }

    /// Says one more byte of what has no end. False once the server has ended it.
    fn drip(&mut self) -> bool {
        let mut some = [0; 1_024];
        loop {
            match self.connection.read(&mut some) {
                Ok(0) => return false,
                Ok(read) => self.answer.extend(&some[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let byte = self.drops[self.said % self.drops.len()];
        self.said += 1;
        // Less than any limit of size, so that it is the time that ends it.
        self.said > 8_000 || self.connection.write_all(&[byte]).is_ok()
    }
}

/// Drips on all of them until the server has ended each, while it serves others.
fn drip_to_the_end(victim: &mut Victim, mut dripping: Vec<Dripping>) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    let mut rounds = 0;
    while !dripping.is_empty() {
        victim.serves_others();
        for ended in dripping.extract_if(.., |one| !one.drip()) {
            answers.push(ended.answer);
        }
        rounds += 1;
    }
    assert!(rounds > 1, "it was not patient at all");
    answers
}

#[test]
fn a_head_that_comes_byte_by_byte_is_cut() {
    let mut victim = Victim::with(IMPATIENT);
    let mut dripping = Vec::new();
    for (start, drops) in [
        ("", &b"G"[..]),
        ("GET /", b"v"),
        ("GET /v1/stream HTTP/1.1\r\n", b"X-A: b\r\n"),
        ("GET /mcp HTTP/1.1\r\nHost: localhost\r\n", b"X-A: b\r\n"),
        (
            "POST /v1/events HTTP/1.1\r\nHost: localhost\r\n",
            b"X-A: b\r\n",
        ),
    ] {
        let one = |_| Dripping::new(connect(victim.address()), start.as_bytes(), drops);
        dripping.extend((0..60).map(one));
    }
    for answer in drip_to_the_end(&mut victim, dripping) {
        let answer = String::from_utf8(answer).unwrap();
        // A method or a path without an end is none.
        let is_refusal = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(is_refusal, "{answer}");
    }
    victim.is_unharmed();
}

#[test]
fn a_body_that_comes_byte_by_byte_is_refused() {
    let mut victim = Victim::with(IMPATIENT);
    let mut dripping = Vec::new();
    for line in [
        "POST /v1/events",
        "POST /v1/topics/slow",
        "PUT /v1/tasks/slow",
        "POST /v1/clients/slow/acks",
        "POST /mcp",
    ] {
        for (framing, drops) in [
            ("Content-Length: 100000", &b" "[..]),
            ("Transfer-Encoding: chunked", b"1\r\n \r\n"),
        ] {
            let head = format!(
                "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
            );
            let one = |_| Dripping::new(connect(victim.address()), head.as_bytes(), drops);
            dripping.extend((0..20).map(one));
        }
    }
    let answers = drip_to_the_end(&mut victim, dripping);
    for answer in &answers {
        let answer = String::from_utf8_lossy(answer);
        // It may be lost with the connection, which still was being written to.
        let is_refusal = answer.is_empty() || answer.starts_with("HTTP/1.1 408 ");
        assert!(is_refusal, "{answer}");
    }
    assert!(answers.iter().any(|answer| !answer.is_empty()));
    victim.is_unharmed();
}

/// Of lines, each is waited for; a silence ends them. What came before it was published.
#[test]
fn lines_that_stop_coming_are_cut() {
    let mut victim = Victim::with(IMPATIENT);
    let head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
    let line = "{\"type\":\"notification\",\"message\":\"a line\"}\n";
    let start = format!("{head}{:x}\r\n{line}\r\n5\r\n{{\"typ\r\n", line.len());
    let mut silent: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = connect(victim.address());
            connection.write_all(start.as_bytes()).unwrap();
            connection
        })
        .collect();
    for _ in &silent {
        assert_eq!(victim.next()["message"], "a line");
    }
    for connection in &mut silent {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"status\":201"), "{answer}");
        assert!(answer.contains("\"status\":408"), "{answer}");
    }
    victim.is_unharmed();
}

#[test]
fn connections_that_say_nothing_are_many_and_cost_little() {
    let mut victim =
        Victim::with("[http]\nhead_timeout_seconds = 3\n[stream]\nheartbeat_seconds = 1");
    let pid = victim.server().pid();
    victim.serves_others();
    let (files, memory) = (open_files(pid), resident_bytes(pid));
    let connect_all = |victim: &Victim, say: &[u8]| -> Vec<TcpStream> {
        let connect = |_| {
            let mut connection = connect(victim.address());
            connection.write_all(say).unwrap();
            connection
        };
        (0..MANY).map(connect).collect()
    };
    for (say, cost) in [
        (&b""[..], COST),
        // Hyper has it by then, and a buffer for it.
        (b"GET /v1/stream HTTP/1.1\r\n", 3 * COST),
    ] {
        let silent = connect_all(&victim, say);
        eventually("all are accepted", || open_files(pid) >= files + MANY / 2);
        victim.serves_others();
        let grown = resident_bytes(pid).saturating_sub(memory);
        assert!(
            grown < MANY as u64 * cost,
            "{} bytes each",
            grown / MANY as u64
        );
        for mut connection in silent {
            // An end, and nothing else.
            assert!(matches!(connection.read(&mut [0]), Ok(0) | Err(_)));
        }
        eventually("all are closed", || open_files(pid) <= files + 5);
        victim.serves_others();
    }
    victim.is_unharmed();
}

#[test]
fn answers_that_nobody_takes_are_given_up_and_streams_are_not() {
    let mut victim = Victim::with(IMPATIENT);
    let filler = "x".repeat(60_000);
    let pid = victim.server().pid();
    let events: Vec<_> = (0..16)
        .map(|n| json!({"type": "event", "name": "large", "data": {"n": n, "x": filler}}))
        .collect();
    let ask = |path: &str| {
        let mut connection = connect(victim.address());
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        connection.write_all(head.as_bytes()).unwrap();
        connection
    };
    assert_eq!(
        victim.server().post("/v1/events", &json!(events)).status,
        201
    );
    // One is a shard's, one is hyper's.
    let streams = [
        ask("/v1/stream?since=all"),
        ask("/healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/stream?since=all"),
    ];
    eventually("both are there", || {
        victim.server().metric("notification_connections") == 3.0
    });
    let files = open_files(pid);
    let stalled: Vec<_> = (0..50).map(|_| ask("/v1/events")).collect();
    // The first may have been given up before the last is there.
    eventually("they are asked", || open_files(pid) >= files + 25);
    for n in 0..16 {
        assert_eq!(victim.next()["data"]["n"], n);
    }
    victim.serves_others();
    eventually("they are given up", || open_files(pid) <= files);
    victim.serves_others();
    assert_eq!(victim.server().metric("notification_connections"), 3.0);

    // Of an answer that was given up there is a part, of a stream all of it.
    for connection in &stalled {
        let mut part = Vec::new();
        let _ = { connection }.read_to_end(&mut part);
        assert!(part.len() < 16 * filler.len(), "{}", part.len());
    }
    for mut stream in streams {
        let mut text: Vec<u8> = Vec::new();
        while text.windows(4).filter(|w| *w == b"\"n\":").count() < 16 {
            let mut some = [0; 64 << 10];
            let read = stream.read(&mut some).unwrap();
            assert_ne!(read, 0, "the stream goes on");
            text.extend(&some[..read]);
        }
    }
    victim.is_unharmed();
}
