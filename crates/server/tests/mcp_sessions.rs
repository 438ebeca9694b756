//! MCP clients of the revisions that begin with `initialize`, over the real server.

#[path = "common/mod.rs"]
mod common;
#[path = "common/secured.rs"]
mod secured;
#[path = "common/session.rs"]
mod session;

use common::{notification, server, server_with};
use notification_testkit::{EventStream, ServerProcess, eventually, request};
use secured::{Credential, Secured};
use serde_json::{Value, json};
use session::{BOTH, Client, JSON, initialize};

/// What a log message says, and how severe it is.
fn said(message: &Value) -> (String, Value) {
    assert_eq!(message["jsonrpc"], "2.0");
    assert_eq!(message["method"], "notifications/message", "{message}");
    assert_eq!(message["params"]["logger"], "notifications");
    let level = message["params"]["level"].as_str().unwrap().to_owned();
    (level, message["params"]["data"].clone())
}

fn publish(server: &ServerProcess, message: &str, how: &str) {
    let event = json!({"type": "notification", "message": message, "notification_type": how});
    assert_eq!(server.post("/v1/events", &event).status, 201);
}

/// The next log messages; that there are new topics is said beside them.
fn log_messages(stream: &mut EventStream, count: usize) -> Vec<Value> {
    let messages = std::iter::from_fn(|| stream.next()).map(|event| event.data);
    let messages =
        messages.filter(|message| message["method"] != "notifications/resources/list_changed");
    messages.take(count).collect()
}

fn messages(stream: &mut EventStream, count: usize) -> Vec<String> {
    let taken = log_messages(stream, count);
    let texts = taken.iter().map(|m| said(m).1["message"].clone());
    texts.map(|m| m.as_str().unwrap().to_owned()).collect()
}

#[test]
fn events_come_as_log_messages_in_every_revision() {
    let server = server(&[]);
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = Client::connect(&server, version);
        // What is published between the two is not missed.
        publish(&server, "before the stream", "info");
        let mut stream = client.stream();
        assert_eq!(stream.header("content-type"), Some("text/event-stream"));
        for (message, how) in [("a", "success"), ("b", "warning"), ("c", "error")] {
            publish(&server, message, how);
        }
        let event = json!({"type": "event", "name": "deploy", "data": {"version": 3}});
        server.post("/v1/events", &event);
        let task = json!({"task_name": "T", "progress": 50});
        server.request(
            "PUT",
            &format!("/v1/tasks/t-{version}"),
            &[JSON],
            &task.to_string(),
        );
        let all: Vec<_> = log_messages(&mut stream, 6).iter().map(said).collect();
        let levels: Vec<_> = all.iter().map(|(level, _)| level.as_str()).collect();
        assert_eq!(
            levels,
            ["info", "info", "warning", "error", "info", "debug"]
        );
        assert_eq!(all[0].1["message"], "before the stream");
        assert_eq!(all[4].1["data"], json!({"version": 3}));
        assert_eq!(all[5].1["progress"], 50.0);
        assert_eq!(client.delete(), 204);
    }
}

#[test]
fn a_stream_is_resumed_from_the_log_and_repeats_nothing() {
    let mut server = server(&[]);
    let cursor = {
        let client = Client::connect(&server, "2025-11-25");
        let mut stream = client.stream();
        publish(&server, "one", "info");
        assert_eq!(messages(&mut stream, 1), ["one"]);
        let cursor = stream.last_id().unwrap().to_owned();
        stream.close();
        publish(&server, "two", "info");
        publish(&server, "three", "info");
        let mut again = client.resume(&cursor);
        assert_eq!(messages(&mut again, 2), ["two", "three"]);
        // The newer stream has the place of the older one.
        let mut newest = client.resume(again.last_id().unwrap());
        let (level, closing) = said(&again.next().unwrap().data);
        assert_eq!((&*level, &closing["status"]), ("notice", &json!("closing")));
        assert!(again.next().is_none());
        publish(&server, "four", "info");
        assert_eq!(messages(&mut newest, 1), ["four"]);
        newest.last_id().unwrap().to_owned()
    };
    // A session does not outlive the server, but a place in the log does.
    server.kill();
    server.restart();
    publish(&server, "five", "info");
    let client = Client::connect(&server, "2025-11-25");
    assert_eq!(messages(&mut client.resume(&cursor), 1), ["five"]);
}

