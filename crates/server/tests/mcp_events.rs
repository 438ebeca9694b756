//! MCP's extension for events (SEP-3415): each test names the section whose rules
//! it holds the server to.

#[path = "common/mod.rs"]
mod common;
#[path = "common/modern.rs"]
mod modern;
#[path = "common/secured.rs"]
mod secured;
#[path = "common/session.rs"]
mod session;

use common::{notification, server, server_with};
use modern::Modern;
use notification_testkit::{EventStream, ServerProcess, eventually};
use secured::{Credential, Secured};
use serde_json::{Value, json};
use session::Client;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn declare(server: &ServerProcess, query: &str, declaration: &Value) {
    let path = format!("/v1/event-types/incident.created{query}");
    let declared = server.request("PUT", &path, &[JSON], &declaration.to_string());
    assert!(matches!(declared.status, 200 | 201), "{declared:?}");
}

fn incident() -> Value {
    json!({
        "description": "Something broke",
        "payload_schema": {
            "type": "object", "required": ["severity"],
            "properties": {"severity": {"type": "integer"}, "service": {"type": "string"}},
        },
        "arguments": {"severity": "min", "service": "glob"},
    })
}

fn with_incidents() -> ServerProcess {
    let server = server(&[]);
    declare(&server, "", &incident());
    server
}

fn happen(server: &ServerProcess, severity: u64, service: &str) -> String {
    let data = json!({"severity": severity, "service": service});
    let event = json!({"type": "event", "name": "incident.created", "data": data});
    let published = server.post("/v1/events", &event);
    assert_eq!(published.status, 201, "{published:?}");
    published.json()["event_id"].as_str().unwrap().to_owned()
}

fn ask(server: &ServerProcess, method: &str, params: Value) -> Value {
    let answer = Modern::new(method, params).ask(server);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.message()
}

fn poll(server: &ServerProcess, params: Value) -> Value {
    let answer = ask(server, "events/poll", params);
    let result = answer["result"].clone();
    assert_eq!(result["resultType"], "complete", "{answer}");
    result
}

fn ids(result: &Value) -> Vec<&str> {
    let events = result["events"].as_array().unwrap().iter();
    events.map(|it| it["eventId"].as_str().unwrap()).collect()
}

/// An open `events/stream`, and what it said first.
fn stream(server: &ServerProcess, params: Value) -> (EventStream, Value) {
    let request = Modern::new("events/stream", params);
    let mut stream = EventStream::answered_on(request.send(server));
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let active = said(&mut stream, "active");
    (stream, active)
}

/// The params of the next message, which is of this kind.
fn said(stream: &mut EventStream, kind: &str) -> Value {
    let message = stream.next().expect("another message").data;
    let method = format!("notifications/events/{kind}");
    assert_eq!(message["method"], method, "{message}");
    assert_eq!(message["params"]["_meta"][SUBSCRIPTION], 7);
    message["params"].clone()
}

#[test]
fn capability_is_advertised_in_both_spellings() {
    let server = server(&[]);
    let check = |capabilities: &Value| {
        let extension = &capabilities["extensions"]["io.modelcontextprotocol/events"];
        assert_eq!(*extension, json!({"listChanged": true}), "{capabilities}");
        assert_eq!(capabilities["events"], json!({}));
    };
    let discovered = ask(&server, "server/discover", json!({}));
    check(&discovered["result"]["capabilities"]);
    assert_eq!(
        discovered["result"]["capabilities"]["extensions"]["io.modelcontextprotocol/tasks"],
        json!({})
    );
    let initialize = session::initialize("2025-11-25").to_string();
    let begun = server.request("POST", "/mcp", &[JSON, session::BOTH], &initialize);
    check(&begun.json()["result"]["capabilities"]);
}

