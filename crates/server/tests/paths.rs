//! Whatever stands in a path where a name belongs, the answer is a refusal.

mod common;

use common::{refused, server};
use notification_testkit::{Response, ServerProcess, request};
use serde_json::json;

/// Each path with a name in it, as `{}`; the other names are right.
const PATHS: [(&str, &str); 12] = [
    ("PUT", "/v1/groups/{}/clients/alice"),
    ("PUT", "/v1/groups/ops/clients/{}"),
    ("DELETE", "/v1/groups/{}/clients/alice"),
    ("DELETE", "/v1/groups/ops/clients/{}"),
    ("GET", "/v1/groups/{}"),
    ("GET", "/v1/clients/{}"),
    ("DELETE", "/v1/clients/{}"),
    ("POST", "/v1/clients/{}/acks"),
    ("GET", "/v1/events/{}/receipts"),
    ("DELETE", "/v1/connections/{}"),
    ("PUT", "/v1/tasks/{}"),
    ("GET", "/v1/tasks/{}"),
];

fn ask(server: &ServerProcess, method: &str, path: &str) -> Response {
    let headers = [("Content-Type", "application/json")];
    let body = json!({"task_name": "T"}).to_string();
    let body = if method == "GET" { "" } else { &body };
    request(server.address(), method, path, &headers, body)
}

#[test]
fn hostile_names_are_refused() {
    let server = server(&[]);
    let encoded = "%00 %0A %0D%0A a%0Ab %20 a%20b %7F %22 %27 %3Cb%3E %2A %24presence %25 %252F \
                   %2F a%2F %2Fetc%2Fpasswd %5C..%5C a%3Fb a%23b %C3%A4 %F0%9F%98%80 %E2%80%AE";
    let broken = "% %2 %zz %ff %C3%28 %ED%A0%80";
    let plain = "ä 😀 a;b a+b a,b a\"b {} [] ' / // a/b/c/d/";
    let long = "x".repeat(1_000);
    let hostile = [encoded, broken, plain]
        .into_iter()
        .flat_map(str::split_whitespace);
    for name in hostile.chain(["", &long]) {
        for (method, path) in PATHS {
            let path = path.replace("{}", name);
            let answer = ask(&server, method, &path);
            let is_refused = (400..500).contains(&answer.status);
            assert!(is_refused, "{method} {path}: {answer:?}");
            refused(&answer, answer.status);
        }
    }
    nothing_happened(&server);
}

#[test]
fn paths_are_not_normalized_into_others() {
    let server = server(&[]);
    for name in ". .. %2e %2E%2e .%2E ..%2F.. ..%2f%2e%2E".split(' ') {
        for (method, path) in PATHS {
            let answer = ask(&server, method, &path.replace("{}", name));
            assert_eq!(refused(&answer, 422).len(), 1, "{method} {path} {name}");
        }
    }
    nothing_happened(&server);
}

fn nothing_happened(server: &ServerProcess) {
    assert_eq!(server.get("/v1/events").json()["events"], json!([]));
    assert_eq!(server.get("/v1/groups").json(), json!({"groups": []}));
    assert_eq!(server.get("/v1/clients").json(), json!({"clients": []}));
    assert_eq!(
        server.get("/v1/tasks").json(),
        json!({"tasks": [], "has_more": false})
    );
    assert_eq!(server.get("/healthz").status, 200);
}
