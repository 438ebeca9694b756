//! One table of who may do what, held against every door: HTTP, streams, tickets
//! and MCP calls in each of their lanes, with a key and with the cookie of a session.

#[path = "common/mod.rs"]
mod common;
#[path = "common/modern.rs"]
mod modern;
#[path = "common/secured.rs"]
mod secured;

use modern::Modern;
use notification_testkit::Response;
use secured::{Credential, Secured};
use serde_json::{Value, json};

/// Something that somebody may do or not, on a topic or as a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Publish(&'static str),
    Report(&'static str),
    Read(&'static str),
    SeeTask(&'static str),
    Be(&'static str),
    AcknowledgeAs(&'static str),
    HaveDelivered,
    SeeConnections,
    Administrate,
}
use Deed::{
    AcknowledgeAs, Administrate, Be, HaveDelivered, Publish, Read, Report, SeeConnections, SeeTask,
};

const DEEDS: [Deed; 16] = [
    Publish("ops/db"),
    Publish("dev"),
    Report("ops/db"),
    Report("dev"),
    Read("ops/db"),
    Read("dev"),
    Read("$presence"),
    Read("$audit"),
    SeeTask("ops/db"),
    SeeTask("dev"),
    Be("alice"),
    Be("bob"),
    AcknowledgeAs("alice"),
    HaveDelivered,
    SeeConnections,
    Administrate,
];

/// Who has these grants may do these deeds, and none of the others.
const TABLE: [(&[&str], &[Deed]); 16] = [
    (&[], &[]),
    (&["publish:ops/**"], &[Publish("ops/db"), Report("ops/db")]),
    (&["publish:dev"], &[Publish("dev"), Report("dev")]),
    (
        &["publish:**"],
        &[
            Publish("ops/db"),
            Publish("dev"),
            Report("ops/db"),
            Report("dev"),
        ],
    ),
    (&["tasks:ops/*"], &[Report("ops/db"), SeeTask("ops/db")]),
    (&["subscribe:ops/**"], &[Read("ops/db"), SeeTask("ops/db")]),
    (
        &["subscribe:**"],
        &[
            Read("ops/db"),
            Read("dev"),
            SeeTask("ops/db"),
            SeeTask("dev"),
        ],
    ),
    (&["subscribe:$presence"], &[Read("$presence")]),
    (
        &["client:alice", "subscribe:dev"],
        &[Be("alice"), Read("dev"), SeeTask("dev")],
    ),
    (
        &["client:*", "subscribe:dev"],
        &[Be("alice"), Be("bob"), Read("dev"), SeeTask("dev")],
    ),
    (&["acknowledge"], &[]),
    (&["acknowledge", "client:alice"], &[AcknowledgeAs("alice")]),
    (&["webhooks"], &[]),
    (
        &["webhooks", "subscribe:dev"],
        &[Read("dev"), SeeTask("dev"), HaveDelivered],
    ),
    (&["connections:read"], &[SeeConnections]),
    (&["admin"], &DEEDS),
];

#[test]
fn everybody_may_do_what_the_table_says_through_every_door() {
    let world = World::new();
    for (row, (allow, may)) in TABLE.into_iter().enumerate() {
        let key = world.secured.allowed(&format!("row-{row}"), allow);
        let cookie = world.secured.cookie(&key);
        for credential in [&key, &cookie] {
            for deed in DEEDS {
                let before = world.state();
                let outcomes = world.attempt(credential, deed);
                assert!(!outcomes.is_empty());
                for (door, outcome) in outcomes {
                    let expected = may.contains(&deed);
                    let what = format!("{allow:?} {deed:?} through {door}: {outcome:?}");
                    assert_eq!(outcome.is_ok(), expected, "{what}");
                    if let Err(needs) = outcome {
                        assert!(!needs.is_empty(), "{what}");
                    }
                }
                if !may.contains(&deed) {
                    assert_eq!(world.state(), before, "{allow:?} {deed:?} left something");
                }
            }
        }
    }
}

#[test]
fn who_is_nobody_gets_nothing_through_any_door() {
    let world = World::new();
    let before = world.state();
    for door in DOORS {
        let (method, path) = door.split_once(' ').unwrap();
        let answer = notification_testkit::request(
            world.secured.server.address(),
            method,
            path,
            &[("Content-Type", "application/json")],
            r#"{"type":"notification","message":"m"}"#,
        );
        assert_eq!(answer.status, 401, "{door}: {answer:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
    }
    for public in ["/", "/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(world.secured.server.get(public).status, 200, "{public}");
    }
    assert_eq!(world.state(), before);
}

/// Every door that is not for everybody. That none is missing is checked against
/// what the server says of itself.
const DOORS: [&str; 48] = [
    "GET /v1/stream",
    "GET /mcp",
    "POST /mcp",
    "GET /v1/events",
    "POST /v1/events",
    "GET /v1/events/e/receipts",
    "GET /v1/events/e/deliveries",
    "POST /v1/topics/ops",
    "GET /v1/tasks",
    "GET /v1/tasks/t",
    "PUT /v1/tasks/t",
    "POST /v1/tasks/t/cancel",
    "GET /v1/activity",
    "GET /v1/clients",
    "GET /v1/clients/c",
    "DELETE /v1/clients/c",
    "POST /v1/clients/c/acks",
    "GET /v1/groups",
    "GET /v1/groups/g",
    "PUT /v1/groups/g/clients/c",
    "DELETE /v1/groups/g/clients/c",
    "GET /v1/connections",
    "DELETE /v1/connections/6f3ba4a1-6d2e-4c93-9a3f-0e6a4b1f2c3d",
    "GET /metrics",
    "GET /v1/event-types",
    "GET /v1/event-types/e",
    "PUT /v1/event-types/e",
    "DELETE /v1/event-types/e",
    "GET /v1/webhooks",
    "POST /v1/webhooks",
    "GET /v1/webhooks/public-key",
    "GET /v1/webhooks/w",
    "PATCH /v1/webhooks/w",
    "DELETE /v1/webhooks/w",
    "POST /v1/webhooks/w/rotate-secret",
    "POST /v1/webhooks/w/test",
    "GET /v1/webhooks/w/attempts",
    "GET /v1/webhooks/w/dead-letters",
    "POST /v1/webhooks/w/dead-letters/redeliver",
    "GET /v1/keys",
    "POST /v1/keys",
    "DELETE /v1/keys/k",
    "POST /v1/tickets",
    "GET /v1/session",
    "POST /v1/session",
    "DELETE /v1/session",
    "HEAD /v1/stream",
    "HEAD /mcp",
];

#[test]
fn no_door_is_missing_from_the_list() {
    let secured = Secured::start("");
    let document = secured.server.get("/openapi.json").json();
    let public = [
        "/",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ];
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let is_it = |door: &&str| {
                let (verb, on) = door.split_once(' ').unwrap();
                verb.eq_ignore_ascii_case(method) && is_path(path, on)
            };
            let is_listed = DOORS.iter().any(is_it) || public.contains(&path.as_str());
            assert!(is_listed, "{method} {path}");
        }
    }
}

/// Whether `path` is one of those that OpenAPI writes as `template`.
fn is_path(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template
            .iter()
            .zip(&path)
            .all(|(t, p)| t.starts_with('{') || t == p)
}

/// A server with something on it that may be seen or not.
struct World {
    secured: Secured,
}

type Outcome = Result<(), String>;

impl World {
    fn new() -> Self {
        let secured = Secured::start(
            "[limits.principal]\nrequests_per_second = 0\n\
             [webhooks]\nallowed_receivers = [\"https://hooks.invalid/\"]",
        );
        let world = Self { secured };
        for topic in ["ops/db", "dev"] {
            let task = json!({"task_name": "T", "topic": topic, "state": "running"});
            let path = format!("/v1/tasks/{}", task_on(topic));
            let reported = world
                .secured
                .ask(&Secured::admin(), "PUT", &path, Some(&task));
            assert_eq!(reported.status, 201, "{reported:?}");
        }
        world
    }

    /// All that a refused request must not change.
    fn state(&self) -> Value {
        let ask = |path: &str| {
            self.secured
                .ask(&Secured::admin(), "GET", path, None)
                .json()
        };
        let keys = ask("/v1/keys")["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|k| k["revoked_at"].clone())
            .collect::<Value>();
        json!({
            "events": ask("/v1/events?limit=1000")["events"],
            "groups": ask("/v1/groups"),
            "clients": ask("/v1/clients")["clients"].as_array().unwrap().len(),
            "keys": keys,
            "webhooks": ask("/v1/webhooks")["webhooks"].as_array().unwrap().len(),
        })
    }

    /// Does it through every door that there is for it.
    fn attempt(&self, by: &Credential, deed: Deed) -> Vec<(&'static str, Outcome)> {
        let mut outcomes = self.by_http(by, deed);
        for (tool, arguments) in self.calls(deed) {
            let plain = self.secured.call(by, tool, &arguments);
            outcomes.push((tool, result(&plain)));
            let modern = Modern::call(tool, &arguments);
            let (headers, body) = (modern.headers(), modern.body.to_string());
            let modern = self.secured.send(by, "POST", "/mcp", &headers, &body);
            let modern = modern.json()["result"].clone();
            outcomes.push(("a request of 2026-07-28", result(&modern)));
            let in_session = self.in_session(by, tool, &arguments);
            outcomes.push(("a request of a session", result(&in_session)));
        }
        outcomes
    }

    /// Begins a session: its id.
    fn session(&self, by: &Credential) -> String {
        let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}}});
        let body = initialize.to_string();
        let begun = self
            .secured
            .send(by, "POST", "/mcp", &SESSION_HEADERS, &body);
        begun.header("mcp-session-id").unwrap().to_owned()
    }

    /// What a tool answers in a session: at once, or on a stream where that takes longer.
    fn in_session(&self, by: &Credential, tool: &str, arguments: &Value) -> Value {
        let id = self.session(by);
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                          "params": {"name": tool, "arguments": arguments}});
        let headers = [&SESSION_HEADERS[..], &[("Mcp-Session-Id", &id)]].concat();
        let body = call.to_string();
        let answer = self.secured.send(by, "POST", "/mcp", &headers, &body);
        let message = answer.message();
        message["result"].clone()
    }

    fn session_stream(&self, by: &Credential, topic: &str) -> Outcome {
        let id = self.session(by);
        let headers = [("Mcp-Session-Id", &*id)];
        let path = format!("/mcp?topic={topic}");
        match self.secured.open_with(by, &path, &headers) {
            Ok(stream) => {
                stream.close();
                Ok(())
            }
            Err(refusal) => outcome(&refusal),
        }
    }

    /// The calls of tools that do it.
    fn calls(&self, deed: Deed) -> Vec<(&'static str, Value)> {
        match deed {
            Publish(topic) => {
                vec![("send_notification", json!({"message": "m", "topic": topic}))]
            }
            Report(topic) => {
                let report = json!({"task_id": task_on(topic), "message": "m"});
                vec![("report_progress", report)]
            }
            SeeTask(topic) => vec![
                ("get_task", json!({"task_id": task_on(topic)})),
                ("list_tasks", json!({"topic": topic})),
            ],
            AcknowledgeAs(client) => {
                let cursor = self.newest();
                let acknowledged = json!({"client_id": client, "cursor": cursor});
                vec![("acknowledge", acknowledged)]
            }
            Read(_) | Be(_) | HaveDelivered | SeeConnections | Administrate => vec![],
        }
    }

    fn newest(&self) -> Value {
        let page = self
            .secured
            .ask(&Secured::admin(), "GET", "/v1/events", None);
        page.json()["cursor"].clone()
    }

    fn by_http(&self, by: &Credential, deed: Deed) -> Vec<(&'static str, Outcome)> {
        let secured = &self.secured;
        let ask = |method: &str, path: &str, body: Option<&Value>| {
            outcome(&secured.ask(by, method, path, body))
        };
        match deed {
            Publish(topic) => {
                let event = json!({"type": "notification", "message": "m", "topic": topic});
                let line = ("Content-Type", "application/x-ndjson");
                let lines = secured.send(by, "POST", "/v1/events", &[line], &event.to_string());
                let line: Value = serde_json::from_str(lines.body.trim()).unwrap();
                let own = json!({"type": "event", "name": "a.b", "topic": topic});
                vec![
                    ("POST /v1/events", ask("POST", "/v1/events", Some(&event))),
                    (
                        "POST /v1/events, array",
                        ask("POST", "/v1/events", Some(&json!([event]))),
                    ),
                    (
                        "POST /v1/events, own event",
                        ask("POST", "/v1/events", Some(&own)),
                    ),
                    ("NDJSON", of_line(&line)),
                    (
                        "POST /v1/topics",
                        ask("POST", &format!("/v1/topics/{topic}"), Some(&json!("m"))),
                    ),
                ]
            }
            Report(topic) => {
                let task = task_on(topic);
                let report = json!({"message": "m"});
                let event =
                    json!({"type": "progress", "task_id": task, "task_name": "T", "topic": topic});
                vec![
                    (
                        "PUT /v1/tasks",
                        ask("PUT", &format!("/v1/tasks/{task}"), Some(&report)),
                    ),
                    ("POST /v1/events", ask("POST", "/v1/events", Some(&event))),
                ]
            }
            Read(topic) => {
                let ticket = json!({"topics": [topic]});
                vec![
                    (
                        "GET /v1/stream",
                        self.stream(by, &format!("/v1/stream?topic={topic}")),
                    ),
                    ("GET /mcp", self.stream(by, &format!("/mcp?topic={topic}"))),
                    ("the stream of a session", self.session_stream(by, topic)),
                    (
                        "GET /v1/events",
                        ask("GET", &format!("/v1/events?topic={topic}"), None),
                    ),
                    ("ticket", self.by_ticket(by, &ticket)),
                ]
            }
            SeeTask(topic) => {
                let task = task_on(topic);
                vec![
                    (
                        "GET /v1/tasks/{id}",
                        ask("GET", &format!("/v1/tasks/{task}"), None),
                    ),
                    (
                        "GET /v1/tasks",
                        ask("GET", &format!("/v1/tasks?topic={topic}"), None),
                    ),
                ]
            }
            Be(client) => {
                let path = format!("?topic=dev&client_id={client}");
                vec![
                    (
                        "GET /v1/stream",
                        self.stream(by, &format!("/v1/stream{path}")),
                    ),
                    (
                        "GET /v1/events",
                        ask("GET", &format!("/v1/events{path}"), None),
                    ),
                    (
                        "ticket",
                        self.by_ticket(by, &json!({"topics": ["dev"], "client_id": client})),
                    ),
                ]
            }
            AcknowledgeAs(client) => {
                let cursor = self.newest();
                let path = format!("/v1/clients/{client}/acks");
                vec![(
                    "POST acks",
                    ask("POST", &path, Some(&json!({"cursor": cursor}))),
                )]
            }
            HaveDelivered => {
                let wanted = json!({"url": "https://hooks.invalid/", "topics": ["dev"]});
                vec![("POST webhook", ask("POST", "/v1/webhooks", Some(&wanted)))]
            }
            SeeConnections => {
                let paths = ["/v1/connections", "/v1/clients", "/v1/groups", "/metrics"];
                let seen = paths.map(|path| (path, ask("GET", path, None)));
                let path = "/v1/events/none/deliveries";
                let explained = not_found_is_fine(&secured.ask(by, "GET", path, None));
                seen.into_iter()
                    .chain([("GET deliveries", explained)])
                    .collect()
            }
            Administrate => vec![
                ("PUT group", ask("PUT", "/v1/groups/g/clients/c", None)),
                (
                    "DELETE group",
                    ask("DELETE", "/v1/groups/g/clients/c", None),
                ),
                (
                    "PUT event type",
                    ask("PUT", "/v1/event-types/e", Some(&json!({}))),
                ),
                (
                    "DELETE event type",
                    not_found_is_fine(&secured.ask(by, "DELETE", "/v1/event-types/e", None)),
                ),
                ("GET keys", ask("GET", "/v1/keys", None)),
                ("POST keys", {
                    let name = format!(
                        "k{}",
                        secured
                            .ask(&Secured::admin(), "GET", "/v1/keys", None)
                            .body
                            .len()
                    );
                    ask(
                        "POST",
                        "/v1/keys",
                        Some(&json!({"name": name, "allow": ["admin"]})),
                    )
                }),
                (
                    "DELETE key",
                    not_found_is_fine(&secured.ask(by, "DELETE", "/v1/keys/k", None)),
                ),
                ("DELETE connection", {
                    let path = "/v1/connections/6f3ba4a1-6d2e-4c93-9a3f-0e6a4b1f2c3d";
                    not_found_is_fine(&secured.ask(by, "DELETE", path, None))
                }),
            ],
        }
    }

    fn stream(&self, by: &Credential, path: &str) -> Outcome {
        match self.secured.open(by, path) {
            Ok(mut stream) => {
                let connected = stream.next().unwrap();
                assert_eq!(connected.data["status"], "connected");
                assert_eq!(connected.data.get("narrowed_to"), None);
                Ok(())
            }
            Err(refusal) => outcome(&refusal),
        }
    }

    fn by_ticket(&self, by: &Credential, wanted: &Value) -> Outcome {
        let issued = self.secured.ask(by, "POST", "/v1/tickets", Some(wanted));
        outcome(&issued)?;
        let path = format!(
            "/v1/stream?ticket={}",
            issued.json()["ticket"].as_str().unwrap()
        );
        let stream =
            notification_testkit::EventStream::open(self.secured.server.address(), &path, &[]);
        stream.close();
        Ok(())
    }
}

