use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::Server;

fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": "1", "method": "initialize", "params": {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "test-client", "version": "1.0.0"}
    }})
}

#[tokio::test]
async fn initialize_agrees_to_a_version_and_needs_no_session() {
    let server = Server::start().await;
    for (asked, agreed) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("2099-01-01", "2025-11-25"),
    ] {
        let answer = server.post(initialize(asked)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.headers.contains_key("mcp-session-id"));
        let json = answer.json();
        assert_eq!(json["id"], "1");
        let result = &json["result"];
        assert_eq!(result["protocolVersion"], agreed, "{asked}");
        assert_eq!(
            result["capabilities"],
            json!({"tools": {}, "resources": {}, "prompts": {}, "completions": {}})
        );
        assert_eq!(result["serverInfo"]["name"], "notification-server");
    }
}

#[tokio::test]
async fn whatever_is_accepted_the_answer_is_json() {
    let server = Server::start().await;
    for accept in [
        "*/*",
        "application/json",
        "text/html",
        "application/json, text/event-stream",
    ] {
        let body = initialize("2025-06-18").to_string();
        let headers = [("accept", accept)];
        let answer = server.request(Method::POST, &headers, body).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["result"]["protocolVersion"], "2025-06-18");
    }
}

#[tokio::test]
async fn ids_come_back_as_they_were() {
    let server = Server::start().await;
    for id in [json!("p-1"), json!(""), json!(0), json!(i64::MAX)] {
        let answer = server
            .post(json!({"jsonrpc": "2.0", "id": id, "method": "ping"}))
            .await;
        assert_eq!(
            answer.json(),
            json!({"jsonrpc": "2.0", "id": id, "result": {}})
        );
    }
}