#[test]
fn a_client_says_how_severe_it_wants_them() {
    let server = server(&[]);
    let client = Client::connect(&server, "2025-06-18");
    let mut stream = client.stream();
    let set = |level: &str| {
        client
            .ask("logging/setLevel", json!({"level": level}))
            .json()
    };
    assert_eq!(set("warning")["result"], json!({}));
    for (message, how) in [
        ("a", "info"),
        ("b", "warning"),
        ("c", "success"),
        ("d", "error"),
    ] {
        publish(&server, message, how);
    }
    assert_eq!(messages(&mut stream, 2), ["b", "d"]);
    assert_eq!(set("debug")["result"], json!({}));
    publish(&server, "e", "info");
    assert_eq!(messages(&mut stream, 1), ["e"]);
    let wrong = set("loud");
    assert_eq!(wrong["error"]["code"], -32602);
    assert!(
        wrong["error"]["message"]
            .as_str()
            .unwrap()
            .contains("debug, info")
    );
}

#[test]
fn what_takes_long_is_a_stream_that_can_be_resumed() {
    let server = server(&[]);
    let client = Client::connect(&server, "2025-11-25");
    let mut reply = client.call_for_long(7, 1, None);
    let response = reply.take(1).remove(0);
    assert_eq!(response["id"], 7);
    assert_eq!(
        response["result"]["structuredContent"]["status"],
        "completed"
    );
    assert!(reply.next().is_none());

    // It breaks before the answer, and the call goes on.
    let reply = client.call_for_long(8, 2, None);
    let mut reply = reply;
    while reply.last_id().is_none() {
        assert!(reply.read());
    }
    let place = reply.last_id().unwrap().to_owned();
    reply.close();
    let mut rest = client.resume(&place);
    let response = rest.take(1).remove(0);
    assert_eq!(response["id"], 8);
    assert_eq!(
        response["result"]["structuredContent"]["status"],
        "completed"
    );
    assert!(rest.next().is_none());
    // Also after it is complete, and nothing twice.
    let mut again = client.resume(&place);
    assert_eq!(again.take(1), [response]);
    assert!(client.resume(rest.last_id().unwrap()).next().is_none());
    let unknown = client.try_stream(&[("Last-Event-ID", "reply-99.1")]);
    assert_eq!(unknown.unwrap_err().status, 400);
}

#[test]
fn a_session_is_its_principals_and_ends_when_it_is_told_to() {
    let secured = Secured::start("");
    let bearer = |credential: &Credential| match credential {
        Credential::Bearer(text) => format!("Bearer {text}"),
        Credential::Cookie(_) => unreachable!(),
    };
    let alice = bearer(&secured.allowed("alice", &["subscribe:**"]));
    let mallory = bearer(&secured.allowed("mallory", &["admin"]));
    let hers = Client::connect_as(&secured.server, "2025-11-25", Some(alice));
    let mut stream = hers.stream();
    let his = Client {
        id: hers.id.clone(),
        authorization: Some(mallory),
        ..hers
    };
    assert_eq!(his.ask("tools/list", json!({})).status, 404);
    assert_eq!(his.try_stream(&[]).unwrap_err().status, 404);
    assert_eq!(his.delete(), 404);
    let nobody = Client {
        authorization: None,
        id: hers.id.clone(),
        ..hers
    };
    assert_eq!(nobody.ask("tools/list", json!({})).status, 401);
    assert_eq!(hers.ask("tools/list", json!({})).status, 200);
    assert_eq!(hers.delete(), 204);
    let (_, closing) = said(&stream.next().unwrap().data);
    assert_eq!(closing["status"], "closing");
    assert!(stream.next().is_none());
    assert_eq!(hers.ask("tools/list", json!({})).status, 404);
    assert_eq!(hers.try_stream(&[]).unwrap_err().status, 404);
}

