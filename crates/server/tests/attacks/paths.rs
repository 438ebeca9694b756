//! Paths that mean another route, or a file, to whoever reads them less strictly.

use crate::victim::Victim;
use crate::wire::{READERS, answer};

/// As they are written into the request's first line.
const PATHS: &[&str] = &[
    "/..%2f",
    "/..%2fv1/stream",
    "/../v1/stream",
    "/../../../../etc/passwd",
    "/..%2f..%2f..%2f..%2fetc/passwd",
    "/%2e%2e/",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/%2e%2e/v1/stream",
    "/.%2e/v1/events",
    "/./v1/events",
    "/v1/./events",
    "/v1/../metrics",
    "/v1/stream/../events",
    "/v1/stream/..",
    "//v1/stream",
    "//v1/events",
    "/v1//stream",
    "/v1//events",
    "//localhost/v1/stream",
    "/v1/stream/",
    "/v1/events/",
    "/mcp/",
    "//mcp",
    "/mcp/.",
    "/mcp%00",
    "/mcp%20",
    "/mcp;x=y",
    "/v1/stream;x=y",
    "/v1/stream%00",
    "/v1/stream%00.html",
    "/v1/stream%20",
    "/v1/stream%3f",
    "/v1/stream%3Fsince=all",
    "/v1/stream%23",
    "/v1/events%2f",
    "/v1%2fstream",
    "/v1%2Fevents",
    "/%76%31/stream",
    "/v1/%73tream",
    "/%6dcp",
    "/v1%252fstream",
    "/V1/STREAM",
    "/V1/events",
    "/MCP",
    "/v1\\stream",
    "/v1\\events",
    "\\v1\\stream",
    "/\\v1/stream",
    "/v1/stream\\",
    "/..\\..\\..\\windows\\win.ini",
    "/..%5c..%5cwindows%5cwin.ini",
    "/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    "/%c0%af",
    "/v1%c0%afstream",
    "/%e0%80%af",
    "/%f0%80%80%af",
    "/v1/%ff",
    "/%",
    "/%zz",
    "/v1/events%",
    "/v1/%u0073tream",
    "/v1/ｓtream",
    "/file:///etc/passwd",
    "/Cargo.toml",
    "/notifications.db",
    "/.git/config",
    "/v1/events.json",
    "/v1/stream.css",
    "/index.html",
    "/openapi.json/",
    "/openapi.json/..",
    "/metrics/",
    "/healthz/../metrics",
    "v1/stream",
    "v1/events",
    "*",
    "?/v1/stream",
];

fn request(method: &str, path: &str) -> Vec<u8> {
    let body = r#"{"type":"notification","message":"m"}"#;
    let rest = match method {
        "GET" => String::new(),
        _ => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{rest}\r\n").into_bytes()
}

#[test]
fn a_path_is_what_it_says_and_no_other() {
    let mut victim = Victim::new();
    for path in PATHS {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            for reader in READERS {
                let refusal = answer(victim.address(), &request(method, path), reader);
                let is_refused = [400, 404].contains(&refusal.status);
                assert!(is_refused, "{method} {path}: {refusal:?}");
                let body = String::from_utf8_lossy(&refusal.body);
                let leaks = [
                    "root:",
                    "[package]",
                    "[core]",
                    "SQLite",
                    "# HELP",
                    "events\":",
                ];
                assert!(!leaks.iter().any(|leak| body.contains(leak)), "{body}");
            }
        }
    }
    victim.is_unharmed();
}

#[test]
fn bytes_that_no_path_has_make_no_request() {
    let mut victim = Victim::new();
    for byte in [b'\0', b'\t', b'\r', 0x0b, 0x7f, b' '] {
        for place in ["/v1/{}stream", "/v1/stream{}", "/{}mcp", "/v1/events{}/x"] {
            let (before, after) = place.split_once("{}").unwrap();
            let target = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            let head = [b"GET ", &*target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
            for reader in READERS {
                let refusal = answer(victim.address(), &head, reader);
                let is_refused = [400, 404].contains(&refusal.status);
                assert!(is_refused, "{}: {refusal:?}", head.escape_ascii());
            }
        }
    }
    victim.is_unharmed();
}

/// A topic's slashes are part of it, but they lead nowhere.
#[test]
fn a_topic_in_a_path_stays_a_topic() {
    let mut victim = Victim::new();
    for path in [
        "/v1/topics/../events",
        "/v1/topics/..%2f..%2fetc%2fpasswd",
        "/v1/topics//ops",
        "/v1/topics/ops/",
        "/v1/topics/",
        "/v1/topics/%2e%2e%2f",
        "/v1/topics/ops%00",
        "/v1/topics/ops%0a",
        "/v1/topics/$presence",
        "/v1/topics/%24presence",
        "/v1/topics/**",
        "/v1/topics/ops%5cdb",
        "/v1/topics/%c0%ae%c0%ae/x",
    ] {
        let answer = answer(victim.address(), &request("POST", path), READERS[0]);
        if answer.status == 201 {
            // Dots are letters to a topic. It was published there, and nowhere else.
            let topic = path.strip_prefix("/v1/topics/").unwrap();
            let topic = topic.replace("%2f", "/");
            assert_eq!(victim.next()["topic"], topic, "{path}");
        } else {
            assert!([404, 422].contains(&answer.status), "{path}: {answer:?}");
        }
    }
    victim.is_unharmed();
}