#[test]
fn event_types_are_listed_in_pages() {
    let server = with_incidents();
    let listed = ask(&server, "events/list", json!({}))["result"].clone();
    assert_eq!(listed["resultType"], "complete");
    let events = listed["events"].as_array().unwrap();
    let names: Vec<_> = events
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    let expected = [
        "client.joined",
        "client.left",
        "incident.created",
        "notification.sent",
        "task.finished",
        "task.progressed",
    ];
    assert_eq!(names, expected);
    let incident = &events[2];
    assert_eq!(incident["description"], "Something broke");
    assert_eq!(incident["delivery"], json!(["poll", "push", "webhook"]));
    assert_eq!(incident["payloadSchema"]["required"], json!(["severity"]));
    let severity = &incident["inputSchema"]["properties"]["severity"];
    assert_eq!(severity["type"], "number");

    for number in 0..150 {
        let path = format!("/v1/event-types/many.e{number:03}");
        server.request("PUT", &path, &[JSON], "{}");
    }
    let first = ask(&server, "events/list", json!({}))["result"].clone();
    assert_eq!(first["events"].as_array().unwrap().len(), 100);
    let second = ask(
        &server,
        "events/list",
        json!({"cursor": first["nextCursor"]}),
    );
    let second = &second["result"];
    assert_eq!(second["events"].as_array().unwrap().len(), 56);
    assert_eq!(second["nextCursor"], Value::Null);
    let wrong = ask(&server, "events/list", json!({"cursor": "x"}));
    assert_eq!(wrong["error"]["code"], -32602);
}

#[test]
fn poll_gives_what_has_happened_since_the_cursor() {
    let mut server = with_incidents();
    happen(&server, 1, "before");
    // Without a cursor: from now on, and nothing replayed.
    let start = poll(&server, json!({"name": "incident.created"}));
    assert_eq!(start["events"], json!([]));
    assert_eq!(
        (&start["truncated"], &start["hasMore"]),
        (&json!(false), &json!(false))
    );
    assert!(start["nextPollMs"].as_u64().unwrap() > 0);

    let high = happen(&server, 5, "db");
    server.post("/v1/events", &notification("of another type"));
    let low = happen(&server, 1, "web");
    let since = |more: Value| {
        let mut params = json!({"name": "incident.created", "cursor": start["cursor"]});
        if let (Value::Object(params), Value::Object(more)) = (&mut params, more) {
            params.extend(more);
        }
        params
    };
    let all = poll(&server, since(json!({})));
    assert_eq!(ids(&all), [high.as_str(), &low]);
    let occurrence = &all["events"][0];
    assert_eq!(occurrence["name"], "incident.created");
    assert_eq!(occurrence["data"], json!({"severity": 5, "service": "db"}));
    assert!(occurrence["timestamp"].is_string() && occurrence["cursor"].is_string());

    // By arguments.
    let chosen = poll(&server, since(json!({"arguments": {"severity": 2}})));
    assert_eq!(ids(&chosen), [high.as_str()]);
    let none = poll(
        &server,
        since(json!({"arguments": {"severity": 2, "service": "w*"}})),
    );
    assert_eq!(none["events"], json!([]));
    // The cursor advances over what is not wanted.
    assert_eq!(none["cursor"], all["cursor"]);

    // In parts.
    let first = poll(&server, since(json!({"maxEvents": 1})));
    assert_eq!(
        (ids(&first), &first["hasMore"]),
        (vec![high.as_str()], &json!(true))
    );
    assert_eq!(first["nextPollMs"], 0);
    let rest = json!({"name": "incident.created", "cursor": first["cursor"]});
    assert_eq!(ids(&poll(&server, rest)), [low.as_str()]);
    // The cursor of an event is a place, too.
    let after = json!({"name": "incident.created", "cursor": occurrence["cursor"]});
    assert_eq!(ids(&poll(&server, after)), [low.as_str()]);

    // Cursors are good over restarts.
    assert!(server.stop().0.success());
    server.restart();
    assert_eq!(ids(&poll(&server, since(json!({})))), [high.as_str(), &low]);
}

