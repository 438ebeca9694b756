//! The command `bench`: that its load arrives and is checked, and where it refuses to go.

mod common;

use std::process::{Command, Output};

use common::{BINARY, server};
use notification_testkit::EventStream;

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("bench").args(arguments);
    command.output().unwrap()
}

/// The figure of that name.
fn figure(output: &Output, name: &str) -> f64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.unwrap_or_else(|| panic!("no {name} in {output:?}"));
    value.trim().parse().unwrap()
}

#[test]
fn every_delivery_is_made_and_measured() {
    let server = server(&[]);
    let mut other = EventStream::open(server.address(), "/v1/stream?topic=default", &[]);
    let load = ["--streams", "20", "--rate", "40", "--duration", "1s"];
    let output = bench(&[&load[..], &[&server.url("/")]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for name in ["lost", "duplicated", "out of order"] {
        assert_eq!(figure(&output, name), 0.0, "{name}");
    }
    // Half a second of warm-up, too.
    assert_eq!(
        server.metric("notification_events_delivered_total"),
        20.0 * 60.0
    );
    assert!(figure(&output, "deliveries/s") > 0.0);
    assert!(figure(&output, "p50 ms") <= figure(&output, "p99 ms"));
    assert!(figure(&output, "p99 ms") <= figure(&output, "max ms"));

    // It has a topic of its own: those who follow others got nothing of it.
    server.post("/v1/events", &common::notification("after"));
    assert_eq!(other.next().unwrap().data["message"], "after");
}

#[test]
fn a_name_is_resolved() {
    let server = server(&[]);
    let url = format!("http://localhost:{}", server.address().port());
    let output = bench(&["--streams", "1", "--rate", "10", "--duration", "1s", &url]);
    // `localhost` may be ::1, where nobody listens, on a machine with such a hosts file.
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() || stderr.contains("cannot connect"),
        "{output:?}"
    );
}

/// The one line with which it ends without having published anything.
fn refusal(arguments: &[&str], status: i32) -> String {
    let output = bench(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {stderr}"
    );
    assert!(output.stdout.is_empty());
    stderr
        .lines()
        .find(|line| line.starts_with("error: "))
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_load_is_refused_where_it_could_hurt() {
    // TEST-NET-3 (RFC 5737), where nobody is.
    let elsewhere = refusal(&["http://203.0.113.7:8005"], 1);
    assert!(
        elsewhere.contains("203.0.113.7:8005") && elsewhere.contains("--i-own-this-server"),
        "{elsewhere}"
    );
    let https = refusal(&["https://127.0.0.1:8005"], 1);
    assert!(https.contains("the server itself"), "{https}");
}

#[test]
fn nonsense_is_refused() {
    let check = |arguments: &[&str], status: i32, expected: &str| {
        let line = refusal(arguments, status);
        assert!(line.contains(expected), "{arguments:?}: {line}");
    };
    check(&["127.0.0.1:8005"], 1, "expected http://HOST:PORT");
    check(
        &["http://127.0.0.1:8005/v1/stream"],
        1,
        "expected http://HOST:PORT",
    );
    check(
        &["--streams", "25000", "--rate", "10000", "--duration", "1m"],
        1,
        "15000000000 deliveries",
    );
    check(&["--streams", "0"], 2, "--streams");
    check(&["--streams", "25001"], 2, "--streams");
    check(&["--rate", "0"], 2, "--rate");
    check(&["--size", "10"], 2, "--size");
    check(&["--duration", "forever"], 2, "--duration");
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let mut server = server(&[]);
    let url = server.url("/");
    server.stop();
    assert!(refusal(&[&url], 1).contains("cannot connect"));
}
