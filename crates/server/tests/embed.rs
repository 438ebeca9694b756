//! The server within a program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notification_server::{BuildError, Call, McpServer, Tool, ToolFailure, ToolResult};
use notification_testkit::{EventStream, eventually, request};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize, JsonSchema)]
struct Wanted {
    /// What it does: `fail`, `panic`, `wait`, or answer
    what: String,
    /// How often
    #[schemars(range(max = 3))]
    times: Option<u8>,
}

#[derive(Default)]
struct Act {
    was_called: Arc<AtomicBool>,
    was_cancelled: Arc<AtomicBool>,
    name: &'static str,
}

impl Tool for Act {
    type Arguments = Wanted;

    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        "Acts"
    }

    async fn call(&self, wanted: Wanted, call: Call) -> Result<ToolResult, ToolFailure> {
        match &*wanted.what {
            "fail" => Err(ToolFailure::new("it did not work")),
            "panic" => panic!("as it was asked to"),
            "wait" => {
                self.was_called.store(true, Ordering::Relaxed);
                call.cancelled().cancelled().await;
                self.was_cancelled.store(true, Ordering::Relaxed);
                Err(ToolFailure::new("cancelled"))
            }
            "publish" => {
                // What is no event is no event here, either.
                call.send_data(json!({"type": "notification"})).await?;
                Ok(ToolResult::text("published"))
            }
            _ => Ok(ToolResult::json(json!({"times": wanted.times}))),
        }
    }
}

fn builder() -> notification_server::McpServerBuilder {
    let any = "127.0.0.1:0".parse().unwrap();
    let act = Act {
        name: "act",
        ..Act::default()
    };
    McpServer::builder().tool(act).bind_address(any)
}

async fn ask(address: std::net::SocketAddr, body: Value) -> Value {
    let asked = tokio::task::spawn_blocking(move || {
        let json = [("Content-Type", "application/json")];
        request(address, "POST", "/mcp", &json, &body.to_string()).json()
    });
    asked.await.unwrap()
}