#[test]
fn the_cursor_advances_in_quiet_times() {
    let server = with_incidents();
    let start = poll(&server, json!({"name": "incident.created"}));
    for _ in 0..3 {
        server.post("/v1/events", &notification("of another type"));
    }
    let later = json!({"name": "incident.created", "cursor": start["cursor"]});
    let later = poll(&server, later);
    assert_eq!(later["events"], json!([]));
    assert_ne!(later["cursor"], start["cursor"]);
}

#[test]
fn a_cursor_that_cannot_be_honoured_is_truncated_and_no_error() {
    let server = server_with("[retention]\nmax_events = 5\n");
    declare(&server, "", &incident());
    let start = poll(&server, json!({"name": "incident.created"}));
    for number in 0..20 {
        happen(&server, number, "db");
    }
    let gone = json!({"name": "incident.created", "cursor": start["cursor"]});
    eventually("the oldest are removed", || {
        poll(&server, gone.clone())["truncated"] == true
    });
    let kept = poll(&server, gone);
    assert!(ids(&kept).len() >= 5 && ids(&kept).len() < 20);

    for foreign in ["zzzzzzzz-1", "of another server"] {
        let foreign = json!({"name": "incident.created", "cursor": foreign});
        let told = poll(&server, foreign);
        assert_eq!(told["truncated"], true);
        assert!(told["cursor"].is_string());
    }
    // Nothing that is older than so long.
    let floor = json!({"name": "incident.created", "cursor": start["cursor"], "maxAgeMs": 0});
    let floored = poll(&server, floor);
    assert_eq!(
        (&floored["events"], &floored["truncated"]),
        (&json!([]), &json!(true))
    );
    let long = json!({"name": "incident.created", "cursor": kept["cursor"], "maxAgeMs": 3_600_000});
    assert_eq!(poll(&server, long)["truncated"], false);
}

#[test]
fn push_begins_with_active_and_says_events_as_they_happen() {
    let server = with_incidents();
    let missed = happen(&server, 3, "db");
    let wanted = json!({"name": "incident.created", "arguments": {"severity": 2}});
    let (mut live, active) = stream(&server, wanted.clone());
    assert_eq!(active["truncated"], false);
    assert!(active["cursor"].is_string());
    happen(&server, 1, "db");
    let high = happen(&server, 2, "db");
    let event = said(&mut live, "event");
    assert_eq!(event["eventId"], high.as_str());
    assert_eq!(event["data"], json!({"severity": 2, "service": "db"}));

    // The same event is the same by every way.
    let polled = json!({"name": "incident.created", "cursor": active["cursor"]});
    let polled = poll(&server, polled);
    assert_eq!(polled["events"][1]["eventId"], event["eventId"]);
    assert_eq!(polled["events"][1]["cursor"], event["cursor"]);
    let plain = server
        .get("/v1/events?since=all&name=incident.created")
        .json();
    let plain = plain["events"].as_array().unwrap();
    assert_eq!(plain.last().unwrap()["event_id"], event["eventId"]);

    // From a cursor on.
    let mut again = wanted;
    again["cursor"] = event["cursor"].clone();
    let after = happen(&server, 9, "db");
    let (mut resumed, _) = stream(&server, again);
    assert_eq!(said(&mut resumed, "event")["eventId"], after.as_str());
    assert_ne!(after, missed);

    // It is a stream like others.
    let connections = server.get("/v1/connections").json();
    let transports = connections["connections"].as_array().unwrap().iter();
    assert!(transports.clone().all(|it| it["transport"] == "mcp-events"));
    assert_eq!(transports.count(), 2);
}

