use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::harness::{Answer, Server};

const VERSION: &str = "2026-07-28";

/// A request as clients of that revision send it.
struct Modern {
    message: Value,
    headers: Vec<(&'static str, String)>,
}

impl Modern {
    fn new(method: &str, mut params: Value) -> Self {
        let name = params.get("name").or(params.get("uri")).cloned();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let mut headers = vec![
            ("accept", "application/json, text/event-stream".to_owned()),
            ("mcp-protocol-version", VERSION.to_owned()),
            ("mcp-method", method.to_owned()),
        ];
        if let Some(name) = name.as_ref().and_then(Value::as_str) {
            headers.push(("mcp-name", name.to_owned()));
        }
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        Self { message, headers }
    }

    fn call(tool: &str, arguments: Value) -> Self {
        Self::new("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.message.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
        self
    }

    /// Without the header, if there is no value.
    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    fn progress(self, token: Value) -> Self {
        self.with("/params/_meta/progressToken", token)
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        Server::as_curl(Method::POST, &headers, self.message.to_string())
    }

    async fn to(self, server: &Server) -> Answer {
        server.send(self.request()).await
    }
}

/// The messages of an answer that is a stream.
fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    let body = std::str::from_utf8(&answer.body).unwrap();
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn a_server_says_what_it_is() {
    let server = Server::start().await;
    let answer = Modern::new("server/discover", json!({})).to(&server).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    let json = answer.json();
    let result = &json["result"];
    assert_eq!(json["id"], 7);
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["supportedVersions"], json!([VERSION]));
    assert_eq!(
        result["capabilities"],
        json!({
            "tools": {}, "resources": {"subscribe": true, "listChanged": true},
            "prompts": {}, "completions": {},
            "extensions": {
                "io.modelcontextprotocol/tasks": {},
                "io.modelcontextprotocol/events": {"listChanged": true},
            },
            "events": {},
        })
    );
    let identity = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(identity["name"], "notification-server");
    assert!(identity["version"].is_string());
    assert!(result["instructions"].is_string());
    assert_eq!(result["cacheScope"], "public");
    assert!(result["ttlMs"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn tools_are_listed_and_called() {
    let server = Server::start().await;
    let listed = Modern::new("tools/list", json!({})).to(&server).await;
    let result = listed.json()["result"].clone();
    assert_eq!(result["tools"], json!(server.tools().await));
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["cacheScope"], "public");
    assert!(result["ttlMs"].as_u64().unwrap() > 0);

    let call = Modern::call("send_notification", json!({"message": "m"}));
    let answer = call.to(&server).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let result = answer.json()["result"].clone();
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["isError"], false);
    let identity = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(identity["name"], "notification-server");
    assert_eq!(result.get("ttlMs"), None);
    assert_eq!(server.events().await.len(), 1);

    let call = Modern::call("send_notification", json!({"message": ""}));
    let result = call.to(&server).await.json()["result"].clone();
    assert_eq!(result["isError"], true);
    assert_eq!(server.events().await.len(), 1);
}

#[tokio::test]
async fn older_requests_are_answered_as_before() {
    let server = Server::start().await;
    let result = server.call("connection_status", json!({})).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let list = server.post(list).await.json()["result"].clone();
    for result in [result, list] {
        for field in ["resultType", "ttlMs", "cacheScope", "_meta"] {
            assert_eq!(result.get(field), None, "{field}");
        }
    }
}

#[tokio::test]
async fn each_mistake_has_its_code_and_status() {
    let server = Server::start().await;
    let check = async |request: Modern, status: u16, code: i64, named: &str| {
        let answer = request.to(&server).await;
        let json = answer.json();
        let what = format!("{named}: {} {json}", answer.status);
        assert_eq!(answer.status.as_u16(), status, "{what}");
        assert_eq!(json["error"]["code"], code, "{what}");
        assert_eq!(json["id"], 7, "{what}");
        let message = json["error"]["message"].as_str().unwrap();
        assert!(message.contains(named), "{what}");
        assert_eq!(server.hub.events_published(), 0);
        json["error"]["data"].clone()
    };
    let call = || Modern::call("send_notification", json!({"message": "m"}));
    let list = || Modern::new("tools/list", json!({}));
    let version = "io.modelcontextprotocol~1protocolVersion";
    let in_meta = |key: &str| format!("/params/_meta/{key}");

    for name in ["mcp-protocol-version", "mcp-method", "mcp-name"] {
        check(call().header(name, ""), 400, -32020, name).await;
        check(call().header(name, "other"), 400, -32020, name).await;
    }
    let wrong = call().header("mcp-name", "=?base64?####?=");
    check(wrong, 400, -32020, "Base64").await;

    for unknown in ["2099-01-01", "2025-11-25", "v999.0.0"] {
        let request = list()
            .header("mcp-protocol-version", unknown)
            .with(&in_meta(version), json!(unknown));
        let data = check(request, 400, -32022, unknown).await;
        let expected = json!({"supported": [VERSION], "requested": unknown});
        assert_eq!(data, expected);
    }

    for unknown in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "x",
    ] {
        let unknown = Modern::new(unknown, json!({}));
        check(unknown, 404, -32601, "known are server/discover").await;
    }

