//! MCP's revision 2026-07-28: requests without a session, over real sockets.

mod common;
#[path = "common/modern.rs"]
mod modern;
#[path = "common/secured.rs"]
mod secured;

use std::net::{Shutdown, TcpStream};

use common::server;
use modern::{Modern, VERSION};
use notification_testkit::{EventStream, ServerProcess, eventually};
use secured::Secured;
use serde_json::{Value, json};

fn simulate(seconds: u64, steps: u64) -> Modern {
    let arguments = json!({"task_name": "t", "duration_seconds": seconds, "step_count": steps});
    Modern::call("simulate_progress", &arguments)
}

/// The newest of everything that was published.
fn newest(server: &ServerProcess) -> Value {
    let events = server.get("/v1/events?limit=1000").json()["events"].clone();
    events
        .as_array()
        .and_then(|events| events.last().cloned())
        .unwrap_or_default()
}

#[test]
fn requests_are_answered_one_by_one() {
    let server = server(&[]);
    let discovered = Modern::new("server/discover", json!({})).ask(&server);
    assert_eq!(discovered.status, 200, "{discovered:?}");
    let result = &discovered.json()["result"];
    assert_eq!(result["supportedVersions"], json!([VERSION]));
    assert_eq!(discovered.header("mcp-session-id"), None);

    let message = json!({"message": "m"});
    let sent = Modern::call("send_notification", &message).ask(&server);
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.json()["result"]["isError"], false, "{sent:?}");
    assert_eq!(newest(&server)["message"], "m");

    // What belonged to sessions means nothing here.
    let request = Modern::new("tools/list", json!({}))
        .with_header("Mcp-Session-Id", "s")
        .with_header("Last-Event-ID", "e");
    assert_eq!(request.ask(&server).status, 200);
    for method in ["GET", "DELETE", "PUT"] {
        let version = [("MCP-Protocol-Version", VERSION)];
        let answer = server.request(method, "/mcp", &version, "");
        let allow = answer.header("allow");
        assert_eq!((answer.status, allow), (405, Some("POST")), "{method}");
    }
}

#[test]
fn progress_comes_on_the_stream_that_the_answer_ends() {
    let server = server(&[]);
    let mut watcher = EventStream::open(server.address(), "/v1/stream", &[]);
    let connection = simulate(1, 4).with_progress().send(&server);
    let mut stream = EventStream::answered_on(connection);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    for step in 1..=4 {
        let said = stream.next().unwrap();
        assert_eq!((said.id, said.name), (None, None));
        assert_eq!(said.data["method"], "notifications/progress");
        let params = &said.data["params"];
        assert_eq!(params["progressToken"], "progress");
        assert_eq!(
            (&params["progress"], &params["total"]),
            (&json!(f64::from(step)), &json!(4.0))
        );
        assert_eq!(watcher.next().unwrap().data["step"], step);
    }
    let answer = stream.next().unwrap().data;
    assert_eq!(answer["id"], 7);
    assert_eq!(answer["result"]["structuredContent"]["status"], "completed");
    assert_eq!(stream.next(), None);
}

#[test]
fn who_hangs_up_cancels() {
    let server = server(&[]);
    let mut watcher = EventStream::open(server.address(), "/v1/stream", &[]);
    let mut check = |request: &Modern, hang_up: &dyn Fn(TcpStream)| {
        let connection = request.send(&server);
        let first = watcher.next().unwrap().data;
        assert_eq!(first["state"], "running");
        hang_up(connection);
        let mut steps = std::iter::from_fn(|| watcher.next());
        let last = steps.find(|event| event.data["state"] != "running");
        let last = last.unwrap().data;
        assert_eq!(last["task_id"], first["task_id"], "{request:?}");
        assert_eq!(last["state"], "cancelled", "{request:?}");
    };
    let closed = |connection: TcpStream| connection.shutdown(Shutdown::Both).unwrap();
    // Nothing was answered yet; a stream is open, and read or not.
    check(&simulate(15, 20), &closed);
    check(
        &simulate(15, 20).with_header("Accept", "application/json"),
        &closed,
    );
    check(&simulate(15, 20).with_progress(), &closed);
    check(&simulate(15, 20).with_progress(), &|connection| {
        let mut stream = EventStream::answered_on(connection);
        assert_eq!(stream.next().unwrap().data["params"]["progress"], 1.0);
        stream.close();
    });
}

