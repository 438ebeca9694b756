//! MCP on standard input and output: the real binary over pipes.

#[path = "common/mod.rs"]
mod common;
#[path = "common/process.rs"]
mod process;
#[path = "common/secured.rs"]
mod secured;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{notification, server};
use notification_testkit::{ServerProcess, eventually};
use process::Process;
use secured::{Credential, Secured};
use serde_json::{Value, json};

const MEMORY: [&str; 2] = ["--data-dir", ":memory:"];

/// The parameters of a request of revision 2026-07-28.
fn modern(mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    params
}

fn simulate(seconds: u64, steps: u64) -> Value {
    let arguments = json!({"task_name": "T", "duration_seconds": seconds, "step_count": steps});
    json!({"name": "simulate_progress", "arguments": arguments, "_meta": {"progressToken": "p"}})
}

fn bridge(server: &ServerProcess) -> Process {
    Process::start(&["--url", &server.url("/mcp")], &[])
}

fn publish(server: &ServerProcess, message: &str) {
    let answer = server.post("/v1/events", &notification(message));
    assert_eq!(answer.status, 201);
}

fn error(answer: &Value) -> (i64, String) {
    let error = &answer["error"];
    let message = error["message"].as_str().unwrap_or_default().to_owned();
    (error["code"].as_i64().unwrap_or_default(), message)
}

#[test]
fn a_client_of_each_older_revision_lists_calls_and_hears() {
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = Process::start(&MEMORY, &[]);
        client.initialize(version);
        let listed = client.request(1, "tools/list", json!({}));
        assert!(listed["result"]["tools"].as_array().unwrap().len() > 5);
        let sent = client.call(2, "send_notification", json!({"message": "hello"}));
        assert!(sent["notification_id"].is_string());
        client.hear_event("hello");
        let status = client.call(3, "connection_status", json!({}));
        assert_eq!(status["sse_enabled"], false, "nothing listens");
        let (rest, _) = client.finish();
        assert_eq!(rest, Vec::<Value>::new());
    }
}

#[test]
fn requests_do_not_wait_for_each_other_and_can_be_cancelled() {
    let mut client = Process::start(&MEMORY, &[]);
    client.initialize("2025-11-25");
    client.ask("long", "tools/call", simulate(60, 20));
    assert_eq!(client.request(1, "ping", json!({}))["result"], json!({}));
    client.ask("long", "ping", json!({}));
    let (code, message) = error(&client.answer("long"));
    assert!(code == -32600 && message.contains("`id`"), "{message}");
    client.hear(|said| said["method"] == "notifications/progress");
    client.notify("notifications/cancelled", json!({"requestId": "long"}));
    client.hear(|said| said["params"]["data"]["state"] == "cancelled");
    // At once after it was sent, too.
    client.ask("short-lived", "tools/call", simulate(60, 20));
    client.notify(
        "notifications/cancelled",
        json!({"requestId": "short-lived"}),
    );
    client.hear(|said| said["params"]["data"]["state"] == "cancelled");
    let (rest, _) = client.finish();
    assert!(rest.iter().all(|said| said.get("id").is_none()), "{rest:?}");
}

#[test]
fn a_client_of_the_newest_revision_needs_no_session() {
    let server = server(&[]);
    let mut client = bridge(&server);
    let discovered = client.request(1, "server/discover", modern(json!({})));
    assert_eq!(
        discovered["result"]["supportedVersions"],
        json!(["2026-07-28"])
    );
    client.ask("call", "tools/call", modern(simulate(1, 2)));
    let listed = client.request(2, "tools/list", modern(json!({})));
    assert!(listed["result"]["tools"].is_array(), "{listed}");
    let answer = client.answer("call");
    assert_eq!(answer["result"]["structuredContent"]["status"], "completed");
    let steps = client
        .heard
        .iter()
        .filter(|said| said["params"]["progressToken"] == "p");
    assert_eq!(steps.count(), 2);
    // A name that a header cannot carry as it is.
    let unknown = client.request(3, "tools/call", modern(json!({"name": "Grüße"})));
    assert_eq!(error(&unknown).0, -32602, "{unknown}");
    let older = client.request(4, "tools/list", modern_as("2099-01-01"));
    assert_eq!(error(&older).0, -32022, "{older}");
    // Cancelling is hanging up.
    client.heard.clear();
    client.ask("endless", "tools/call", modern(simulate(60, 20)));
    client.hear(|said| said["method"] == "notifications/progress");
    client.notify("notifications/cancelled", json!({"requestId": "endless"}));
    eventually("the task has ended", || {
        let tasks = server.get("/v1/tasks").json();
        tasks["tasks"][0]["state"] == "cancelled"
    });
    let (rest, _) = client.finish();
    assert!(rest.iter().all(|said| said["id"] != "endless"), "{rest:?}");
}