#[tokio::test]
async fn a_client_that_sends_no_host_is_served() {
    let server = Server::start().await;
    let body = r#"{"jsonrpc": "2.0", "id": 1, "method": "ping"}"#;
    let request = Request::post("/mcp").header("content-type", "application/json; charset=utf-8");
    let answer = server.send(request.body(Full::from(body)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_notification_is_taken_in_silence() {
    let server = Server::start().await;
    let answer = server
        .post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn each_mistake_has_its_code_and_nothing_is_published() {
    let server = Server::start().await;
    let check = async |body: &[u8], status: u16, code: i64, id: Value, says: &str| {
        let what = String::from_utf8_lossy(body).into_owned();
        let answer = server.request(Method::POST, &[], body.to_vec()).await;
        assert_eq!(answer.status.as_u16(), status, "{what}");
        let json = answer.json();
        assert_eq!(json["jsonrpc"], "2.0", "{what}");
        assert_eq!(json["id"], id, "{what}");
        assert_eq!(json["error"]["code"], code, "{what}");
        let message = json["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{what}: {message}");
        assert_eq!(server.hub.events_published(), 0, "{what}");
    };
    let no = Value::Null;

    for body in [&b""[..], b"{\"jsonrpc\":", b"{\"a\":\"\xff\"}", b"{} {}"] {
        check(body, 400, -32700, no.clone(), "not valid JSON").await;
    }
    for (body, id, says) in [
        (
            json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"}]),
            no.clone(),
            "batches",
        ),
        (json!([]), no.clone(), "batches"),
        (json!("hi"), no.clone(), "JSON object"),
        (
            json!({"jsonrpc": "2.0", "id": "m"}),
            json!("m"),
            "`method` is missing",
        ),
        (
            json!({"jsonrpc": "2.0", "id": "m", "method": 5}),
            json!("m"),
            "`method` must be",
        ),
        (
            json!({"jsonrpc": "1.0", "id": "v", "method": "ping"}),
            json!("v"),
            "`jsonrpc`",
        ),
        (
            json!({"id": "v", "method": "ping"}),
            json!("v"),
            "`jsonrpc`",
        ),
        (
            json!({"jsonrpc": "2.0", "id": null, "method": "ping"}),
            no.clone(),
            "`id` must be",
        ),
        (
            json!({"jsonrpc": "2.0", "id": {}, "method": "ping"}),
            no.clone(),
            "`id` must be",
        ),
        (
            json!({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}),
            json!(1.5),
            "`id` must be",
        ),
        (
            json!({"jsonrpc": "2.0", "id": u64::MAX, "method": "ping"}),
            json!(u64::MAX),
            "`id`",
        ),
        (
            json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
            json!(1),
            "responses",
        ),
        (
            json!({"jsonrpc": "2.0", "method": "tools/call", "params": {
                "name": "send_notification", "arguments": {"message": "lost"}}}),
            no.clone(),
            "`id` is missing",
        ),
    ] {
        check(body.to_string().as_bytes(), 400, -32600, id, says).await;
    }
    for method in [
        "nope/x",
        "prompts/nope",
        "resources/subscribe",
        "server/discover",
    ] {
        let body = json!({"jsonrpc": "2.0", "id": "u", "method": method, "params": {}});
        check(body.to_string().as_bytes(), 200, -32601, json!("u"), method).await;
    }
    for (method, params, says) in [
        ("ping", json!([]), "`params` must be an object"),
        ("ping", json!({"_meta": 5}), "`_meta` must be an object"),
        ("initialize", no.clone(), "missing"),
        (
            "initialize",
            json!({"protocolVersion": 5}),
            "expected a string",
        ),
        ("tools/list", json!({"cursor": 5}), "expected a string"),
        ("tools/list", json!({"cursor": "x"}), "expected none"),
        ("resources/list", json!({"cursor": 5}), "expected a string"),
        (
            "resources/list",
            json!({"cursor": "x"}),
            "expected the nextCursor",
        ),
        (
            "resources/templates/list",
            json!({"cursor": "x"}),
            "expected none",
        ),
        ("resources/read", no.clone(), "missing"),
        ("resources/read", json!({}), "missing field `uri`"),
        ("resources/read", json!({"uri": 5}), "expected a string"),
        ("prompts/list", json!({"cursor": "x"}), "expected none"),
        ("prompts/get", no.clone(), "missing"),
        ("prompts/get", json!({}), "missing field `name`"),
        (
            "prompts/get",
            json!({"name": "nope"}),
            "unknown prompt `nope`; known are summarize_notifications, incident_report",
        ),
        (
            "prompts/get",
            json!({"name": "incident_report"}),
            "topic: expected this field, which is required",
        ),
        (
            "prompts/get",
            json!({"name": "summarize_notifications", "arguments": {"since": "yesterday"}}),
            "since: expected a cursor",
        ),
        (
            "prompts/get",
            json!({"name": "summarize_notifications", "arguments": {"topic": 5}}),
            "topic: expected a string",
        ),
        (
            "prompts/get",
            json!({"name": "summarize_notifications", "arguments": {"tpoic": "a"}}),
            "tpoic: expected no such",
        ),
        ("completion/complete", no.clone(), "missing"),
        ("completion/complete", json!({}), "missing field `ref`"),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/other"}, "argument": {"name": "topic", "value": ""}}),
            "ref/other",
        ),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "nope"},
                   "argument": {"name": "topic", "value": ""}}),
            "unknown prompt `nope`",
        ),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/resource", "uri": "notification://tasks"},
                   "argument": {"name": "task_id", "value": ""}}),
            "ref.uri: expected one of notification://topics/{topic}, ",
        ),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/resource", "uri": "notification://tasks/{task_id}"},
                   "argument": {"name": "topic", "value": ""}}),
            "argument.name: expected task_id of notification://tasks/{task_id}, got topic",
        ),
        ("tools/call", no.clone(), "missing"),
        ("tools/call", json!({}), "missing field `name`"),
        (
            "tools/call",
            json!({"name": "nope"}),
            "unknown tool `nope`; known are simulate_progress",
        ),
        (
            "tools/call",
            json!({"name": "connection_status", "arguments": []}),
            "expected a map",
        ),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": "c", "method": method, "params": params});
        check(body.to_string().as_bytes(), 200, -32602, json!("c"), says).await;
    }
}

#[tokio::test]
async fn what_is_repeated_in_a_message_is_short() {
    let server = Server::start().await;
    let method = "x".repeat(100_000);
    let answer = server
        .post(json!({"jsonrpc": "2.0", "id": 1, "method": method}))
        .await;
    assert!(answer.body.len() < 500);
}

#[tokio::test]
async fn a_key_that_is_there_twice_is_read_once() {
    let server = Server::start().await;
    let body = r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
        {"name": "connection_status", "name": "nope"}}"#;
    let answer = server.request(Method::POST, &[], body).await;
    assert_eq!(answer.json()["error"]["code"], -32602);
}

#[tokio::test]
async fn a_body_of_another_type_or_size_is_refused() {
    let server = Server::start().await;
    let call = r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
        {"name": "send_notification", "arguments": {"message": "m"}}}"#;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = server.request(Method::POST, &form, call).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.json()["error"]["code"], -32600);

    let check = async |size: usize, status: StatusCode| {
        let body = format!("{call}{}", " ".repeat(size - call.len()));
        let answer = server.request(Method::POST, &[], body).await;
        assert_eq!(answer.status, status, "{size}");
        answer.json()
    };
    let json = check((1 << 20) + 1, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(json["error"]["code"], -32600);
    assert_eq!(server.hub.events_published(), 0);
    check(1 << 20, StatusCode::OK).await;
    assert_eq!(server.hub.events_published(), 1);
}