#[test]
fn a_call_of_curl_goes_on_without_it() {
    let server = server(&[]);
    let mut plain = simulate(2, 2);
    plain.headers.truncate(1);
    plain.body["params"]["_meta"] = json!({"progressToken": "progress"});
    let connection = plain.send(&server);
    eventually("the first step", || newest(&server)["step"] == 1);
    connection.shutdown(Shutdown::Both).unwrap();
    eventually("the end", || newest(&server)["state"] == "completed");
}

#[test]
fn a_shutdown_answers_what_is_under_way() {
    let mut server = server(&[]);
    let told = simulate(60, 20).with_progress().send(&server);
    let mut told = EventStream::answered_on(told);
    assert_eq!(told.next().unwrap().data["params"]["progress"], 1.0);
    let untold = simulate(60, 20).with_header("Accept", "text/event-stream");
    let untold = untold.send(&server);
    eventually("two calls", || newest(&server)["step"] == 1);
    let (status, _) = server.stop();
    assert!(status.success());
    for mut stream in [told, EventStream::answered_on(untold)] {
        let answers = std::iter::from_fn(|| stream.next()).map(|event| event.data);
        let answer = answers.last().unwrap();
        assert_eq!(answer["id"], 7);
        let status = &answer["result"]["structuredContent"]["status"];
        assert_eq!(status, "cancelled", "{answer}");
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let server = server(&[]);
    let list = || Modern::new("tools/list", json!({}));
    let call = || Modern::call("connection_status", &json!({}));
    let check = |request: Modern, status: u16, code: Option<i64>| {
        let answer = request.ask(&server);
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        assert_eq!(answer.json()["error"]["code"].as_i64(), code, "{request:?}");
        assert_eq!(answer.json()["id"], 7);
    };
    let lie = |request: Modern, name: &'static str, value: &str| {
        check(request.with_header(name, value), 400, Some(-32020));
    };
    check(list(), 200, None);
    check(call(), 200, None);
    check(
        call().with_header("mcp-name", " \t connection_status \t"),
        200,
        None,
    );
    check(
        call().with_header("Mcp-Name", "=?base64?Y29ubmVjdGlvbl9zdGF0dXM=?="),
        200,
        None,
    );
    for value in [
        "",
        "TOOLS/LIST",
        "tools/list,tools/call",
        "tools/list; q=1",
        "tööls",
    ] {
        lie(list(), "Mcp-Method", value);
    }
    let long = "x".repeat(8_000);
    for value in [
        "send_notification",
        "=?base64?",
        "=?base64?!?=",
        "\u{1F600}",
        &long,
    ] {
        lie(call(), "Mcp-Name", value);
    }
    for value in [
        "2025-11-25",
        "2026-07-28\u{a0}",
        "2026-07-28,2026-07-28",
        "latest",
    ] {
        lie(list(), "MCP-Protocol-Version", value);
    }
    for name in ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"] {
        let mut twice = call();
        let same = twice
            .headers
            .iter()
            .find(|(other, _)| *other == name)
            .cloned();
        twice.headers.extend(same);
        check(twice, 400, Some(-32020));
        let mut without = call();
        without.headers.retain(|(other, _)| *other != name);
        check(without, 400, Some(-32020));
    }
}

#[test]
fn who_calls_has_to_be_known() {
    let secured = Secured::start("");
    for request in [
        Modern::new("server/discover", json!({})),
        Modern::call("send_notification", &json!({"message": "m"})),
        simulate(1, 1).with_progress(),
    ] {
        let answer = request.ask(&secured.server);
        assert_eq!(answer.status, 401, "{answer:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert_eq!(answer.json()["error"]["code"], -32600);
    }
    assert_eq!(secured.published(), 0);
    // A key that lacks a grant is told by the tool, whatever else was asked for.
    let key = secured.allowed("reader", &["subscribe:**"]);
    for accept in ["application/json, text/event-stream", "text/event-stream"] {
        let request = simulate(1, 1).with_progress().with_header("Accept", accept);
        let body = request.body.to_string();
        let answer = secured.send(&key, "POST", "/mcp", &request.headers(), &body);
        assert_eq!(answer.status, 200);
        assert!(
            answer.body.contains("needs the grant tasks:default"),
            "{answer:?}"
        );
    }
    assert_eq!(secured.published(), 0);
}