#[test]
fn push_says_heartbeats_with_a_cursor_that_advances() {
    let server = server_with("[events]\nheartbeat_seconds = 1\n");
    declare(&server, "", &incident());
    let (mut quiet, _) = stream(&server, json!({"name": "incident.created"}));
    let first = said(&mut quiet, "heartbeat");
    let other = server.post("/v1/events", &notification("of another type"));
    let other = other.json()["cursor"].clone();
    assert_ne!(first["cursor"], other);
    let mut next = said(&mut quiet, "heartbeat");
    while next["cursor"] != other {
        next = said(&mut quiet, "heartbeat");
    }
    // Where it is, without having had anything.
    let polled = json!({"name": "incident.created", "cursor": next["cursor"]});
    assert_eq!(poll(&server, polled)["events"], json!([]));
}

#[test]
fn push_says_what_it_has_passed_over() {
    let server = server_with("[retention]\nmax_events = 5\n");
    declare(&server, "", &incident());
    let start = poll(&server, json!({"name": "incident.created"}));
    for number in 0..20 {
        happen(&server, number, "db");
    }
    let gone = json!({"name": "incident.created", "cursor": start["cursor"]});
    eventually("the oldest are removed", || {
        poll(&server, gone.clone())["truncated"] == true
    });
    let (mut late, active) = stream(&server, gone);
    assert_eq!(active["truncated"], true);
    let first = said(&mut late, "event");
    assert!(first["data"]["severity"].as_u64().unwrap() > 0);
    let (_floored, active) = stream(
        &server,
        json!({"name": "incident.created", "cursor": start["cursor"], "maxAgeMs": 0}),
    );
    assert_eq!(active["truncated"], true);
}

#[test]
fn push_ends_with_a_result_when_the_server_stops() {
    let mut server = with_incidents();
    let (mut live, _) = stream(&server, json!({"name": "incident.created"}));
    assert!(server.stop().0.success());
    let last = live.next().unwrap().data;
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&json!(7), &json!("complete"))
    );
    assert_eq!(last["result"]["_meta"][SUBSCRIPTION], 7);
    assert!(live.next().is_none());
}

#[test]
fn a_change_that_breaks_ends_subscriptions_and_one_that_adds_does_not() {
    let server = with_incidents();
    let wanted = json!({"eventsListChanged": true});
    let listen = Modern::new("subscriptions/listen", json!({"notifications": wanted}));
    let mut listening = EventStream::answered_on(listen.send(&server));
    let honoured = listening.next().unwrap().data;
    assert_eq!(honoured["params"]["notifications"], wanted);
    let told = |listening: &mut EventStream| {
        let told = listening.next().unwrap().data;
        assert_eq!(told["method"], "notifications/events/list_changed");
        assert_eq!(told["params"]["_meta"][SUBSCRIPTION], 7);
    };

    let (mut live, _) = stream(&server, json!({"name": "incident.created"}));
    let mut more = incident();
    more["payload_schema"]["properties"]["region"] = json!({"type": "string"});
    declare(&server, "", &more);
    told(&mut listening);
    happen(&server, 1, "db");
    said(&mut live, "event");

    more["payload_schema"]["required"] = json!([]);
    declare(&server, "?breaking=true", &more);
    told(&mut listening);
    let error = said(&mut live, "terminated")["error"].clone();
    assert_eq!(error["code"], -32026, "{error}");
    assert_eq!(
        error["data"],
        json!({"feature": "payloadSchema", "reason": "schema_changed"})
    );
    assert_eq!(
        live.next().unwrap().data["result"]["resultType"],
        "complete"
    );
    assert!(live.next().is_none());

    let (mut live, _) = stream(&server, json!({"name": "incident.created"}));
    server.request("DELETE", "/v1/event-types/incident.created", &[], "");
    told(&mut listening);
    let error = said(&mut live, "terminated")["error"].clone();
    assert_eq!(
        (&error["code"], &error["data"]),
        (&json!(-32023), &json!({"kind": "event"}))
    );
}

