//! Event types: declared in the settings or over HTTP, and what is published is
//! held against them.

mod common;
#[path = "common/secured.rs"]
mod secured;

use common::{BINARY, refused, server, server_with};
use notification_testkit::{Response, ServerProcess, signal};
use secured::Secured;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const INCIDENT: &str = "/v1/event-types/incident.created";

fn put(server: &ServerProcess, path: &str, declaration: &Value) -> Response {
    server.request("PUT", path, &[JSON], &declaration.to_string())
}

fn publish(server: &ServerProcess, name: &str, more: Value) -> Response {
    let mut event = json!({"type": "event", "name": name});
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    server.post("/v1/events", &event)
}

fn incident() -> Value {
    json!({
        "description": "Something broke",
        "topic": "ops/incidents",
        "payload_schema": {
            "type": "object", "required": ["severity"],
            "properties": {
                "severity": {"type": "integer", "minimum": 1},
                "hosts": {"type": "array", "items": {
                    "type": "object", "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                }},
            },
        },
        "arguments": {"severity": "min", "service": "glob"},
        "delivery": ["poll", "push"],
    })
}

#[test]
fn what_is_declared_is_shown_and_outlives_the_server() {
    let mut server = server(&[]);
    let created = put(&server, INCIDENT, &incident());
    assert_eq!(created.status, 201, "{created:?}");
    let mut expected = incident();
    expected["name"] = "incident.created".into();
    expected["origin"] = "stored".into();
    expected["revision"] = 0.into();
    expected["input_schema"] = created.json()["input_schema"].clone();
    assert_eq!(created.json(), expected);
    let severity = &expected["input_schema"]["properties"]["severity"];
    assert_eq!(severity["type"], "number");

    signal(server.pid(), libc::SIGKILL);
    server.wait();
    server.restart();
    assert_eq!(server.get(INCIDENT).json(), expected);
    let all = server.get("/v1/event-types").json();
    let all = all["event_types"].as_array().unwrap();
    let names: Vec<_> = all.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "client.joined",
            "client.left",
            "incident.created",
            "notification.sent",
            "task.finished",
            "task.progressed",
        ]
    );
    assert_eq!(server.request("DELETE", INCIDENT, &[], "").status, 204);
    assert_eq!(server.get(INCIDENT).status, 404);
    assert_eq!(server.request("DELETE", INCIDENT, &[], "").status, 404);
    assert!(server.stop().0.success());
    server.restart();
    assert_eq!(server.get(INCIDENT).status, 404);
}

#[test]
fn data_is_held_against_the_schema() {
    let server = server(&[]);
    put(&server, INCIDENT, &incident());
    let check = |data: Value, fields: &[&str]| {
        let answer = publish(&server, "incident.created", json!({"data": data}));
        assert_eq!(refused(&answer, 422), fields, "{answer:?}");
    };
    check(json!({}), &["data.severity"]);
    check(json!({"severity": 0}), &["data.severity"]);
    check(json!({"severity": "high"}), &["data.severity"]);
    check(
        json!({"severity": 1, "hosts": [{"name": "a"}, {"name": 5}, {}]}),
        &["data.hosts[1].name", "data.hosts[2].name"],
    );
    let missing = publish(&server, "incident.created", json!({}));
    assert_eq!(refused(&missing, 422), ["data.severity"]);
    // Of several, the one that is wrong is named, and none is published.
    let good = json!({"type": "event", "name": "incident.created", "data": {"severity": 1}});
    let bad = json!({"type": "event", "name": "incident.created", "data": {}});
    let both = server.post("/v1/events", &json!([good, bad]));
    assert_eq!(refused(&both, 422), ["[1].data.severity"]);
    assert_eq!(
        server.get("/v1/events?since=all").json()["events"],
        json!([])
    );

    let published = publish(
        &server,
        "incident.created",
        json!({"data": {"severity": 3}}),
    );
    assert_eq!(published.status, 201, "{published:?}");
    // A tool says the same to a model.
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "publish_event", "arguments": {"name": "incident.created", "data": {}}}});
    let result = server.post("/mcp", &call).json()["result"].clone();
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("data.severity: expected"), "{text}");
}

