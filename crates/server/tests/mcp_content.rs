//! What MCP clients can read beside calling tools: resources,
//! prompts and completions, over the real server.

#[path = "common/mod.rs"]
mod common;
#[path = "common/modern.rs"]
mod modern;
#[path = "common/secured.rs"]
mod secured;

use common::server;
use modern::Modern;
use notification_testkit::{EventStream, ServerProcess};
use secured::{Credential, Secured};
use serde_json::{Value, json};

/// Asks as curl does: the JSON-RPC message of the answer.
fn ask(server: &ServerProcess, method: &str, params: &Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let headers = [("Content-Type", "application/json")];
    let answer = server.request("POST", "/mcp", &headers, &body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn ask_as(secured: &Secured, of: &Credential, method: &str, params: &Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = secured.ask(of, "POST", "/mcp", Some(&body));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn publish(server: &ServerProcess, event: &Value) -> Value {
    let headers = [("Content-Type", "application/json")];
    let answer = server.request("POST", "/v1/events", &headers, &event.to_string());
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

/// The JSON of the resource that was read.
fn content(answer: &Value, uri: &str) -> Value {
    let contents = &answer["result"]["contents"];
    assert_eq!(contents[0]["uri"], uri, "{answer}");
    assert_eq!(contents[0]["mimeType"], "application/json");
    serde_json::from_str(contents[0]["text"].as_str().unwrap()).unwrap()
}

fn uris(answer: &Value) -> Vec<&str> {
    let resources = answer["result"]["resources"].as_array().unwrap();
    let uris = resources.iter().map(|resource| resource["uri"].as_str());
    uris.map(Option::unwrap).collect()
}

#[test]
fn resources_are_listed_and_read() {
    let server = server(&[]);
    let read = |uri: &str| content(&ask(&server, "resources/read", &json!({"uri": uri})), uri);
    for number in 0..60 {
        let event = json!({"type": "event", "name": format!("n{number}"), "topic": "ops/db"});
        publish(&server, &event);
    }
    let task = json!({"type": "progress", "task_id": "t", "task_name": "T", "topic": "jobs"});
    publish(&server, &task);
    let published = json!({"type": "notification", "message": "m", "event_id": "e:1"});
    publish(&server, &published);

    let listed = ask(&server, "resources/list", &json!({}));
    assert_eq!(
        uris(&listed),
        [
            "notification://tasks",
            "notification://connections",
            "notification://topics/default",
            "notification://topics/jobs",
            "notification://topics/ops/db",
        ]
    );
    for uri in uris(&listed) {
        read(uri);
    }
    let templates = ask(&server, "resources/templates/list", &json!({}));
    let templates = templates["result"]["resourceTemplates"].clone();
    let templates = templates.as_array().unwrap();
    let templates = templates.iter().map(|t| t["uriTemplate"].as_str().unwrap());
    assert_eq!(
        Vec::from_iter(templates),
        [
            "notification://topics/{topic}",
            "notification://events/{event_id}",
            "notification://tasks/{task_id}",
        ]
    );

    for uri in [
        "notification://topics/ops/db",
        "notification://topics/ops%2Fdb",
    ] {
        let topic = read(uri);
        let events = topic["events"].as_array().unwrap();
        assert_eq!(topic["topic"], "ops/db");
        assert_eq!(events.len(), 50);
        assert_eq!(
            (&events[0]["name"], &events[49]["name"]),
            (&json!("n10"), &json!("n59"))
        );
        let older = read(topic["older"].as_str().unwrap());
        let events = older["events"].as_array().unwrap();
        assert_eq!(
            (events.len(), &events[0]["name"], &events[9]["name"]),
            (10, &json!("n0"), &json!("n9"))
        );
        assert_eq!(older["older"], Value::Null);
    }
    let quiet = read("notification://topics/quiet");
    assert_eq!(
        (&quiet["events"], &quiet["older"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(read("notification://events/e:1")["message"], "m");
    assert_eq!(read("notification://events/e%3A1")["message"], "m");
    assert_eq!(read("notification://tasks/t")["task_name"], "T");
    let tasks = read("notification://tasks");
    assert_eq!(tasks["tasks"][0]["task_id"], "t");
    let _stream = EventStream::open(server.address(), "/v1/stream", &[]);
    let connections = read("notification://connections");
    let own = server.get("/v1/connections").json();
    assert_eq!(connections["connections"][0]["transport"], "sse");
    assert_eq!(
        connections["connections"][0]["connection_id"],
        own["connections"][0]["connection_id"]
    );
}

#[test]
fn what_is_not_there_is_not_found() {
    let server = server(&[]);
    for uri in [
        "",
        "notification://events/nope",
        "notification://tasks/nope",
        "notification://topics/a b",
        "notification://other",
        "file:///etc/passwd",
    ] {
        let params = json!({"uri": uri});
        let answer = ask(&server, "resources/read", &params);
        assert_eq!(answer["error"]["code"], -32002, "{answer}");
        assert_eq!(answer["error"]["data"]["uri"], uri, "{answer}");
    }
    let request = Modern::new(
        "resources/read",
        json!({"uri": "notification://events/nope"}),
    );
    let body = request.body.to_string();
    let answer = server.request("POST", "/mcp", &request.headers(), &body);
    assert_eq!(answer.json()["error"]["code"], -32602, "{answer:?}");
    let request = Modern::new("resources/read", json!({"uri": "notification://tasks"}));
    let body = request.body.to_string();
    let answer = server.request("POST", "/mcp", &request.headers(), &body);
    let result = &answer.json()["result"];
    assert_eq!(result["cacheScope"], "private", "{answer:?}");
    let listed = Modern::new("resources/list", json!({}));
    let body = listed.body.to_string();
    let answer = server.request("POST", "/mcp", &listed.headers(), &body);
    assert_eq!(answer.json()["result"]["cacheScope"], "private");
}

#[test]
fn what_may_not_be_read_is_not_there_either() {
    let secured = Secured::start("");
    let admin = Secured::admin();
    let publish = |event: Value| {
        let answer = secured.ask(&admin, "POST", "/v1/events", Some(&event));
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    for topic in ["ops", "dev"] {
        publish(json!({"type": "event", "name": "n", "topic": topic, "event_id": topic}));
        publish(json!({"type": "progress", "task_id": topic, "task_name": "T", "topic": topic}));
    }
    publish(
        json!({"type": "event", "name": "n", "topic": "ops/secret", "event_id": "hers",
                   "audience": {"clients": ["alice"]}}),
    );
    let reader = json!({"name": "reader", "allow": ["subscribe:ops/**"]});
    let reader = secured.key(&reader).1;
    let alice = json!({"name": "alice", "allow": ["subscribe:ops/**"], "client_id": "alice"});
    let alice = secured.key(&alice).1;

    let list = |of: &Credential| {
        let listed = ask_as(&secured, of, "resources/list", &json!({}));
        uris(&listed).join(" ")
    };
    assert_eq!(
        list(&reader),
        "notification://tasks notification://topics/ops"
    );
    assert_eq!(
        list(&alice),
        "notification://tasks notification://topics/ops notification://topics/ops/secret"
    );
    let read =
        |of: &Credential, uri: &str| ask_as(&secured, of, "resources/read", &json!({"uri": uri}));
    let unlike = |uri: &str| {
        let answer = read(&reader, uri);
        let error = answer["error"].to_string();
        error.replace(uri, "URI")
    };
    let unknown = unlike("notification://events/nope");
    assert!(unknown.contains("-32002"), "{unknown}");
    for uri in [
        "notification://events/dev",
        "notification://events/hers",
        "notification://tasks/dev",
        "notification://topics/dev",
        "notification://topics/$audit",
        "notification://connections",
    ] {
        assert_eq!(unlike(uri), unknown, "{uri}");
    }
    for uri in [
        "notification://events/ops",
        "notification://tasks/ops",
        "notification://topics/ops",
    ] {
        content(&read(&reader, uri), uri);
    }
    let uri = "notification://events/hers";
    assert_eq!(content(&read(&alice, uri), uri)["event_id"], "hers");
    let uri = "notification://topics/ops/secret";
    assert_eq!(content(&read(&reader, uri), uri)["events"], json!([]));
    let uri = "notification://tasks";
    let tasks = content(&read(&reader, uri), uri);
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(tasks["narrowed_to"], json!(["ops/**"]));
    let nobody = secured.allowed("nobody", &["publish:**"]);
    assert_eq!(list(&nobody), "");
}

/// The text of a prompt: the question, and the events on lines of their own.
fn prompted(answer: &Value) -> (String, Vec<Value>) {
    let messages = answer["result"]["messages"].as_array();
    let [message] = &messages.unwrap_or_else(|| panic!("{answer}"))[..] else {
        panic!("{answer}")
    };
    assert_eq!(message["role"], "user");
    let text = message["content"]["text"].as_str().unwrap();
    let events = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    (text.to_owned(), events.collect())
}

#[test]
fn prompts_have_the_newest_events_and_say_what_they_lack() {
    let server = server(&[]);
    let listed = ask(&server, "prompts/list", &json!({}));
    let prompts = listed["result"]["prompts"].as_array().unwrap();
    let required: Vec<_> = prompts
        .iter()
        .map(|p| (p["name"].as_str().unwrap(), &p["arguments"][0]["required"]))
        .collect();
    assert_eq!(
        required,
        [
            ("summarize_notifications", &json!(false)),
            ("incident_report", &json!(true)),
        ]
    );
    let get = |name: &str, arguments: Value| {
        let params = json!({"name": name, "arguments": arguments});
        prompted(&ask(&server, "prompts/get", &params))
    };
    let (text, events) = get("summarize_notifications", json!({}));
    assert!(text.contains("There are none."), "{text}");
    assert_eq!(events.len(), 0);

    for number in 0..3 {
        let event =
            json!({"type": "notification", "topic": "ops/db", "message": format!("m{number}")});
        publish(&server, &event);
    }
    let (text, events) = get(
        "incident_report",
        json!({"topic": "ops/**", "since": "10m"}),
    );
    assert!(text.contains("on topic ops/** since 10m. There are 3, and all"));
    let messages: Vec<_> = events
        .iter()
        .map(|e| e["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["m0", "m1", "m2"]);
    let (_, events) = get("incident_report", json!({"topic": "dev"}));
    assert_eq!(events.len(), 0);

    for number in 0..120 {
        let event = json!({"type": "event", "name": format!("n{number}"), "topic": "many"});
        publish(&server, &event);
    }
    let (text, events) = get("summarize_notifications", json!({"topic": "many"}));
    assert!(text.contains("the newest 100; older ones were left out"));
    assert_eq!((events.len(), &events[99]["name"]), (100, &json!("n119")));

    // What somebody wrote into an event stays on its line.
    let large = "x\n".repeat(20_000);
    for _ in 0..5 {
        let event =
            json!({"type": "event", "name": "large", "topic": "large", "data": {"k": large}});
        publish(&server, &event);
    }
    let (text, events) = get("summarize_notifications", json!({"topic": "large"}));
    assert!(text.len() < 140_000, "{}", text.len());
    assert!((1..5).contains(&events.len()), "{}", events.len());
    assert!(text.contains("older ones were left out"));
}

#[test]
fn prompts_refuse_by_naming_the_argument() {
    let secured = Secured::start("");
    let reader = secured.allowed("reader", &["subscribe:ops/**"]);
    let event = json!({"type": "event", "name": "secret", "topic": "dev"});
    let published = secured.ask(&Secured::admin(), "POST", "/v1/events", Some(&event));
    assert_eq!(published.status, 201);
    let get = |name: &str, arguments: Value| {
        let params = json!({"name": name, "arguments": arguments});
        ask_as(&secured, &reader, "prompts/get", &params)
    };
    let check = |name: &str, arguments: Value, says: &str| {
        let answer = get(name, arguments);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(says), "{message}");
    };
    check("incident_report", json!({}), "topic: expected");
    check(
        "incident_report",
        json!({"topic": "a b"}),
        "topic: expected",
    );
    check(
        "incident_report",
        json!({"topic": "dev"}),
        "topic: this needs the grant subscribe:dev",
    );
    check(
        "summarize_notifications",
        json!({"since": "soon"}),
        "since: expected a cursor",
    );
    check(
        "summarize_notifications",
        json!({"limit": "5"}),
        "limit: expected no such field",
    );
    check("nope", json!({}), "unknown prompt `nope`");
    let (text, events) = prompted(&get("summarize_notifications", json!({})));
    assert!(
        text.contains("as far as they may be read here: ops/**"),
        "{text}"
    );
    assert_eq!(events.len(), 0);
}

#[test]
fn what_is_typed_is_completed_by_what_may_be_seen() {
    let secured = Secured::start("");
    let admin = Secured::admin();
    let mut events: Vec<_> = (0..120)
        .map(|n| json!({"type": "event", "name": "n", "topic": format!("ops/t{n:03}")}))
        .collect();
    events.push(json!({"type": "event", "name": "n", "topic": "other"}));
    events.push(json!({"type": "event", "name": "n", "topic": "ops/hers",
                       "audience": {"clients": ["alice"]}}));
    for number in 0..105 {
        let topic = if number < 103 { "ops" } else { "dev" };
        events.push(
            json!({"type": "progress", "task_id": format!("job-{number}"),
                           "task_name": "T", "topic": topic}),
        );
    }
    let published = secured.ask(&admin, "POST", "/v1/events", Some(&json!(events)));
    assert_eq!(published.status, 201, "{published:?}");
    let reader = secured.allowed("reader", &["subscribe:ops/**"]);
    let complete = |reference: Value, argument: &str, typed: &str| {
        let params = json!({"ref": reference, "argument": {"name": argument, "value": typed}});
        let answer = ask_as(&secured, &reader, "completion/complete", &params);
        let completion = &answer["result"]["completion"];
        let values = completion["values"].as_array();
        let values = values.unwrap_or_else(|| panic!("{answer}")).iter();
        let values: Vec<_> = values.map(|v| v.as_str().unwrap().to_owned()).collect();
        (values, completion["hasMore"] == true)
    };
    let prompt = |name: &str| json!({"type": "ref/prompt", "name": name});
    let resource = |template: &str| {
        let uri = format!("notification://{template}");
        json!({"type": "ref/resource", "uri": uri})
    };
    let topics = || resource("topics/{topic}");
    let (values, more) = complete(topics(), "topic", "");
    assert_eq!((values.len(), more), (100, true));
    assert!(values.iter().all(|topic| topic.starts_with("ops")));
    let (values, more) = complete(topics(), "topic", "ops/t11");
    assert_eq!((values.len(), more), (10, false));
    for typed in ["other", "dev", "ops/h", "$", "OPS"] {
        assert_eq!(complete(topics(), "topic", typed), (vec![], false));
    }
    let of_prompt = complete(prompt("incident_report"), "topic", "ops/t119");
    assert_eq!(of_prompt, (vec!["ops/t119".to_owned()], false));
    let tasks = || resource("tasks/{task_id}");
    let (values, more) = complete(tasks(), "task_id", "job-");
    assert_eq!((values.len(), more, &*values[0]), (100, true, "job-102"));
    let (values, more) = complete(tasks(), "task_id", "job-10");
    assert_eq!(values, ["job-102", "job-101", "job-100", "job-10"]);
    assert!(!more);
    let (values, _) = complete(prompt("summarize_notifications"), "since", "1");
    assert_eq!(values.len(), 0);
    let (values, _) = complete(resource("events/{event_id}"), "event_id", "");
    assert_eq!(values.len(), 0);
}

#[test]
fn a_long_list_of_resources_has_pages() {
    let server = server(&[]);
    let events: String = (0..250)
        .map(|n| json!({"type": "event", "name": "n", "topic": format!("t{n:03}")}).to_string())
        .map(|event| event + "\n")
        .collect();
    let headers = [("Content-Type", "application/x-ndjson")];
    assert_eq!(
        server
            .request("POST", "/v1/events", &headers, &events)
            .status,
        200
    );
    let mut all = Vec::new();
    let mut page = json!({});
    for expected in [102, 100, 50] {
        let listed = ask(&server, "resources/list", &page);
        assert_eq!(uris(&listed).len(), expected);
        all.extend(uris(&listed).into_iter().map(str::to_owned));
        page = json!({"cursor": listed["result"]["nextCursor"]});
    }
    assert_eq!(page, json!({"cursor": null}));
    assert_eq!(
        all.iter().collect::<std::collections::BTreeSet<_>>().len(),
        252
    );
    assert_eq!(all.last().unwrap(), "notification://topics/t249");
}
