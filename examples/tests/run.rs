//! Each example is started, and does what it says.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use notification_testkit::{EventStream, request};
use serde_json::{Value, json};

struct Example {
    process: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Example {
    fn start(binary: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = Command::new(binary)
            .env("BIND", "127.0.0.1:0")
            .env("DATA_DIR", data.path().join("log"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = lines.next().unwrap().unwrap();
        let address = said.strip_prefix("Listening on http://").unwrap();
        Self {
            process,
            address: address.parse().unwrap(),
            _data: data,
        }
    }

    fn listen(&self, path: &str) -> EventStream {
        EventStream::open(self.address, path, &[])
    }

    /// What a tool's result is, as MCP has it.
    fn call(&self, tool: &str, arguments: Value) -> Value {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        });
        let json = [("Content-Type", "application/json")];
        let answer = request(self.address, "POST", "/mcp", &json, &body.to_string());
        answer.json()["result"].clone()
    }

    fn get(&self, path: &str) -> Value {
        request(self.address, "GET", path, &[], "").json()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn messages(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|it| it["message"].as_str().unwrap())
        .collect()
}

#[test]
fn minimal() {
    let example = Example::start(env!("CARGO_BIN_EXE_minimal"));
    let mut stream = example.listen("/mcp");
    let result = example.call("greet", json!({"name": "Ada"}));
    assert_eq!(result["content"][0]["text"], "Hello, Ada!");
    assert_eq!(messages(&stream.take(1)), ["Hello, Ada!"]);
    let wrong = example.call("greet", json!({"nam": "Ada"}));
    assert_eq!(wrong["isError"], true);
    assert!(
        wrong["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("name")
    );
    // The server's own tools are there as well.
    let sent = example.call("send_notification", json!({"message": "m", "type": "info"}));
    assert_eq!(sent["structuredContent"]["subscribers"], 1);
}

#[test]
fn the_documentation_shows_what_is_run() {
    let documentation = include_str!("../../docs/embedding.md");
    assert!(documentation.contains(include_str!("../src/bin/minimal.rs").trim_end()));
    // The builder of the documentation is that of the example, line by line.
    let example = include_str!("../src/bin/notification-server-example.rs");
    let documented = documentation.split("## The builder").nth(1).unwrap();
    let lines = documented.split("```").nth(1).unwrap().lines();
    for line in lines.filter(|line| line.starts_with("    .")) {
        let call = line.trim();
        let is_its_own = [".bind_address", ".build"]
            .iter()
            .any(|it| call.starts_with(it));
        assert!(
            is_its_own || example.contains(call.trim_end_matches(';')),
            "{call}"
        );
    }
}

#[test]
fn stateful() {
    let example = Example::start(env!("CARGO_BIN_EXE_stateful"));
    example.call("count", json!({}));
    let result = example.call("count", json!({"by": 41}));
    assert_eq!(result["structuredContent"]["now"], 42);
    let mut stream = example.listen("/v1/stream?snapshot=true&topic=counter");
    assert_eq!(stream.take(1)[0]["data"]["now"], 42);
    let wrong = example.call("count", json!({"by": i64::MAX}));
    assert_eq!(wrong["isError"], true);
}

#[test]
fn notification_server() {
    let example = Example::start(env!("CARGO_BIN_EXE_notification-server-example"));
    let mut stream = example.listen("/mcp");
    let arguments = json!({"task_name": "File Processing", "duration_seconds": 1, "step_count": 4});
    let result = example.call("simulate_progress", arguments);
    assert_eq!(result["content"][0]["text"], "Progress sent");
    let steps: Vec<_> = stream
        .take(4)
        .iter()
        .map(|it| it["progress"].clone())
        .collect();
    assert_eq!(steps, [25, 50, 75, 100]);
    let data = json!({"expected_duration": "30 minutes"});
    let arguments = json!({"message": "Maintenance", "type": "warning", "data": data});
    let result = example.call("send_notification", arguments);
    assert_eq!(result["content"][0]["text"], "Sent to 1 connections");
    let event = &stream.take(1)[0];
    assert_eq!(
        (&event["notification_type"], &event["data"]),
        (&json!("warning"), &data)
    );
    let status = example.call("connection_status", json!({}));
    assert_eq!(status["structuredContent"]["active_connections"], 1);
    // There is one tool of each name.
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    let json = [("Content-Type", "application/json")];
    let list = request(example.address, "POST", "/mcp", &json, &list).json();
    let tools = list["result"]["tools"].as_array().unwrap();
    let named = tools.iter().filter(|it| it["name"] == "connection_status");
    assert_eq!(named.count(), 1);
}

#[test]
fn file_upload() {
    let example = Example::start(env!("CARGO_BIN_EXE_file-upload"));
    let mut stream = example.listen("/mcp");
    for (offset, content) in [(0, "12345"), (5, "67890")] {
        let piece = json!({"file": "a.txt", "total": 10, "offset": offset, "content": content});
        example.call("upload", piece);
    }
    let events = stream.take(2);
    assert_eq!(
        (&events[0]["progress"], &events[1]["state"]),
        (&json!(50), &json!("completed"))
    );
    let too_much = json!({"file": "b.txt", "total": 1, "offset": 0, "content": "12"});
    assert_eq!(example.call("upload", too_much)["isError"], true);
}

#[test]
fn batch_jobs() {
    let example = Example::start(env!("CARGO_BIN_EXE_batch-jobs"));
    let mut stream = example.listen("/v1/stream?topic=jobs");
    for name in ["first", "second"] {
        let result = example.call("enqueue_job", json!({"name": name, "rows": 5}));
        assert_eq!(result["structuredContent"]["task_id"], name);
    }
    let events = stream.take(10);
    let order: Vec<_> = events
        .iter()
        .map(|it| it["task_id"].as_str().unwrap())
        .collect();
    assert_eq!(order, [["first"; 5], ["second"; 5]].concat());
    assert_eq!(events[9]["state"], "completed");
}

#[test]
fn system_alerts() {
    let example = Example::start(env!("CARGO_BIN_EXE_system-alerts"));
    let mut alice = example.listen("/v1/stream?client_id=alice&since=all");
    let alert = &alice.take(1)[0];
    assert_eq!(
        (&alert["topic"], &alert["require_ack"]),
        (&json!("alerts/disk"), &json!(true))
    );
    let everybody = example.get("/v1/events?since=all");
    assert_eq!(everybody["events"], json!([]));
}

#[test]
fn chat() {
    let example = Example::start(env!("CARGO_BIN_EXE_chat"));
    let mut lobby = example.listen("/v1/stream?topic=chat/lobby");
    let line = |text: &str| json!({"room": "lobby", "from": "ada", "text": text});
    let said = example.call("say", line("hello"));
    assert_eq!(said["structuredContent"]["heard_by"], 1);
    let mut whisper = line("only you");
    whisper["whisper_to"] = "bob".into();
    example.call("say", whisper);
    example.call("say", line("bye"));
    let heard: Vec<_> = lobby
        .take(2)
        .iter()
        .map(|it| it["data"]["text"].clone())
        .collect();
    assert_eq!(heard, ["hello", "bye"]);
    let missed = example.call("read_missed", json!({"client_id": "bob"}));
    let events = missed["structuredContent"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 3);
    let since = json!({"client_id": "bob", "last_seen": events[1]["cursor"]});
    let missed = example.call("read_missed", since);
    assert_eq!(
        missed["structuredContent"]["events"][0]["data"]["text"],
        "bye"
    );
}

#[test]
fn live_dashboard() {
    let example = Example::start(env!("CARGO_BIN_EXE_live-dashboard"));
    let mut stream = example.listen("/v1/stream?topic=metrics/uptime");
    let figures = stream.take(3);
    let value = |it: &Value| it["data"]["value"].as_f64().unwrap();
    assert!(value(&figures[0]) < value(&figures[2]));
}

#[test]
fn live_poll() {
    let example = Example::start(env!("CARGO_BIN_EXE_live-poll"));
    let mut stream = example.listen("/mcp");
    for (voter, choice) in [("ada", "tea"), ("bob", "tea"), ("bob", "water")] {
        example.call("vote", json!({"voter": voter, "choice": choice}));
    }
    let events = stream.take(3);
    assert_eq!(
        events[2]["data"],
        json!({"tea": 1, "coffee": 0, "water": 1})
    );
    let wrong = example.call("vote", json!({"voter": "eve", "choice": "beer"}));
    assert!(
        wrong["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("choice")
    );
}

#[test]
fn comprehensive() {
    let example = Example::start(env!("CARGO_BIN_EXE_comprehensive"));
    let mut everybody = example.listen("/v1/stream");
    let mut ada = example.listen("/v1/stream?client_id=ada&type=notification");
    let mut alice = example.listen("/v1/stream?client_id=alice&type=notification");
    let arguments = json!({"service": "shop", "machines": 3, "requested_by": "ada"});
    let result = example.call("deploy", arguments);
    assert_eq!(
        result["structuredContent"]["task_id"], "deploy-shop",
        "{result}"
    );
    let events = everybody.take(4);
    assert_eq!(events[2]["state"], "completed");
    assert_eq!(events[3]["name"], "deployment.finished");
    let told = ada.take(1);
    assert_eq!(messages(&told), ["Your deployment is done"]);
    assert_eq!(messages(&alice.take(1)), ["A deployment is done"]);
    let receipts = format!(
        "/v1/events/{}/receipts",
        told[0]["event_id"].as_str().unwrap()
    );
    assert_eq!(example.get(&receipts)["receipts"][0]["client_id"], "ada");
    let types = example.get("/v1/event-types/deployment.finished");
    assert_eq!(types["arguments"], json!({"service": "glob"}));
}

#[test]
fn performance_testing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_performance-testing"));
    let output = command.env("EVENTS", "200").env("LISTENERS", "10").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("2000 deliveries"), "{said}");
}