fn modern_as(version: &str) -> Value {
    let mut params = modern(json!({}));
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
    params
}

#[test]
fn a_task_is_asked_for_by_its_handle() {
    let server = server(&[]);
    let mut client = bridge(&server);
    let with_tasks = |params: Value| {
        let mut params = modern(params);
        let tasks = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = tasks;
        params
    };
    let begun = client.request(1, "tools/call", with_tasks(simulate(60, 20)));
    let id = begun["result"]["taskId"]
        .as_str()
        .unwrap_or_else(|| panic!("{begun}"));
    let about = with_tasks(json!({"taskId": id}));
    let task = client.request(2, "tasks/get", about.clone());
    assert_eq!(task["result"]["status"], "working", "{task}");
    let cancelled = client.request(3, "tasks/cancel", about);
    assert_eq!(cancelled["result"]["resultType"], "complete", "{cancelled}");
}

#[test]
fn what_is_no_message_is_refused_and_the_next_one_is_answered() {
    let mut client = Process::start(&MEMORY, &[]);
    let mut check = |line: &str, id: Value, expected: i64| {
        client.write(line);
        let refused = client.answer(id);
        assert_eq!(error(&refused).0, expected, "{line:.100}: {refused}");
    };
    check("nonsense", Value::Null, -32700);
    check("{\"jsonrpc\": \"2.0\", \"id\": 1,", Value::Null, -32700);
    check("\u{1}", Value::Null, -32700);
    check("[]", Value::Null, -32600);
    check("7", Value::Null, -32600);
    check("{}", Value::Null, -32600);
    check(
        r#"{"jsonrpc": "2.0", "method": "ping"}"#,
        Value::Null,
        -32600,
    );
    check(
        r#"{"jsonrpc": "1.0", "id": 1, "method": "ping"}"#,
        json!(1),
        -32600,
    );
    check(r#"{"jsonrpc": "2.0", "id": 1}"#, json!(1), -32600);
    check(
        r#"{"jsonrpc": "2.0", "id": 1, "method": "x/y"}"#,
        json!(1),
        -32601,
    );
    check(&"x".repeat((1 << 20) + 1), Value::Null, -32600);
    // Nothing is said of a line without a message, or of what is for nobody.
    client.write("");
    client.write(r#"{"jsonrpc": "2.0", "id": 9, "result": {}}"#);
    client.notify("notifications/unknown", json!({}));
    // No session is needed.
    let listed = client.request(2, "tools/list", json!({}));
    assert!(listed["result"]["tools"].is_array(), "{listed}");
    let largest = "x".repeat((1 << 20) - 100);
    let line = json!({"jsonrpc": "2.0", "id": 3, "method": "ping", "params": {"x": largest}});
    client.write(&line.to_string());
    assert_eq!(client.answer(3)["result"], json!({}));
    let (rest, _) = client.finish();
    assert_eq!(rest, Vec::<Value>::new());
}

#[test]
fn what_was_published_is_there_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let on = ["--data-dir", path];
    let mut first = Process::start(&on, &[]);
    first.call(1, "send_notification", json!({"message": "kept"}));
    // One process has the directory.
    let mut second = Process::start(&on, &[]);
    let (status, stderr) = second.wait();
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("--url http://127.0.0.1:8005/mcp"),
        "{stderr}"
    );
    first.finish();
    let mut third = Process::start(&on, &[]);
    let recent = third.call(1, "get_recent_events", json!({}));
    assert_eq!(recent["events"][0]["message"], "kept");
    third.finish();
    let server = ServerProcess::start_in(common::BINARY, dir.path(), &[]);
    let mut fourth = Process::start(&on, &[]);
    assert!(
        fourth
            .wait()
            .1
            .contains(&format!("process {}", server.pid()))
    );
}