#[test]
fn sessions_are_bounded_and_end_when_nobody_uses_them() {
    let server = server_with("[mcp]\nmax_sessions = 2\nsession_idle_seconds = 2\n");
    let kept = Client::connect(&server, "2025-11-25");
    let mut stream = kept.stream();
    let idle = Client::connect(&server, "2025-11-25");
    let headers = [JSON, BOTH];
    let body = initialize("2025-11-25").to_string();
    let begin = || request(server.address(), "POST", "/mcp", &headers, &body);
    let refused = begin();
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.json()["error"]["data"]["limit"], "mcp.max_sessions");
    eventually("there is room again", || begin().status == 200);
    assert_eq!(idle.ask("ping", json!({})).status, 404);
    // As long as its stream is open.
    publish(&server, "still here", "info");
    assert_eq!(messages(&mut stream, 1), ["still here"]);
    assert_eq!(kept.ask("ping", json!({})).status, 200);
}

#[test]
fn one_principal_does_not_take_all_sessions() {
    let secured = Secured::start("[mcp]\nmax_sessions = 10\n");
    let (a, b) = (secured.allowed("a", &[]), secured.allowed("b", &[]));
    let body = initialize("2025-11-25").to_string();
    let begin = |by: &Credential| secured.send(by, "POST", "/mcp", &[JSON, BOTH], &body);
    assert_eq!(begin(&a).status, 200);
    let refused = begin(&a);
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(
        refused.json()["error"]["data"]["limit"],
        "principal.mcp_sessions"
    );
    assert_eq!(begin(&b).status, 200);
    let metrics = || secured.ask(&Secured::admin(), "GET", "/metrics", None);
    eventually("they are counted", || {
        metrics().metric("notification_mcp_sessions") == 2.0
    });
}

#[test]
fn what_is_no_request_of_a_session_is_refused() {
    let server = server(&[]);
    let client = Client::connect(&server, "2025-11-25");
    let unknown = client.ask("tools/destroy", json!({})).json();
    assert_eq!(unknown["error"]["code"], -32601);
    let again = client.post(&initialize("2025-11-25"));
    assert_eq!(again.status, 400);
    let misfit = client.ask("tools/call", json!({"name": 7})).json();
    assert_eq!(misfit["error"]["code"], -32602);
    for (name, value, status) in [
        ("MCP-Protocol-Version", "2024-01-01", 400),
        ("Mcp-Session-Id", "nonsense", 404),
        (
            "Mcp-Session-Id",
            "00000000-0000-4000-8000-000000000000",
            404,
        ),
    ] {
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
        let headers = client.headers().into_iter().filter(|(n, _)| *n != name);
        let headers: Vec<_> = headers.chain([BOTH, (name, value)]).collect();
        let refused = request(server.address(), "POST", "/mcp", &headers, &ping);
        assert_eq!(refused.status, status, "{name}: {value}");
    }
}

#[test]
fn a_call_that_is_cancelled_ends() {
    let server = server(&[]);
    let client = Client::connect(&server, "2025-11-25");
    let mut reply = client.call_for_long(9, 60, Some("p"));
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                           "params": {"requestId": 9, "reason": "no more"}});
    assert_eq!(client.post(&cancelled).status, 202);
    // There is no response to a request that was cancelled.
    while let Some(message) = reply.next() {
        assert_eq!(message.data["method"], "notifications/progress");
    }
    eventually("the task has ended", || {
        let tasks = server.get("/v1/tasks").json();
        tasks["tasks"][0]["state"] == "cancelled"
    });
}

#[test]
fn a_thousand_sessions_hear_a_broadcast() {
    let server = server(&[]);
    let clients: Vec<_> = (0..1_000)
        .map(|_| Client::connect(&server, "2025-11-25"))
        .collect();
    let mut streams: Vec<_> = clients.iter().map(Client::stream).collect();
    for n in 0..5 {
        server.post("/v1/events", &notification(&format!("m{n}")));
    }
    for stream in &mut streams {
        assert_eq!(messages(stream, 5), ["m0", "m1", "m2", "m3", "m4"]);
    }
    let result = clients[0].call("connection_status", json!({}));
    assert_eq!(result["structuredContent"]["active_connections"], 1_000);
}