#[test]
fn each_mistake_has_the_error_of_the_specification() {
    let server = with_incidents();
    let mut polled_only = incident();
    polled_only["delivery"] = json!(["poll"]);
    server.request(
        "PUT",
        "/v1/event-types/polled",
        &[JSON],
        &polled_only.to_string(),
    );
    let check = |method: &str, params: Value, code: i64, data: Value| {
        let answer = ask(&server, method, params.clone());
        let error = &answer["error"];
        assert_eq!(error["code"], code, "{params} {answer}");
        if !data.is_null() {
            assert_eq!(error["data"], data, "{params}");
        }
    };
    let nothing = Value::Null;
    for method in ["events/poll", "events/stream"] {
        let check = |params, code, data| check(method, params, code, data);
        check(json!({}), -32602, nothing.clone());
        check(json!({"name": 5}), -32602, nothing.clone());
        check(json!({"name": "unknown"}), -32023, json!({"kind": "event"}));
        check(
            json!({"name": "not a name"}),
            -32023,
            json!({"kind": "event"}),
        );
        let with = |field: &str, value: Value| json!({"name": "incident.created", field: value});
        check(with("arguments", json!([])), -32602, nothing.clone());
        check(
            with("arguments", json!({"region": 1})),
            -32602,
            nothing.clone(),
        );
        check(
            with("arguments", json!({"severity": "1"})),
            -32602,
            nothing.clone(),
        );
        check(with("cursor", json!(5)), -32602, nothing.clone());
        check(with("maxAgeMs", json!(-1)), -32602, nothing.clone());
        check(with("topic", json!("a")), -32602, nothing.clone());
    }
    check(
        "events/poll",
        json!({"name": "incident.created", "maxEvents": 0}),
        -32602,
        nothing,
    );
    check(
        "events/stream",
        json!({"name": "polled"}),
        -32026,
        json!({"feature": "delivery", "value": "push"}),
    );
    // By the numbers of the proposal, if it is set so.
    let sketch = server_with("[events]\nerror_codes = \"sketch\"\n");
    let unknown = ask(&sketch, "events/poll", json!({"name": "unknown"}));
    assert_eq!(unknown["error"]["code"], -32011);
}

#[test]
fn what_the_server_itself_knows_can_be_subscribed_to() {
    let server = server(&[]);
    let begin = |name: &str, arguments: Value| {
        stream(&server, json!({"name": name, "arguments": arguments})).0
    };
    let mut warnings = begin(
        "notification.sent",
        json!({"notification_type": ["warning"]}),
    );
    let mut progress = begin("task.progressed", json!({"task_id": "t"}));
    let mut ends = begin("task.finished", json!({"state": ["failed", "cancelled"]}));
    let mut joins = begin("client.joined", json!({"client_id": "al*"}));

    server.post("/v1/events", &notification("quiet"));
    let mut loud = notification("loud");
    loud["notification_type"] = json!("warning");
    server.post("/v1/events", &loud);
    let event = said(&mut warnings, "event");
    assert_eq!(event["data"]["message"], "loud");
    assert_eq!(event["data"]["topic"], "default");
    assert_eq!(event["data"]["event_id"], Value::Null);

    let report = |id: &str, report: Value| {
        let path = format!("/v1/tasks/{id}");
        server.request("PUT", &path, &[JSON], &report.to_string());
    };
    report("t", json!({"task_name": "T", "step": 1, "total_steps": 2}));
    report("t", json!({"state": "failed", "message": "Oh"}));
    let event = said(&mut progress, "event");
    assert_eq!(
        (&event["data"]["step"], &event["data"]["state"]),
        (&json!(1), &json!("running"))
    );
    let event = said(&mut ends, "event");
    assert_eq!(event["data"]["message"], "Oh");

    let path = "/v1/stream?client_id=alice";
    let _alice = EventStream::open(server.address(), path, &[]);
    assert_eq!(said(&mut joins, "event")["data"]["client_id"], "alice");
}