#[test]
fn standard_output_has_nothing_but_messages_whatever_is_logged() {
    let server = server(&[]);
    let trace = [("NOTIFICATION_SERVER_LOGGING_LEVEL", "trace")];
    let url = server.url("/mcp");
    for arguments in [&MEMORY[..], &["--url", &url, "--log-format", "json"]] {
        let mut client = Process::start(arguments, &trace);
        client.initialize("2025-11-25");
        client.call(1, "send_notification", json!({"message": "hello"}));
        client.hear_event("hello");
        // That all of it are messages is checked as they are read.
        let (_, stderr) = client.finish();
        assert!(!stderr.is_empty());
    }
}

#[test]
fn everybody_is_heard_through_the_bridge() {
    let server = server(&[]);
    let (mut one, mut other) = (bridge(&server), bridge(&server));
    one.initialize("2025-06-18");
    other.initialize("2025-11-25");
    publish(&server, "to everybody");
    one.hear_event("to everybody");
    other.call(1, "send_notification", json!({"message": "from the other"}));
    one.hear_event("from the other");
    one.finish();
    other.hear_event("from the other");
    other.finish();
    eventually("the sessions have ended", || {
        server.metric("notification_mcp_sessions") == 0.0
    });
}

#[test]
fn a_server_that_ends_and_comes_back_loses_nothing() {
    let mut server = server(&[]);
    let mut client = bridge(&server);
    client.initialize("2025-11-25");
    client.request(1, "logging/setLevel", json!({"level": "warning"}));
    let topic = json!({"uri": "notification://topics/default"});
    assert_eq!(
        client.request(4, "resources/subscribe", topic.clone())["result"],
        json!({})
    );
    let nowhere = json!({"uri": "nowhere://"});
    let refused = client.request(5, "resources/subscribe", nowhere.clone());
    assert!(error(&refused).0 < 0, "{refused}");
    let other = json!({"uri": "notification://topics/other"});
    client.request(6, "resources/subscribe", other.clone());
    client.request(7, "resources/unsubscribe", other.clone());
    let warn = |server: &ServerProcess, message: &str| {
        let mut event = notification(message);
        event["notification_type"] = json!("warning");
        assert_eq!(server.post("/v1/events", &event).status, 201);
    };
    warn(&server, "before");
    client.hear_event("before");
    let is_updated = |said: &Value| said["params"] == topic;
    client.hear(is_updated);
    client.ask("cut off", "tools/call", simulate(60, 20));
    client.hear(|said| said["method"] == "notifications/progress");
    server.kill();
    let (code, message) = error(&client.answer("cut off"));
    assert_eq!(code, -32000);
    assert!(message.contains("may have been done"), "{message}");
    let refused = client.request(2, "ping", json!({}));
    let (code, message) = error(&refused);
    assert_eq!(code, -32000);
    let url = server.url("/mcp");
    assert!(
        message.contains(&url) && message.contains("nothing was done"),
        "{message}"
    );
    server.restart();
    // In a session that the client knows nothing of, and as it wanted it.
    warn(&server, "while away");
    publish(&server, "too quiet");
    client.hear_event("while away");
    assert_eq!(client.request(3, "ping", json!({}))["result"], json!({}));
    // What it subscribed to may have changed meanwhile, and changes later.
    client.hear(is_updated);
    warn(&server, "after");
    client.hear_event("after");
    client.hear(is_updated);
    let (rest, _) = client.finish();
    let not_subscribed = |said: &Value| said["params"] == nowhere || said["params"] == other;
    assert!(!rest.iter().any(not_subscribed), "{rest:?}");
    let events = rest
        .iter()
        .filter(|said| said["params"]["data"]["type"] == "notification");
    assert_eq!(events.count(), 0, "{rest:?}");
}