    let without = |key: &str| list().with(&in_meta(key), Value::Null);
    check(without(version), 400, -32602, "protocolVersion").await;
    let capabilities = "io.modelcontextprotocol~1clientCapabilities";
    check(without(capabilities), 400, -32602, "clientCapabilities").await;
    let no_meta = list().with("/params", json!({}));
    check(no_meta, 400, -32602, "protocolVersion").await;
    check(list().progress(json!({})), 400, -32602, "progressToken").await;

    let wrong = call().with("/params/arguments", json!([]));
    check(wrong, 200, -32602, "tools/call").await;
    let wrong = Modern::new("tools/call", json!({}));
    check(wrong, 200, -32602, "name").await;
    check(
        Modern::call("nothing", json!({})),
        200,
        -32602,
        "send_notification",
    )
    .await;
    let wrong = list().with("/params/cursor", json!("c"));
    check(wrong, 200, -32602, "cursor").await;

    check(list().header("accept", "text/html"), 406, -32600, "Accept").await;
    check(
        list().with("/id", json!(7)).with("/jsonrpc", json!("1")),
        400,
        -32600,
        "2.0",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_request_is_answered_as_everywhere() {
    let server = Server::start().await;
    let headers = [("mcp-protocol-version", VERSION), ("mcp-method", "x")];
    let check = async |body: &'static str, status: u16, code: i64| {
        let answer = server.request(Method::POST, &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}");
        assert_eq!(answer.json()["error"]["code"], code, "{body}");
    };
    check("{", 400, -32700).await;
    check("[]", 400, -32600).await;
    check(
        r#"[{"jsonrpc": "2.0", "id": 1, "method": "x"}]"#,
        400,
        -32600,
    )
    .await;
    check(
        r#"{"jsonrpc": "2.0", "id": null, "method": "x"}"#,
        400,
        -32600,
    )
    .await;
    check(r#"{"jsonrpc": "2.0", "id": 1, "result": {}}"#, 400, -32600).await;
    check(r#"{"jsonrpc": "2.0", "method": "tools/list"}"#, 400, -32600).await;
    let taken = r#"{"jsonrpc": "2.0", "method": "notifications/cancelled"}"#;
    let answer = server.request(Method::POST, &headers, taken).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(answer.body.is_empty());
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_to_who_asked_for_it() {
    let server = Server::start().await;
    let arguments = json!({"task_name": "t", "duration_seconds": 2, "step_count": 4});
    let call = || Modern::call("simulate_progress", arguments.clone());
    for token in [json!("t"), json!(5)] {
        let answer = call().progress(token.clone()).to(&server).await;
        let mut events = events(&answer);
        let result = events.pop().unwrap();
        assert_eq!(result["id"], 7);
        assert_eq!(result["result"]["structuredContent"]["status"], "completed");
        assert_eq!(events.len(), 4);
        for (step, event) in (1..).zip(events) {
            assert_eq!(event["method"], "notifications/progress");
            assert_eq!(event.get("id"), None);
            let params = &event["params"];
            assert_eq!(params["progressToken"], token);
            assert_eq!(
                (&params["progress"], &params["total"]),
                (&json!(f64::from(step)), &json!(4.0))
            );
            assert_eq!(params["message"], format!("Completed step {step} of 4"));
        }
    }
    // Nobody asked, or nobody could be told.
    let deaf = call()
        .progress(json!("t"))
        .header("accept", "application/json");
    for call in [call(), deaf] {
        let answer = call.to(&server).await;
        assert_eq!(answer.headers["content-type"], "application/json");
        let status = &answer.json()["result"]["structuredContent"]["status"];
        assert_eq!(status, "completed");
    }
    let stream = call().header("accept", "text/event-stream");
    assert_eq!(events(&stream.to(&server).await).len(), 1);
    // Curl's calls are answered in JSON, whatever they ask for.
    let meta = json!({"progressToken": "t"});
    let params = json!({"name": "simulate_progress", "arguments": arguments, "_meta": meta});
    let plain = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let answer = server.post(plain).await.json();
    assert_eq!(answer["result"]["isError"], false);
    assert_eq!(server.events().await.len(), 6 * 4);
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_cancels() {
    let server = Server::start().await;
    let arguments = json!({"task_name": "t", "duration_seconds": 10, "step_count": 10});
    let call = || Modern::call("simulate_progress", arguments.clone());
    let deaf = call().header("accept", "application/json");
    for (index, call) in [call(), call().progress(json!("t")), deaf]
        .into_iter()
        .enumerate()
    {
        let hung_up = Duration::from_millis(2_500);
        let hung_up = tokio::time::timeout(hung_up, call.to(&server)).await;
        assert!(hung_up.is_err());
        tokio::time::sleep(Duration::from_secs(20)).await;
        let events = server.events().await;
        assert_eq!(events.len(), 3 * (index + 1));
        let last = events.last().unwrap();
        assert_eq!(
            (&last["state"], &last["step"]),
            (&json!("cancelled"), &json!(2))
        );
        assert_eq!(
            last["message"],
            "Cancelled after step 2 of 10: whoever called gave it up"
        );
    }
    // Whoever calls without saying so goes on.
    let plain = server.call("simulate_progress", arguments);
    let hung_up = tokio::time::timeout(Duration::from_secs(1), plain).await;
    assert!(hung_up.is_err());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let events = server.events().await;
    assert_eq!(events.len(), 9 + 10);
    assert_eq!(events.last().unwrap()["state"], "completed");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_holds_nobody_up() {
    let server = Server::start().await;
    let arguments = json!({"task_name": "t", "duration_seconds": 40, "step_count": 20});
    let call = Modern::call("simulate_progress", arguments).progress(json!("t"));
    let answer = server.begin(call.request()).await;
    tokio::time::sleep(Duration::from_secs(41)).await;
    let events = server.events().await;
    assert_eq!(
        (events.len(), &events[19]["state"]),
        (20, &json!("completed"))
    );
    // What was on its way comes in order, and then the answer.
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body = std::str::from_utf8(&body).unwrap();
    let said = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let mut said: Vec<Value> = said
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(said.pop().unwrap()["id"], 7);
    assert!(said.len() < 20);
    for (step, said) in (1..).zip(said) {
        assert_eq!(said["params"]["progress"], f64::from(step));
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_call_is_kept_alive() {
    let server = Server::start().await;
    let arguments = json!({"task_name": "t", "duration_seconds": 60, "step_count": 1});
    for token in [json!("t"), Value::Null] {
        let mut call = Modern::call("simulate_progress", arguments.clone());
        if !token.is_null() {
            call = call.progress(token.clone());
        }
        let answer = call.to(&server).await;
        let events = events(&answer);
        assert_eq!(events.len(), 1 + usize::from(!token.is_null()));
        let body = std::str::from_utf8(&answer.body).unwrap();
        assert!(body.starts_with(":\n\n:\n\n:\n\n"), "{body}");
        assert!(body.ends_with("\n\n"), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_call_in_order() {
    let server = Server::start().await;
    let arguments = json!({"task_name": "t", "duration_seconds": 60, "step_count": 20});
    let call = Modern::call("simulate_progress", arguments).progress(json!("t"));
    let call = tokio::spawn({
        let server = server.clone();
        async move { call.to(&server).await }
    });
    tokio::time::sleep(Duration::from_secs(7)).await;
    server.mcp.shut_down().await;
    server.hub.close().await;
    let events = events(&call.await.unwrap());
    assert_eq!(events.len(), 3);
    assert_eq!(events[1]["params"]["progress"], 2.0);
    assert_eq!(
        events[2]["result"]["structuredContent"]["status"],
        "cancelled"
    );
}
