//! Starting, stopping, and everything that keeps the server from starting.

mod common;

use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use common::{BINARY, notification, server, server_with};
use notification_testkit::{EventStream, eventually, post_json, signal};
use serde_json::{Value, json};

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).envs(environment.iter().copied());
    command.output().unwrap()
}

/// The one line of a refusal to start.
fn refusal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = run(arguments, environment);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let line = stderr.lines().last().unwrap_or_default().to_owned();
    assert!(line.starts_with("error: "), "{stderr}");
    line
}

#[test]
fn stopping_tells_streams_finishes_calls_and_ends_tasks() {
    let mut server = server(&[]);
    let mut stream = EventStream::open(server.address(), "/mcp", &[]);
    let address = server.address();
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "simulate_progress",
                   "arguments": {"task_name": "long", "duration_seconds": 60, "step_count": 20}}
    });
    let long = thread::spawn(move || post_json(address, "/mcp", &call));
    // The first of its steps, three seconds later, shows that it is on its way.
    let first = stream.next().unwrap();
    assert_eq!(
        (&first.data["step"], &first.data["state"]),
        (&json!(1), &json!("running"))
    );

    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let last = stream.next().unwrap();
    assert_eq!(
        (&last.data["type"], &last.data["state"]),
        (&json!("progress"), &json!("cancelled"))
    );
    assert!(
        last.data["message"]
            .as_str()
            .unwrap()
            .contains("shutting down"),
        "{last:?}"
    );
    let closing = stream.next().unwrap();
    assert_eq!(
        (&closing.data["status"], &closing.id),
        (&json!("closing"), &None)
    );
    assert_eq!(stream.next(), None);
    let answer = long.join().unwrap();
    assert_eq!(
        answer.json()["result"]["structuredContent"]["status"],
        "cancelled",
        "{answer:?}"
    );
    assert!(log.contains("stopped"), "{log}");
}

#[test]
fn a_stream_that_does_not_read_does_not_hold_up_the_end() {
    let mut server = server(&[]);
    let _stalled = EventStream::open(server.address(), "/mcp", &[]);
    let filler = "x".repeat(4_000);
    for _ in 0..20 {
        let events = vec![notification(&filler); 200];
        server.post("/v1/events", &Value::Array(events));
    }
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("cut connections"), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = server_with("[shutdown]\ndrain_seconds = 60");
    let _stalled = EventStream::open(server.address(), "/mcp", &[]);
    let filler = "x".repeat(4_000);
    for _ in 0..20 {
        server.post(
            "/v1/events",
            &Value::Array(vec![notification(&filler); 200]),
        );
    }
    signal(server.pid(), libc::SIGINT);
    eventually("it has stopped listening", || {
        std::net::TcpStream::connect_timeout(&server.address(), Duration::from_secs(1)).is_err()
    });
    signal(server.pid(), libc::SIGINT);
    let (status, _) = server.wait();
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_data_directory_has_one_server() {
    let mut first = server(&[]);
    let dir = first.data_dir().to_str().unwrap().to_owned();
    let line = refusal(&["--bind", "127.0.0.1:0", "--data-dir", &dir], &[]);
    assert!(
        line.contains(&dir) && line.contains(&format!("process {}", first.pid())),
        "{line}"
    );
    first.stop();
}

#[test]
fn an_address_that_is_taken_is_named() {
    let first = server(&[]);
    let address = first.address().to_string();
    let line = refusal(&["--bind", &address, "--data-dir", ":memory:"], &[]);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
}

#[test]
fn a_damaged_log_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("notifications.db");
    std::fs::write(
        &log,
        "these are my holiday notes, and long enough to be a page",
    )
    .unwrap();
    let dir = dir.path().to_str().unwrap();
    let line = refusal(&["--bind", "127.0.0.1:0", "--data-dir", dir], &[]);
    assert!(
        line.contains("damaged") && line.contains("nothing was changed"),
        "{line}"
    );
    assert!(
        std::fs::read_to_string(&log)
            .unwrap()
            .starts_with("these are")
    );
}

#[test]
fn only_loopback_is_open_unless_it_is_told_otherwise() {
    let line = refusal(&["--bind", "0.0.0.0:0", "--data-dir", ":memory:"], &[]);
    assert!(
        line.contains("--insecure-no-auth") && line.contains("0.0.0.0"),
        "{line}"
    );
    let line = refusal(&[], &[("NOTIFICATION_SERVER_BIND", "[::]:0")]);
    assert!(line.contains("--insecure-no-auth"), "{line}");
}

#[test]
fn a_wrong_setting_names_itself_and_where_it_came_from() {
    let line = refusal(&["--bind", "localhost"], &[]);
    assert!(
        line.contains("--bind") && line.contains("127.0.0.1:8005"),
        "{line}"
    );
    let line = refusal(&[], &[("NOTIFICATION_SERVER_DURABILITY", "disk")]);
    assert!(
        line.contains("NOTIFICATION_SERVER_DURABILITY") && line.contains("fsync"),
        "{line}"
    );
    let line = refusal(&[], &[("NOTIFICATION_SERVER_COLOUR", "red")]);
    assert!(line.contains("NOTIFICATION_SERVER_COLOUR"), "{line}");
    let output = run(&["--colour"], &[]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_printed_settings_are_a_valid_configuration() {
    let printed = run(&["config"], &[]);
    assert!(printed.status.success());
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, printed.stdout).unwrap();
    let server = server(&["--config", config.to_str().unwrap()]);
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn the_log_is_json_when_asked() {
    let data = tempfile::tempdir().unwrap();
    let mut child = Command::new(BINARY)
        .args([
            "--bind",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "--data-dir",
        ])
        .arg(data.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    let entry: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&entry["level"], &entry["fields"]["message"]),
        (&json!("INFO"), &json!("listening"))
    );
    signal(pid, libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.is_empty(), "standard output is for people");
}