#[test]
fn a_connection_that_breaks_costs_neither_an_answer_nor_an_event() {
    let server = server(&[]);
    let cutter = Cutter::start(&server);
    let mut client = Process::start(&["--url", &cutter.url], &[]);
    client.initialize("2025-11-25");
    client.ask("long", "tools/call", simulate(3, 6));
    client.hear(|said| said["method"] == "notifications/progress");
    let mut expected = Vec::new();
    for n in 0..12 {
        let message = format!("m{n}");
        publish(&server, &message);
        expected.push(message);
        if n % 4 == 3 {
            client.hear_event(expected.last().unwrap());
            cutter.cut();
        }
    }
    let answer = client.answer("long");
    assert_eq!(answer["result"]["structuredContent"]["status"], "completed");
    publish(&server, "last");
    client.hear_event("last");
    let (rest, _) = client.finish();
    let is_step = |said: &&Value| said["method"] == "notifications/progress";
    let steps = rest
        .iter()
        .filter(is_step)
        .map(|said| said["params"]["progress"].as_f64());
    assert_eq!(
        steps.flatten().collect::<Vec<_>>(),
        [2.0, 3.0, 4.0, 5.0, 6.0]
    );
    let messages = rest
        .iter()
        .map(|said| said["params"]["data"]["message"].clone());
    let heard: Vec<_> = messages
        .filter(|m| expected.iter().any(|e| m == e))
        .collect();
    // `hear_event` took three of them.
    assert_eq!(heard.len(), expected.len() - 3, "{heard:?}");
}

#[test]
fn a_key_is_presented_and_shown_to_nobody() {
    let secured = Secured::start("");
    let Credential::Bearer(key) = secured.allowed("agent", &["publish:**", "subscribe:**"]) else {
        unreachable!()
    };
    let url = secured.server.url("/mcp");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{key}").unwrap();
    let path = file.path().to_str().unwrap();
    let trace = ("NOTIFICATION_SERVER_LOGGING_LEVEL", "trace");
    for (arguments, environment) in [
        (
            vec!["--url", &*url],
            vec![trace, ("NOTIFICATION_KEY", &*key)],
        ),
        (
            vec!["--key-file", path],
            vec![trace, ("NOTIFICATION_URL", &*url)],
        ),
    ] {
        let mut client = Process::start(&arguments, &environment);
        client.initialize("2025-11-25");
        let sent = client.call(1, "send_notification", json!({"message": "hello"}));
        assert!(sent["notification_id"].is_string(), "{sent}");
        client.hear_event("hello");
        let (_, stderr) = client.finish();
        assert!(!stderr.contains(&key), "{stderr}");
    }
    for (environment, expected) in [
        (&[][..], "NOTIFICATION_KEY"),
        (&[("NOTIFICATION_KEY", "wrong")], "does not take the key"),
    ] {
        let mut client = Process::start(&["--url", &url], environment);
        let (code, message) = error(&client.request(1, "ping", json!({})));
        assert!(code == -32000 && message.contains(expected), "{message}");
        client.finish();
    }
}

#[test]
fn a_url_that_makes_no_sense_is_refused_without_its_secrets() {
    for wrong in [
        "http://user:s3cret@127.0.0.1/mcp",
        "127.0.0.1:8005/s3cret",
        "ftp://s3cret",
    ] {
        let mut process = Process::start(&["--url", wrong], &[]);
        let (status, stderr) = process.wait();
        assert_eq!(status.code(), Some(1));
        assert!(
            stderr.contains("--url") && !stderr.contains("s3cret"),
            "{stderr}"
        );
    }
    let mut both = Process::start(&["--url", "http://localhost", "--data-dir", "/x"], &[]);
    assert_eq!(both.wait().0.code(), Some(2));
}

