use http::{Method, StatusCode, header};
use serde_json::json;

use crate::harness::{STREAM, Server};

const CALL: &str = r#"{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params":
    {"name": "send_notification", "arguments": {"message": "m"}}}"#;
const SESSION: (&str, &str) = ("mcp-session-id", "s1");
const MODERN: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
const LEGACY: (&str, &str) = ("mcp-protocol-version", "2025-06-18");

#[tokio::test]
async fn a_get_without_a_session_is_the_plain_stream() {
    let server = Server::start().await;
    for method in [Method::GET, Method::HEAD] {
        for headers in [vec![], vec![("accept", "text/event-stream")]] {
            let answer = server.request(method.clone(), &headers, "").await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.body, STREAM, "{method} {headers:?}");
        }
    }
}

#[tokio::test]
async fn what_has_no_lane_is_refused_in_json() {
    let server = Server::start().await;
    let check = async |method: &str, headers: &[_], status: u16, allow: Option<&str>| {
        let method: Method = method.parse().unwrap();
        let body = if method == Method::POST { CALL } else { "" };
        let answer = server.request(method.clone(), headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {headers:?}");
        let allowed = answer.headers.get(header::ALLOW);
        assert_eq!(allowed.map(|v| v.to_str().unwrap()), allow, "{method}");
        assert_eq!(server.hub.events_published(), 0);
        answer.json()["error"]["code"].as_i64().unwrap()
    };
    assert_eq!(check("GET", &[SESSION], 404, None).await, -32600);
    assert_eq!(check("POST", &[SESSION], 404, None).await, -32600);
    assert_eq!(check("DELETE", &[SESSION], 404, None).await, -32600);
    for version in [LEGACY, MODERN] {
        assert_eq!(check("GET", &[version], 405, Some("POST")).await, -32600);
    }
    for method in ["DELETE", "PUT", "OPTIONS", "PATCH"] {
        let allow = Some("GET, HEAD, POST, DELETE");
        assert_eq!(check(method, &[], 405, allow).await, -32600);
        if method != "DELETE" {
            assert_eq!(check(method, &[SESSION], 405, allow).await, -32600);
        }
        let modern = [SESSION, MODERN];
        assert_eq!(check(method, &modern, 405, Some("POST")).await, -32600);
    }
}

#[tokio::test]
async fn a_refused_call_knows_its_id() {
    let server = Server::start().await;
    let answer = server.request(Method::POST, &[SESSION], CALL).await;
    assert_eq!(answer.json()["id"], 7);
}

#[test]
fn what_is_refused_in_front_of_the_endpoint_is_refused_in_its_way() {
    let check = |status: StatusCode, code: i64| {
        let response = notification_mcp::refusal::<Vec<u8>>(status, "not you");
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let error = json!({"code": code, "message": "not you"});
        assert_eq!(json, json!({"jsonrpc": "2.0", "id": null, "error": error}));
    };
    check(StatusCode::UNAUTHORIZED, -32600);
    check(StatusCode::FORBIDDEN, -32024);
    check(StatusCode::TOO_MANY_REQUESTS, -32025);
    check(StatusCode::SERVICE_UNAVAILABLE, -32603);
}