async fn call(address: std::net::SocketAddr, arguments: Value) -> Value {
    let params = json!({"name": "act", "arguments": arguments});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    ask(address, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_described_by_its_types_and_answers_as_it_likes() {
    let server = builder().name("mine").version("2.0").title("Mine").build();
    let server = server.unwrap().start().await.unwrap();
    let address = server.address();
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}},
    });
    let initialized = ask(address, initialize).await;
    let info = json!({"name": "mine", "version": "2.0", "title": "Mine"});
    assert_eq!(initialized["result"]["serverInfo"], info);
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let listed = ask(address, list).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    let act = tools.iter().find(|it| it["name"] == "act").unwrap();
    let schema = &act["inputSchema"];
    assert_eq!(
        (&schema["type"], &schema["required"]),
        (&json!("object"), &json!(["what"]))
    );
    assert_eq!(
        schema["properties"]["what"]["description"],
        "What it does: `fail`, `panic`, `wait`, or answer"
    );

    let done = call(address, json!({"what": "answer", "times": 2})).await;
    assert_eq!(done["result"]["structuredContent"], json!({"times": 2}));
    let text = |answer: &Value| {
        answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let failed = call(address, json!({"what": "fail"})).await;
    assert_eq!(
        (&failed["result"]["isError"], text(&failed)),
        (&json!(true), "it did not work".to_owned())
    );
    for (wrong, field) in [
        (json!({}), "what"),
        (json!({"what": "x", "times": 9}), "times"),
    ] {
        let refused = call(address, wrong).await;
        assert_eq!(refused["result"]["isError"], true);
        assert!(text(&refused).contains(field), "{refused}");
    }
    let refused = call(address, json!({"what": "publish"})).await;
    assert!(text(&refused).contains("message"), "{refused}");
    let panicked = call(address, json!({"what": "panic"})).await;
    assert_eq!(panicked["error"]["code"], -32603);
    // And the server goes on.
    let done = call(address, json!({"what": "answer"})).await;
    assert_eq!(done["result"]["structuredContent"], json!({"times": null}));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_sends_reaches_those_it_is_for_and_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let start = || async {
        let server = builder().data_dir(directory.path().join("log")).build();
        server.unwrap().start().await.unwrap()
    };
    let server = start().await;
    let address = server.address();
    let listen = |path: &'static str| {
        tokio::task::spawn_blocking(move || EventStream::open(address, path, &[]))
    };
    let mut everybody = listen("/v1/stream").await.unwrap();
    let mut alice = listen("/v1/stream?client_id=alice").await.unwrap();
    let publisher = server.publisher().clone();
    let message = |text: &str| json!({"type": "notification", "message": text});
    publisher.join_group("admin", "alice").await.unwrap();
    let first = publisher.notify("all").await.unwrap();
    publisher
        .send_to_client("alice", message("one"))
        .await
        .unwrap();
    publisher
        .send_to_clients(&["bob", "alice"], message("some"))
        .await
        .unwrap();
    publisher
        .send_to_group("admin", message("group"))
        .await
        .unwrap();
    publisher
        .send_to_client("bob", message("not alice"))
        .await
        .unwrap();
    publisher.report("job", 50.0, "half").await.unwrap();
    let (everybody, alice) =
        tokio::task::spawn_blocking(move || (everybody.take(2), alice.take(5)))
            .await
            .unwrap();
    let messages = |events: &[Value]| {
        events
            .iter()
            .map(|it| it["message"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(messages(&everybody), ["all", "half"]);
    assert_eq!(messages(&alice), ["all", "one", "some", "group", "half"]);
    assert_eq!(alice[4]["task_name"], "task");
    assert!(
        publisher
            .send_to_client("no such id!", message("x"))
            .await
            .is_err()
    );
    server.stop().await.unwrap();

    // The log outlives the program, and so does a place in it.
    let server = start().await;
    let store = server.publisher().message_store();
    let saved = store.save(message("later")).await.unwrap();
    let last_seen = first.cursor.to_string();
    let missed = store.get_since("alice", Some(&last_seen)).await.unwrap();
    assert_eq!(messages(&missed), ["one", "some", "group", "half", "later"]);
    assert_eq!(missed[4]["cursor"], saved.cursor.to_string());
    let all = store.get_since("bob", None).await.unwrap();
    assert_eq!(
        messages(&all),
        ["all", "some", "not alice", "half", "later"]
    );
    assert!(store.get_since("alice", Some("no cursor")).await.is_err());
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_can_be_switched_off() {
    let server = builder().sse(false).build().unwrap().start().await.unwrap();
    let address = server.address();
    for path in ["/mcp", "/v1/stream"] {
        let accept = [("Accept", "text/event-stream")];
        let answer =
            tokio::task::spawn_blocking(move || request(address, "GET", path, &accept, ""));
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(
            answer.json()["detail"]
                .as_str()
                .unwrap()
                .contains("switched off")
        );
    }
    let params = json!({"name": "connection_status", "arguments": {}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let status = ask(address, body).await;
    assert_eq!(status["result"]["structuredContent"]["sse_enabled"], false);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_hears_that_nobody_waits_any_more() {
    let (was_called, was_cancelled) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
    let act = Act {
        was_called: was_called.clone(),
        was_cancelled: was_cancelled.clone(),
        name: "waits",
    };
    let server = builder().tool(act).build().unwrap().start().await.unwrap();
    let address = server.address();
    // Revision 2026-07-28: closing the answer's stream cancels.
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": "waits", "arguments": {"what": "wait"}, "_meta": meta});
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: waits\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut socket, head.as_bytes()).unwrap();
    let heard = tokio::task::spawn_blocking(move || {
        eventually("it is called", || was_called.load(Ordering::Relaxed));
        drop(socket);
        eventually("it was cancelled", || was_cancelled.load(Ordering::Relaxed));
    });
    heard.await.unwrap();
    server.stop().await.unwrap();
}

#[test]
fn what_makes_no_sense_is_said_before_it_starts() {
    let named = |name: &'static str| Act {
        name,
        ..Act::default()
    };
    let build = |builder: notification_server::McpServerBuilder| builder.build().unwrap_err();
    assert_eq!(
        build(builder().tool(named("act"))),
        BuildError::Twice("act".to_owned())
    );
    assert_eq!(
        build(builder().tool(named("a b"))),
        BuildError::ToolName("a b".to_owned())
    );
    assert_eq!(
        build(builder().tool(named(""))),
        BuildError::ToolName(String::new())
    );
    assert_eq!(build(builder().name("")), BuildError::Empty("name"));
}