#[test]
fn what_runs_is_finished_when_the_input_ends() {
    let mut client = Process::start(&MEMORY, &[]);
    client.initialize("2025-11-25");
    client.ask("a", "tools/call", simulate(1, 1));
    client.ask("b", "tools/call", modern(simulate(1, 1)));
    let (rest, _) = client.finish();
    for id in ["a", "b"] {
        let answer = rest.iter().find(|said| said["id"] == id).unwrap();
        assert_eq!(answer["result"]["structuredContent"]["status"], "completed");
    }
}

#[test]
fn what_takes_too_long_at_the_end_is_told_so() {
    let server = server(&[]);
    let url = server.url("/mcp");
    let short = [("NOTIFICATION_SERVER_SHUTDOWN_DRAIN_SECONDS", "0")];
    for arguments in [&MEMORY[..], &["--url", &url]] {
        let mut client = Process::start(arguments, &short);
        client.initialize("2025-11-25");
        client.ask("long", "tools/call", simulate(60, 20));
        client.hear(|said| said["method"] == "notifications/progress");
        client.terminate();
        let (status, stderr) = client.wait();
        assert!(status.success(), "{status}: {stderr}");
        let answer = client.heard.iter().find(|said| said["id"] == "long");
        let (code, message) = error(answer.unwrap());
        assert!(
            code == -32000 && message.contains("may have been done"),
            "{message}"
        );
    }
}

#[test]
fn a_client_that_does_not_want_to_wait_need_not() {
    let patient = [("NOTIFICATION_SERVER_SHUTDOWN_DRAIN_SECONDS", "60")];
    let mut client = Process::start(&MEMORY, &patient);
    client.initialize("2025-11-25");
    client.ask("long", "tools/call", simulate(60, 20));
    client.hear(|said| said["method"] == "notifications/progress");
    client.close();
    client.hear(|said| said["method"] == "notifications/progress");
    client.terminate();
    let (status, stderr) = client.wait();
    assert!(status.success(), "{status}: {stderr}");
    let answer = client.heard.iter().find(|said| said["id"] == "long");
    assert_eq!(error(answer.unwrap()).0, -32000);
}

#[test]
fn it_ends_when_nobody_reads_what_it_says() {
    let mut client = Process::start(&MEMORY, &[]);
    client.initialize("2025-11-25");
    client.deaf();
    // That nobody reads shows when something is said.
    for id in 1..100 {
        client.ask(id, "ping", json!({}));
    }
    let (status, stderr) = client.wait();
    assert!(status.success(), "{status}: {stderr}");
}

#[test]
fn a_subscription_goes_on_until_its_client_ends() {
    let server = server(&[]);
    let url = server.url("/mcp");
    for arguments in [&MEMORY[..], &["--url", &url]] {
        let mut client = Process::start(arguments, &[]);
        let wanted = json!({"resourceSubscriptions": ["notification://topics/default"]});
        let wanted = modern(json!({"notifications": wanted}));
        client.ask("s", "subscriptions/listen", wanted);
        client.hear(|said| said["method"] == "notifications/subscriptions/acknowledged");
        let send = json!({"name": "send_notification", "arguments": {"message": "m"}});
        client.request(1, "tools/call", modern(send));
        client.hear(|said| said["method"] == "notifications/resources/updated");
        // Nobody waits for what has no end.
        let (rest, stderr) = client.finish();
        assert!(rest.iter().any(|said| said["id"] == "s"), "{rest:?}");
        assert!(!stderr.contains("before every request"), "{stderr}");
    }
}

/// A proxy that cuts every connection that is open.
struct Cutter {
    url: String,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cutter {
    fn start(server: &ServerProcess) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let open = Arc::new(Mutex::new(Vec::new()));
        let (to, connections) = (server.address(), open.clone());
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(to) else {
                    continue;
                };
                let mut open = connections.lock().unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    open.push(from.try_clone().unwrap());
                    thread::spawn(move || copy(from, to));
                }
            }
        });
        Self { url, open }
    }

    fn cut(&self) {
        for connection in self.open.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4_096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
