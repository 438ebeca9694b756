//! The walk-through of the first version, line by line, with the real curl.

mod common;

use common::server;
use notification_testkit::{EventStream, ServerProcess, curl};
use serde_json::{Value, json};

/// `curl -X POST … -H "Content-Type: application/json" -d BODY`, as printed there.
fn call(server: &ServerProcess, body: &str) -> Value {
    let url = server.url("/mcp");
    let answer = curl(&[
        "-X",
        "POST",
        &url,
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
    ]);
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("no JSON: {answer}"))
}

const INITIALIZE: &str = r#"{
    "jsonrpc": "2.0",
    "method": "initialize",
    "params": {
      "protocolVersion": "2025-06-18",
      "capabilities": {},
      "clientInfo": {"name": "test-client", "version": "1.0.0"}
    },
    "id": "1"
  }"#;

const SIMULATE_PROGRESS: &str = r#"{
    "jsonrpc": "2.0",
    "method": "tools/call",
    "params": {
      "name": "simulate_progress",
      "arguments": {
        "task_name": "File Processing",
        "duration_seconds": 2,
        "step_count": 10
      }
    },
    "id": "2"
  }"#;

const SEND_NOTIFICATION: &str = r#"{
    "jsonrpc": "2.0",
    "method": "tools/call",
    "params": {
      "name": "send_notification",
      "arguments": {
        "message": "System maintenance will begin in 10 minutes",
        "type": "warning",
        "data": {
          "maintenance_window": "2024-01-15T02:00:00Z",
          "expected_duration": "30 minutes"
        }
      }
    },
    "id": "3"
  }"#;

const CONNECTION_STATUS: &str = r#"{
    "jsonrpc": "2.0",
    "method": "tools/call",
    "params": {
      "name": "connection_status",
      "arguments": {}
    },
    "id": "4"
  }"#;

#[test]
fn the_walk_through_works_as_printed() {
    let server = server(&[]);

    // 1. Connect to SSE Stream
    let mut stream =
        EventStream::open_unread(server.address(), "/mcp", &[("Accept", "text/event-stream")]);
    let connected = stream.next().unwrap();
    assert_eq!(connected.id, None);
    assert_eq!(connected.data["type"], "status");
    assert_eq!(connected.data["status"], "connected");
    assert_eq!(connected.data["client_count"], 1);
    assert!(connected.data["connection_id"].is_string());
    assert!(connected.data["timestamp"].is_string());

    // 2. Initialize MCP Connection
    let answer = call(&server, INITIALIZE);
    assert_eq!(
        (&answer["id"], &answer["jsonrpc"]),
        (&json!("1"), &json!("2.0"))
    );
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(
        answer["result"]["serverInfo"]["name"],
        "notification-server"
    );
    assert_eq!(
        answer["result"]["serverInfo"]["title"],
        "Real-time Notification Server"
    );
    assert!(answer["result"]["capabilities"]["tools"].is_object());

    // 3. Start a Progress Task
    let answer = call(&server, SIMULATE_PROGRESS);
    let result = &answer["result"]["structuredContent"];
    assert_eq!(answer["id"], "2");
    assert_eq!(result["status"], "completed");
    assert_eq!(result["total_steps"], 10);
    let task_id = &result["task_id"];
    for (step, event) in (1..=10).zip(stream.take(10)) {
        let mut event = event;
        let fields = event.as_object_mut().unwrap();
        assert_eq!(fields.keys().next().unwrap(), "type");
        assert!(fields.remove("timestamp").unwrap().is_string());
        assert!(fields.remove("event_id").unwrap().is_string());
        assert!(fields.remove("started_at").unwrap().is_string());
        let state = if step == 10 { "completed" } else { "running" };
        assert_eq!(
            event,
            json!({
                "type": "progress", "task_id": task_id, "task_name": "File Processing",
                "progress": step * 10, "step": step, "total_steps": 10,
                "message": format!("Completed step {step} of 10"),
                "topic": "default", "state": state
            })
        );
    }

    // 4. Send Custom Notifications
    let answer = call(&server, SEND_NOTIFICATION);
    assert_eq!(answer["id"], "3");
    let result = &answer["result"]["structuredContent"];
    assert_eq!(result["subscribers"], 1);
    let event = stream.next().unwrap();
    assert_eq!(event.id.as_deref(), result["cursor"].as_str());
    assert_eq!(event.name, None);
    assert_eq!(event.data["type"], "notification");
    assert_eq!(event.data["notification_id"], result["notification_id"]);
    assert_eq!(event.data["notification_type"], "warning");
    assert_eq!(
        event.data["message"],
        "System maintenance will begin in 10 minutes"
    );
    assert_eq!(
        event.data["data"],
        json!({"maintenance_window": "2024-01-15T02:00:00Z", "expected_duration": "30 minutes"})
    );

    // 5. Check Connection Status
    let answer = call(&server, CONNECTION_STATUS);
    assert_eq!(answer["id"], "4");
    let result = &answer["result"]["structuredContent"];
    assert_eq!(result["sse_enabled"], true);
    assert_eq!(result["active_connections"], 1);
    assert_eq!(result["endpoint"], server.url("/mcp"));
    assert_eq!(result["stream_endpoint"], server.url("/v1/stream"));
    assert_eq!(result["events_published"], 11);
    assert!(
        result["usage"]
            .as_str()
            .unwrap()
            .contains("text/event-stream")
    );
}