#[test]
fn events_go_where_those_of_their_name_go() {
    let server = server(&[]);
    put(&server, INCIDENT, &incident());
    let data = json!({"severity": 1});
    publish(&server, "incident.created", json!({"data": data}));
    publish(
        &server,
        "incident.created",
        json!({"data": data, "topic": "elsewhere"}),
    );
    publish(&server, "other", json!({}));
    let events = server.get("/v1/events?since=all").json();
    let topics = events["events"].as_array().unwrap().iter();
    let topics: Vec<_> = topics
        .map(|event| event["topic"].as_str().unwrap())
        .collect();
    assert_eq!(topics, ["ops/incidents", "elsewhere", "default"]);
}

#[test]
fn what_would_break_subscriptions_has_to_be_said_to() {
    let server = server(&[]);
    put(&server, INCIDENT, &incident());
    let mut more = incident();
    more["payload_schema"]["properties"]["region"] = json!({"type": "string"});
    more["delivery"] = json!(["poll", "push", "webhook"]);
    let added = put(&server, INCIDENT, &more);
    assert_eq!((added.status, &added.json()["revision"]), (200, &json!(0)));

    let mut less = more.clone();
    less["payload_schema"]["required"] = json!([]);
    assert_eq!(
        refused(&put(&server, INCIDENT, &less), 409),
        ["payload_schema"]
    );
    let mut fewer = more.clone();
    fewer["arguments"] = json!({});
    assert_eq!(refused(&put(&server, INCIDENT, &fewer), 409), ["arguments"]);
    fewer = more;
    fewer["delivery"] = json!(["push"]);
    assert_eq!(refused(&put(&server, INCIDENT, &fewer), 409), ["delivery"]);

    let broken = put(&server, &format!("{INCIDENT}?breaking=true"), &less);
    assert_eq!(
        (broken.status, &broken.json()["revision"]),
        (200, &json!(1))
    );
    assert_eq!(publish(&server, "incident.created", json!({})).status, 201);
}

#[test]
fn what_is_no_declaration_is_refused() {
    let server = server(&[]);
    let check = |declaration: Value, field: &str| {
        let answer = put(&server, INCIDENT, &declaration);
        assert_eq!(refused(&answer, 422), [field], "{declaration}");
    };
    check(json!({"descripton": "a"}), "descripton");
    check(
        json!({"payload_schema": {"type": "incident"}}),
        "payload_schema",
    );
    check(
        json!({"payload_schema": {"$ref": "https://example.com/a"}}),
        "payload_schema",
    );
    check(
        json!({"payload_schema": {"$ref": "file:///etc/passwd"}}),
        "payload_schema",
    );
    check(
        json!({"payload_schema": {"properties": {"a": {"pattern": "("}}}}),
        "payload_schema",
    );
    // It would take time without bounds.
    check(
        json!({"payload_schema": {"properties": {"a": {"pattern": "(a)\\1"}}}}),
        "payload_schema",
    );
    check(
        json!({"arguments": {"severity": "max"}}),
        "arguments.severity",
    );
    assert_eq!(
        refused(
            &put(&server, &format!("{INCIDENT}?braking=true"), &json!({})),
            400
        ),
        ["braking"]
    );
    let one = put(&server, &format!("{INCIDENT}?breaking=1"), &json!({}));
    assert_eq!(refused(&one, 400), ["breaking"]);
    assert_eq!(server.get(INCIDENT).status, 404);

    // Those of the server are its own.
    let taken = put(&server, "/v1/event-types/task.finished", &json!({}));
    assert_eq!(taken.status, 409, "{taken:?}");
    let removed = server.request("DELETE", "/v1/event-types/task.finished", &[], "");
    assert_eq!(removed.status, 409, "{removed:?}");
    let forged = publish(&server, "client.joined", json!({}));
    assert_eq!(refused(&forged, 422), ["name"]);
}

#[test]
fn patterns_of_a_schema_take_no_longer_than_the_text_is_long() {
    let server = server(&[]);
    let schema = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
    let declared = put(&server, INCIDENT, &json!({"payload_schema": schema}));
    assert_eq!(declared.status, 201, "{declared:?}");
    let text = "a".repeat(50_000) + "!";
    let answer = publish(&server, "incident.created", json!({"data": {"a": text}}));
    assert_eq!(refused(&answer, 422), ["data.a"]);
}

