//! Open streams are counted truly, however they end.

mod common;

use common::server;
use notification_testkit::{EventStream, ServerProcess, eventually, vanish};

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
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[stream]\nheartbeat_seconds = 1").unwrap();
    let server = server(&["--config", config.to_str().unwrap()]);
    let stream = EventStream::open(server.address(), "/mcp", &[]);
    assert_eq!(connections(&server), 1.0);
    vanish(stream.into_connection());
    eventually("the server has noticed", || connections(&server) == 0.0);
}