#[test]
fn a_session_can_do_the_same() {
    let server = with_incidents();
    let client = Client::connect(&server, "2025-11-25");
    let listed = client.ask("events/list", json!({})).json();
    assert_eq!(listed["result"]["events"].as_array().unwrap().len(), 6);
    let name = json!({"name": "incident.created"});
    let start = client.ask("events/poll", name.clone()).json()["result"].clone();
    let mut live = client.open("events/stream", 7, name);
    said(&mut live, "active");
    let id = happen(&server, 1, "db");
    assert_eq!(said(&mut live, "event")["eventId"], id.as_str());
    let since = json!({"name": "incident.created", "cursor": start["cursor"]});
    let polled = client.ask("events/poll", since).json();
    assert_eq!(polled["result"]["events"][0]["eventId"], id.as_str());
}

#[test]
fn only_what_may_be_read_is_delivered() {
    let secured = Secured::start("");
    let path = "/v1/event-types/incident.created";
    let declared = secured.ask(&Secured::admin(), "PUT", path, Some(&incident()));
    assert_eq!(declared.status, 201);
    let (id, reader) = secured.key(&json!({"name": "r", "allow": ["subscribe:open/**"]}));
    let nobody = secured.allowed("n", &["publish:**"]);
    let with = |of: &Credential, method: &str, params: Value| {
        let Credential::Bearer(key) = of else {
            unreachable!("keys are bearers");
        };
        Modern::new(method, params).with_header("Authorization", &format!("Bearer {key}"))
    };
    let server = &secured.server;
    let name = json!({"name": "incident.created"});
    for method in ["events/poll", "events/stream"] {
        let denied = with(&nobody, method, name.clone()).ask(server).message();
        assert_eq!(denied["error"]["code"], -32024, "{denied}");
    }
    let start = with(&reader, "events/poll", name.clone())
        .ask(server)
        .message();
    let request = with(&reader, "events/stream", name);
    let mut live = EventStream::answered_on(request.send(server));
    said(&mut live, "active");
    let happen = |topic: &str, audience: Value| {
        let mut event = json!({"type": "event", "name": "incident.created", "topic": topic,
            "data": {"severity": 1, "service": topic}});
        if !audience.is_null() {
            event["audience"] = audience;
        }
        let published = secured.ask(&Secured::admin(), "POST", "/v1/events", Some(&event));
        assert_eq!(published.status, 201, "{published:?}");
    };
    happen("secret", Value::Null);
    happen("open/a", json!({"clients": ["x"]}));
    happen("open/b", Value::Null);
    assert_eq!(said(&mut live, "event")["data"]["service"], "open/b");
    let since = json!({"name": "incident.created", "cursor": start["result"]["cursor"]});
    let polled = with(&reader, "events/poll", since).ask(server).message();
    assert_eq!(ids(&polled["result"]).len(), 1);

    // What is refused of a stream is refused in the words of this protocol.
    let limited = Secured::start("[limits.principal]\nstreams = 1\n");
    let one = limited.allowed("one", &["subscribe:**"]);
    let sent = json!({"name": "notification.sent"});
    let first = with(&one, "events/stream", sent.clone()).send(&limited.server);
    let mut first = EventStream::answered_on(first);
    said(&mut first, "active");
    let second = with(&one, "events/stream", sent).ask(&limited.server);
    assert_eq!(second.status, 429, "{second:?}");
    let refused = second.json();
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!(7), &json!(-32025))
    );

    let revoked = secured.ask(&Secured::admin(), "DELETE", &format!("/v1/keys/{id}"), None);
    assert_eq!(revoked.status, 204);
    let error = said(&mut live, "terminated")["error"].clone();
    assert_eq!(error["code"], -32024, "{error}");
    assert_eq!(
        live.next().unwrap().data["result"]["resultType"],
        "complete"
    );
}