#[test]
fn settings_declare_event_types_and_may_refuse_all_others() {
    let settings = r#"
        [events]
        allow_undeclared = false
        [[events.types]]
        name = "build.finished"
        topic = "ci"
        arguments = { ok = "equals" }
        [events.types.payload_schema]
        required = ["ok"]
        [events.types.payload_schema.properties.ok]
        type = "boolean"
    "#;
    let server = server_with(settings);
    let declared = server.get("/v1/event-types/build.finished").json();
    assert_eq!(
        (&declared["origin"], &declared["topic"]),
        (&json!("settings"), &json!("ci"))
    );
    let changed = put(&server, "/v1/event-types/build.finished", &json!({}));
    assert_eq!(changed.status, 409, "{changed:?}");
    assert_eq!(
        publish(&server, "build.finished", json!({"data": {"ok": true}})).status,
        201
    );
    assert_eq!(
        refused(&publish(&server, "other", json!({})), 422),
        ["name"]
    );
    // The server's own are no others.
    let _client = notification_testkit::EventStream::open(
        server.address(),
        "/v1/stream?client_id=alice",
        &[],
    );
    notification_testkit::eventually("its arrival is published", || {
        let events = server.get("/v1/events?since=all&topic=$presence").json();
        events["events"][0]["name"] == "client.joined"
    });
    // As soon as it is declared.
    assert_eq!(
        put(&server, "/v1/event-types/other", &json!({})).status,
        201
    );
    assert_eq!(publish(&server, "other", json!({})).status, 201);
}

#[test]
fn wrong_settings_are_refused_by_name() {
    let check = |settings: &str, says: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), settings).unwrap();
        let started = std::process::Command::new(BINARY)
            .args([
                "--bind",
                "127.0.0.1:0",
                "--data-dir",
                ":memory:",
                "--config",
            ])
            .arg(file.path())
            .output()
            .unwrap();
        assert!(!started.status.success());
        let text = String::from_utf8(started.stderr).unwrap();
        assert!(
            text.contains("events.types") && text.contains(says),
            "{text}"
        );
    };
    check("[events]\ntypes = [\"a\"]", "[[events.types]]");
    check("[[events.types]]\ntopic = \"a\"", "each with a name");
    check("[[events.types]]\nname = \"a b\"", "\"a b\"");
    check("[[events.types]]\nname = \"a\"\ntopics = \"b\"", "topics");
    check(
        "[[events.types]]\nname = \"task.finished\"",
        "the server's own",
    );
    check(
        "[[events.types]]\nname = \"a\"\n[[events.types]]\nname = \"a\"",
        "once",
    );
    check(
        "[[events.types]]\nname = \"a\"\npayload_schema = { type = \"x\" }",
        "payload_schema",
    );
}

#[test]
fn only_administrators_declare() {
    let secured = Secured::start("");
    let publisher = secured.allowed("p", &["publish:**", "subscribe:**"]);
    let put = |of| secured.ask(of, "PUT", INCIDENT, Some(&incident()));
    assert_eq!(put(&publisher).status, 403);
    assert_eq!(put(&Secured::admin()).status, 201);
    assert_eq!(
        secured.ask(&publisher, "DELETE", INCIDENT, None).status,
        403
    );
    // Whoever is known sees what there is.
    assert_eq!(secured.ask(&publisher, "GET", INCIDENT, None).status, 200);
    assert_eq!(secured.server.get(INCIDENT).status, 401);
    let audit = secured.ask(
        &Secured::admin(),
        "GET",
        "/v1/events?since=all&topic=$audit",
        None,
    );
    let events = audit.json()["events"].clone();
    let declared = events
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "event_type.declared");
    assert_eq!(declared.unwrap()["data"]["name"], "incident.created");
    // It goes where it is declared to go, so that is what one needs.
    let elsewhere = secured.allowed("e", &["publish:other"]);
    let event = json!({"type": "event", "name": "incident.created", "data": {"severity": 1}});
    let denied = secured.ask(&elsewhere, "POST", "/v1/events", Some(&event));
    assert_eq!(denied.status, 403);
    let allowed = secured.allowed("a", &["publish:ops/incidents"]);
    assert_eq!(
        secured
            .ask(&allowed, "POST", "/v1/events", Some(&event))
            .status,
        201
    );
}
