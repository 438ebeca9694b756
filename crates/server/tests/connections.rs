//! Open streams are counted truly, however they end.

mod common;

use common::{server, server_with};
use notification_testkit::{EventStream, ServerProcess, deafen, eventually, vanish};

fn connections(server: &ServerProcess) -> f64 {
    server.metric("notification_connections")
}

#[test]
fn a_stream_that_is_closed_leaves_the_count_without_waiting_for_an_event() {
    let server = server(&[]);
    let first = EventStream::open(server.address(), "/mcp", &[]);
    let second = EventStream::open(server.address(), "/v1/stream", &[]);
    assert_eq!(connections(&server), 2.0);
    first.close();
    eventually("one is left", || connections(&server) == 1.0);
    second.close();
    eventually("none is left", || connections(&server) == 0.0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_stream_that_vanished_without_a_word_leaves_the_count_with_the_next_heartbeat() {
    let server = server_with("[stream]\nheartbeat_seconds = 1");
    let stream = EventStream::open(server.address(), "/mcp", &[]);
    assert_eq!(connections(&server), 1.0);
    vanish(stream.into_connection());
    eventually("the server has noticed", || connections(&server) == 0.0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_confirms_nothing_is_given_up() {
    let settings = "[stream]\nheartbeat_seconds = 1\npeer_timeout_seconds = 1";
    let server = server_with(settings);
    let stream = EventStream::open(server.address(), "/mcp", &[]);
    let connection = stream.into_connection();
    deafen(&connection);
    eventually("the server has noticed", || connections(&server) == 0.0);
}

#[test]
fn a_peer_that_does_not_read_is_not_given_up() {
    let server = server_with("[stream]\nheartbeat_seconds = 1\npeer_timeout_seconds = 1");
    let mut slow = EventStream::open(server.address(), "/mcp", &[]);
    // More than all the buffers between the two hold, so that the reader's
    // window closes.
    let filler = "x".repeat(4_000);
    let count = 9_000;
    for batch in 0..count / 100 {
        let events: Vec<_> = (0..100)
            .map(|n| common::notification(&format!("{} {filler}", batch * 100 + n)))
            .collect();
        server.post("/v1/events", &serde_json::Value::Array(events));
    }
    eventually("it has fallen behind", || {
        server.metric("notification_slow_readers") == 1.0
    });
    // Several times as long as the peer may take to confirm.
    let mut ticks = EventStream::open(server.address(), "/mcp?topic=none", &[]);
    for _ in 0..4 {
        ticks.comment();
    }
    assert_eq!(connections(&server), 2.0);
    for n in 0..count {
        let event = slow.next().expect("it was not cut off");
        let message = event.data["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{n} ")), "{n}");
    }
}
