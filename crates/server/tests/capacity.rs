//! A process may have only so many files open. A server that comes there says
//! so to new streams, and goes on for everybody else.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use notification_testkit::{EventStream, ServerProcess, eventually};

/// How many files the server may have open.
const FILES: usize = 200;

/// A server that is started by a shell which sets its limits before.
fn limited(limit: &str) -> ServerProcess {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("limited");
    let text = format!(
        "#!/bin/sh\nulimit {limit}\nexec '{}' \"$@\"\n",
        common::BINARY
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    ServerProcess::start(&script, &[])
}

#[test]
fn streams_are_refused_when_there_is_no_room_and_those_that_are_open_live_on() {
    let server = limited(&format!("-n {FILES}"));
    let mut open: Vec<EventStream> = Vec::new();
    let refused = loop {
        assert!(open.len() < FILES, "there are more streams than files");
        match EventStream::try_open(server.address(), "/v1/stream", &[]) {
            Ok(stream) => open.push(stream),
            Err(response) => break response,
        }
    };
    assert!(open.len() > FILES / 2, "{}", open.len());
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(common::refused(&refused, 503).is_empty());
    assert!(server.metric("notification_streams_refused_total") >= 1.0);

    // Everybody else goes on, and those who are here hear of it.
    server.post("/v1/events", &common::notification("still here"));
    for stream in &mut open {
        let mut events = std::iter::from_fn(|| stream.next());
        let event = events.find(|event| event.data["type"] == "notification");
        assert_eq!(event.unwrap().data["message"], "still here");
    }

    // Who goes makes room.
    for stream in open.drain(..10) {
        stream.close();
    }
    eventually("there is room again", || {
        EventStream::try_open(server.address(), "/v1/stream", &[]).is_ok()
    });
}

#[test]
fn connections_that_say_nothing_leave_the_server_files_of_its_own() {
    let server = limited(&format!("-n {FILES}"));
    let mut stream = EventStream::open(server.address(), "/v1/stream", &[]);
    let silent: Vec<_> = (0..2 * FILES)
        .map(|_| TcpStream::connect(server.address()).unwrap())
        .collect();
    // Those beyond what there is room for hear so at once.
    let mut last = silent.last().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    assert!(matches!(last.read(&mut [0]), Ok(0) | Err(_)));
    // Whoever says nothing makes room for others, and the log goes on.
    eventually("somebody else gets in", || {
        let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut answer = String::new();
        let mut other = TcpStream::connect(server.address()).unwrap();
        let asked = other.write_all(head.as_bytes());
        asked
            .and_then(|()| other.read_to_string(&mut answer))
            .is_ok()
            && answer.starts_with("HTTP/1.1 200")
    });
    server.post("/v1/events", &common::notification("still here"));
    let mut events = std::iter::from_fn(|| stream.next());
    let event = events.find(|event| event.data["type"] == "notification");
    assert_eq!(event.unwrap().data["message"], "still here");
    assert!(server.metric("notification_connections_refused_total") >= 1.0);
    drop(silent);
}

#[cfg(target_os = "linux")]
#[test]
fn the_limit_is_raised_as_far_as_it_may_be() {
    let server = limited("-S -n 100");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<_> = files
        .unwrap()
        .split_whitespace()
        .rev()
        .skip(1)
        .take(2)
        .collect();
    assert_eq!(numbers[0], numbers[1], "{files:?}");
}