fn task_on(topic: &str) -> String {
    format!("task-{}", topic.replace('/', "-"))
}

const SESSION_HEADERS: [(&str, &str); 2] = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json, text/event-stream"),
];

/// What was needed, if it was refused.
fn outcome(answer: &Response) -> Outcome {
    match answer.status {
        200..300 => Ok(()),
        403 => {
            let needs = answer.json()["needs"].as_str().unwrap().to_owned();
            let challenge = answer.header("www-authenticate").unwrap();
            let scope = format!(r#"error="insufficient_scope", scope="{needs}""#);
            assert!(challenge.contains(&scope), "{challenge}");
            Err(needs)
        }
        _ => panic!("{answer:?}"),
    }
}

fn not_found_is_fine(answer: &Response) -> Outcome {
    match answer.status {
        404 => Ok(()),
        _ => outcome(answer),
    }
}

fn of_line(line: &Value) -> Outcome {
    match line["status"].as_u64() {
        Some(201) => Ok(()),
        Some(403) => Err(line["needs"].as_str().unwrap().to_owned()),
        _ => panic!("{line}"),
    }
}

fn result(result: &Value) -> Outcome {
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    match result["isError"].as_bool() {
        Some(false) => Ok(()),
        Some(true) => Err(text
            .split_once("needs the grant ")
            .expect(text)
            .1
            .to_owned()),
        None => panic!("{result}"),
    }
}