#[test]
fn curl_itself_watches_the_stream() {
    let server = server(&[]);
    let after = server
        .post("/v1/events", &common::notification("first"))
        .json()["cursor"]
        .clone();
    server.post("/v1/events", &common::notification("second"));
    // curl ends when it has had half a second; what it printed by then counts.
    let output = std::process::Command::new("curl")
        .args(["--silent", "--no-buffer", "--max-time", "0.5"])
        .args(["-H", "Accept: text/event-stream"])
        .args(["-H", &format!("Last-Event-ID: {}", after.as_str().unwrap())])
        .arg(server.url("/mcp"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(r#"data: {"type":"status","status":"connected""#),
        "{text}"
    );
    assert!(text.contains(r#""message":"second""#), "{text}");
    assert!(!text.contains(r#""message":"first""#), "{text}");
}

#[test]
fn what_was_published_is_there_after_the_server_was_killed() {
    let mut server = server(&[]);
    let mut stream = EventStream::open(server.address(), "/mcp", &[]);
    call(&server, SEND_NOTIFICATION);
    let seen = stream.next().unwrap();
    call(&server, SEND_NOTIFICATION);
    server.kill();
    server.restart();
    let resume = [("Last-Event-ID", seen.id.as_deref().unwrap())];
    let mut stream = EventStream::open(server.address(), "/mcp", &resume);
    let missed = stream.next().unwrap();
    assert_eq!(missed.data["message"], seen.data["message"]);
    assert_ne!(missed.id, seen.id);
    call(&server, SEND_NOTIFICATION);
    assert_ne!(stream.next().unwrap().id, missed.id);
}

#[test]
fn the_tools_are_listed_with_their_bounds() {
    let server = server(&[]);
    let answer = call(
        &server,
        r#"{"jsonrpc":"2.0","method":"tools/list","id":"5"}"#,
    );
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "simulate_progress",
            "send_notification",
            "connection_status",
            "report_progress",
            "list_tasks",
            "get_task",
            "acknowledge",
            "get_receipts",
            "publish_event",
            "get_recent_events",
            "explain_delivery"
        ]
    );
    let bounds = |tool: usize, field: &str, bound: &str| {
        tools[tool]["inputSchema"]["properties"][field][bound].clone()
    };
    assert_eq!(bounds(0, "duration_seconds", "minimum"), 1);
    assert_eq!(bounds(0, "duration_seconds", "maximum"), 60);
    assert_eq!(bounds(0, "duration_seconds", "default"), 10);
    assert_eq!(bounds(0, "step_count", "maximum"), 20);
    assert_eq!(bounds(1, "message", "maxLength"), 4096);
    assert_eq!(
        bounds(1, "type", "enum"),
        json!(["info", "warning", "error", "success"])
    );
    for tool in tools {
        assert!(
            tool["title"].is_string() && tool["description"].is_string(),
            "{tool}"
        );
        assert!(
            tool["outputSchema"].is_object() && tool["annotations"].is_object(),
            "{tool}"
        );
    }
}

#[test]
fn a_call_that_makes_no_sense_is_refused_and_publishes_nothing() {
    let server = server(&[]);
    let check = |tool: &str, arguments: Value, named: &str| {
        let call_it = json!({
            "jsonrpc": "2.0", "id": "x", "method": "tools/call",
            "params": {"name": tool, "arguments": arguments}
        });
        let answer = call(&server, &call_it.to_string());
        let text = answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default();
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        assert!(text.contains(named), "{text:?} does not name {named}");
    };
    check(
        "simulate_progress",
        json!({"task_name": "x", "duration_seconds": 61}),
        "duration_seconds",
    );
    check(
        "simulate_progress",
        json!({"task_name": "x", "step_count": 0}),
        "step_count",
    );
    check(
        "simulate_progress",
        json!({"task_name": "x", "step_count": 1.5}),
        "step_count",
    );
    check("simulate_progress", json!({}), "task_name");
    check("send_notification", json!({"message": ""}), "message");
    check(
        "send_notification",
        json!({"message": "m".repeat(4097)}),
        "message",
    );
    check(
        "send_notification",
        json!({"message": "m", "type": "loud"}),
        "type",
    );
    check(
        "send_notification",
        json!({"message": "m", "data": []}),
        "data",
    );
    check(
        "send_notification",
        json!({"message": "m", "data": {"x": "y".repeat(65_536)}}),
        "data",
    );
    check(
        "send_notification",
        json!({"message": "m", "colour": "red"}),
        "colour",
    );
    check("connection_status", json!({"verbose": true}), "verbose");
    assert_eq!(server.get("/v1/events").json()["events"], json!([]));
}
