//! The commands that ask a server which runs: the binary, as people call it.

mod common;
#[path = "common/secured.rs"]
mod secured;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use common::{BINARY, notification, server, server_with};
use notification_testkit::{EventStream, Receiver, ServerProcess, eventually};
use secured::Secured;
use serde_json::{Value, json};

fn command(server: &ServerProcess, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    command.args(["--server", &server.url("")]);
    command.env_remove("NOTIFICATION_KEY");
    command
}

fn run(server: &ServerProcess, arguments: &[&str]) -> Output {
    command(server, arguments).output().unwrap()
}

/// What it prints where there is no terminal.
fn json_of(server: &ServerProcess, arguments: &[&str]) -> Value {
    let output = run(server, arguments);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One line, of what went wrong.
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(
        said.starts_with("error: ") && said.trim_end().lines().count() == 1,
        "{said}"
    );
    said
}

#[test]
fn what_is_published_is_what_was_said() {
    let server = server(&[]);
    let mut stream = EventStream::open(server.address(), "/v1/stream?client_id=alice", &[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"k\": [1]}").unwrap();
    let at = format!("@{}", file.path().display());
    let published = json_of(
        &server,
        &[
            "publish",
            "Backup done",
            "--topic",
            "ops/backups",
            "--type",
            "success",
            "--title",
            "T",
            "--priority",
            "4",
            "--tag",
            "a",
            "--tag",
            "b",
            "--to-client",
            "alice",
            "--data",
            &at,
            "--event-id",
            "mine",
            "--require-ack",
        ],
    );
    assert_eq!(
        (&published["event_id"], &published["subscribers"]),
        (&json!("mine"), &json!(1))
    );
    let event = &stream.take(1)[0];
    for (field, expected) in [
        ("message", json!("Backup done")),
        ("topic", json!("ops/backups")),
        ("notification_type", json!("success")),
        ("title", json!("T")),
        ("priority", json!(4)),
        ("tags", json!(["a", "b"])),
        ("data", json!({"k": [1]})),
        ("require_ack", json!(true)),
    ] {
        assert_eq!(event[field], expected, "{field}");
    }
    json_of(
        &server,
        &["publish", "--name", "build.done", "--data", "{\"n\": 1}"],
    );
    let event = &stream.take(1)[0];
    assert_eq!(
        (&event["name"], &event["data"]),
        (&json!("build.done"), &json!({"n": 1}))
    );
    let mut from_input = command(&server, &["publish", "-"]);
    let mut child = from_input
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all("piped in\n".as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(stream.take(1)[0]["message"], "piped in");
}

#[test]
fn it_waits_until_it_is_acknowledged_or_says_that_it_was_not() {
    let server = server(&[]);
    let mut stream = EventStream::open(server.address(), "/v1/stream?client_id=alice", &[]);
    let in_vain = run(
        &server,
        &["publish", "x", "--to-client", "alice", "--wait-ack", "0s"],
    );
    assert_eq!(in_vain.status.code(), Some(2), "{in_vain:?}");
    stream.take(1);
    let waiting = &["publish", "y", "--to-client", "alice", "--wait-ack", "60s"];
    let child = command(&server, waiting)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let event = stream.take(1)[0]["event_id"].clone();
    let acknowledged = server.post("/v1/clients/alice/acks", &json!({"event_ids": [event]}));
    assert_eq!(acknowledged.status, 200);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["receipts"][0]["client_id"], "alice");
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let server = server(&[]);
    for (arguments, part) in [
        (&["publish", "x", "--topic", "a//b"][..], "topic: expected"),
        (&["publish", "x", "--priority", "9"], "priority: expected"),
        (
            &["publish", "x", "--data", "[1]"],
            "--data: expected a JSON object",
        ),
        (
            &["publish", "x", "--data", "@/no/such/file"],
            "/no/such/file",
        ),
        (&["publish", ""], "message: expected"),
        (&["tail", "a//b"], "topic: expected"),
        (&["tail", "--since", "yesterday"], "since: expected"),
        (&["explain", "nobody/knows"], "event_id: expected"),
        (&["explain", "nobody"], "no event nobody is in the log"),
        (&["webhooks", "test", "wh_nobody"], "no webhook wh_nobody"),
        (
            &["webhooks", "create", "http://example.com/"],
            "url: expected",
        ),
    ] {
        let said = refusal(&run(&server, arguments));
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    let mut nowhere = Command::new(BINARY);
    nowhere.args(["publish", "x", "--server", "http://127.0.0.1:1"]);
    assert!(refusal(&nowhere.output().unwrap()).contains("http://127.0.0.1:1 does not answer"));
    let secured = Secured::start("");
    for arguments in [
        &["publish", "x"][..],
        &["tail"],
        &["explain", "e"],
        &["webhooks", "list"],
    ] {
        let said = refusal(&run(&secured.server, arguments));
        assert!(said.contains("401"), "{said}");
    }
    let mut wrong = command(&secured.server, &["tail"]);
    let said = refusal(
        &wrong
            .env("NOTIFICATION_KEY", "ntf_s3cret")
            .output()
            .unwrap(),
    );
    assert!(said.contains("401") && !said.contains("s3cret"), "{said}");
}

/// A `tail` that goes on, and the lines that it prints.
struct Tail {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Tail {
    fn start(server: &ServerProcess, arguments: &[&str]) -> Self {
        let arguments = [&["tail"], arguments].concat();
        let mut command = command(server, &arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = server.metric("notification_connections");
        eventually("it listens", || {
            server.metric("notification_connections") > before - 0.5
                && server.metric("notification_connections") >= 1.0
        });
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn message(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        event["message"].as_str().unwrap().to_owned()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_shows_what_comes_and_misses_and_repeats_nothing_over_a_restart() {
    let mut server = server(&[]);
    let publish = |server: &ServerProcess, message: &str| {
        assert_eq!(
            server.post("/v1/events", &notification(message)).status,
            201
        );
    };
    publish(&server, "before");
    let mut tail = Tail::start(&server, &["--since", "all", "--type", "notification"]);
    assert_eq!(tail.message(), "before");
    publish(&server, "one");
    assert_eq!(tail.message(), "one");
    server.kill();
    server.restart();
    publish(&server, "two");
    publish(&server, "three");
    assert_eq!([tail.message(), tail.message()], ["two", "three"]);
    let two = run(
        &server,
        &[
            "tail",
            "--since",
            "all",
            "--type",
            "notification",
            "--count",
            "2",
        ],
    );
    assert!(two.status.success());
    assert_eq!(String::from_utf8(two.stdout).unwrap().lines().count(), 2);
}

#[test]
fn who_got_it_is_told() {
    let server = server(&[]);
    let mut stream = EventStream::open(server.address(), "/v1/stream?client_id=alice", &[]);
    let published = json_of(&server, &["publish", "x"]);
    stream.take(1);
    let event = published["event_id"].as_str().unwrap();
    eventually("it is told", || {
        json_of(&server, &["explain", event])["outcomes"] == json!({"delivered": 1})
    });
}

#[test]
fn webhooks_are_made_looked_at_and_ended() {
    let server = server_with("[webhooks]\ndev_allow_loopback = true\nretry_delays = [\"1s\"]\n");
    let receiver = Receiver::start();
    let url = receiver.url("/");
    let created = json_of(
        &server,
        &[
            "webhooks",
            "create",
            &url,
            "--topic",
            "ops/**",
            "--description",
            "d",
        ],
    );
    assert!(created["secret"].as_str().unwrap().starts_with("whsec_"));
    let id = created["id"].as_str().unwrap();
    let listed = json_of(&server, &["webhooks", "list"]);
    assert_eq!(listed["webhooks"][0]["description"], "d");
    assert_eq!(
        json_of(&server, &["webhooks", "test", id])["outcome"],
        "delivered"
    );
    assert_eq!(
        json_of(&server, &["webhooks", "pause", id])["state"],
        "paused"
    );
    assert_eq!(
        json_of(&server, &["webhooks", "resume", id])["state"],
        "active"
    );
    receiver.answer_with(500);
    json_of(&server, &["publish", "x", "--topic", "ops/a"]);
    let letters = || {
        json_of(&server, &["webhooks", "dead-letters", id])["dead_letters"]
            .as_array()
            .unwrap()
            .len()
    };
    eventually("it is given up", || letters() == 1);
    assert_eq!(
        json_of(&server, &["webhooks", "attempts", id])["attempts"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    receiver.take();
    assert_eq!(
        json_of(&server, &["webhooks", "redeliver", id])["redelivering"],
        1
    );
    eventually("it is taken", || letters() == 0);
    assert!(json_of(&server, &["webhooks", "rotate-secret", id])["secret"].is_string());
    json_of(&server, &["webhooks", "delete", id]);
    assert_eq!(
        json_of(&server, &["webhooks", "list"])["webhooks"],
        json!([])
    );
    let by_type = [
        "webhooks",
        "create",
        &url,
        "--event-type",
        "task.finished",
        "--arguments",
        "{\"state\": [\"failed\"]}",
    ];
    assert_eq!(
        json_of(&server, &by_type)["arguments"],
        json!({"state": ["failed"]})
    );
}

/// The task that there is.
fn task(server: &ServerProcess) -> Value {
    server.get("/v1/tasks").json()["tasks"][0].clone()
}

#[test]
fn a_program_that_is_run_is_reported_and_untouched() {
    let server = server(&[]);
    let script = "printf 'raw\\001bytes\\n'; echo 'step 3/70' >&2; sleep 0.3; printf '\\r50%%'; sleep 1.2; exit 7";
    let arguments = [
        "run",
        "--name",
        "Build",
        "--topic",
        "ci",
        "--task-id",
        "build",
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut with_server = Command::new(BINARY);
    with_server
        .args(&arguments[..1])
        .args(["--server", &server.url("")])
        .args(&arguments[1..]);
    let child = with_server
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it is half done", || task(&server)["progress"] == 50.0);
    assert_eq!(
        (&task(&server)["state"], &task(&server)["topic"]),
        (&json!("running"), &json!("ci"))
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"raw\x01bytes\n\r50%");
    assert_eq!(output.stderr, b"step 3/70\n");
    let ended = task(&server);
    assert_eq!(
        (&ended["task_id"], &ended["state"]),
        (&json!("build"), &json!("failed"))
    );
    assert!(
        ended["message"]
            .as_str()
            .unwrap()
            .starts_with("Failed with status 7 after 1.")
    );
}

#[test]
fn a_program_that_is_run_gets_signals_and_needs_no_server() {
    let server = server(&[]);
    let mut command = Command::new(BINARY);
    command.args([
        "run",
        "--server",
        &server.url(""),
        "--name",
        "Sleep",
        "--",
        "sleep",
        "60",
    ]);
    let mut child = command.spawn().unwrap();
    eventually("it runs", || task(&server)["state"] == "running");
    notification_testkit::signal(child.id(), 15);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(
        task(&server)["message"]
            .as_str()
            .unwrap()
            .split(" after")
            .next(),
        Some("Ended by signal 15")
    );
    let mut alone = Command::new(BINARY);
    alone.args([
        "run",
        "--server",
        "http://127.0.0.1:1",
        "--name",
        "x",
        "--",
        "echo",
        "hello",
    ]);
    let output = alone.output().unwrap();
    assert_eq!(
        (output.status.code(), &output.stdout[..]),
        (Some(0), &b"hello\n"[..])
    );
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("not reported")
    );
    let mut nothing = Command::new(BINARY);
    nothing.args(["run", "--name", "x", "--", "/no/such/program"]);
    assert!(refusal(&nothing.output().unwrap()).contains("/no/such/program"));
}
