use std::time::Duration;

use notification_event::{Draft, Filter, TaskId};
use notification_hub::{PageRequest, Start, Subscribe};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Server, text};

#[tokio::test]
async fn each_tool_says_what_it_takes_and_gives() {
    let tools = Server::start().await.tools().await;
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(
        names,
        [
            "simulate_progress",
            "send_notification",
            "connection_status",
            "report_progress",
            "list_tasks",
            "get_task",
            "acknowledge",
            "get_receipts",
            "publish_event",
            "get_recent_events",
            "explain_delivery"
        ]
    );
    for tool in &tools {
        assert!(tool["title"].is_string() && tool["description"].is_string());
        assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{tool}");
        assert_eq!(tool["annotations"]["openWorldHint"], false);
        for schema in [&tool["inputSchema"], &tool["outputSchema"]] {
            assert!(jsonschema::draft202012::meta::is_valid(schema), "{schema}");
            assert_eq!(schema["type"], "object");
            // Which several models' APIs refuse.
            for combined in ["oneOf", "anyOf", "allOf"] {
                assert_eq!(schema.get(combined), None);
            }
            assert_eq!(schema["additionalProperties"], false);
            for (name, property) in schema["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn what_changes_nothing_says_so() {
    for tool in Server::start().await.tools().await {
        let (name, hints) = (tool["name"].as_str().unwrap(), &tool["annotations"]);
        let reads = [
            "connection_status",
            "list_tasks",
            "get_task",
            "get_receipts",
            "get_recent_events",
            "explain_delivery",
        ];
        assert_eq!(hints["readOnlyHint"], reads.contains(&name), "{name}");
        if hints["readOnlyHint"] == false {
            assert_eq!(hints["destructiveHint"], false, "{name}");
            assert_eq!(hints["idempotentHint"], name == "acknowledge", "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_tool_gives_fits_its_schema_and_is_there_as_text() {
    let server = Server::start().await;
    let ask = json!({"message": "m", "require_ack": true, "clients": ["alice"]});
    let sent = server.ask("send_notification", ask).await;
    let event_id = &sent["notification_id"];
    let task = json!({"task_id": "t", "task_name": "T", "step": 1, "total_steps": 3});
    let calls = [
        ("simulate_progress", json!({"task_name": "t"})),
        ("send_notification", json!({"message": "m"})),
        ("connection_status", json!({})),
        ("report_progress", task),
        ("report_progress", json!({"task_id": "u", "task_name": "U"})),
        ("list_tasks", json!({})),
        ("get_task", json!({"task_id": "t"})),
        ("get_task", json!({"task_id": "u"})),
        ("get_receipts", json!({"event_id": event_id})),
        (
            "acknowledge",
            json!({"client_id": "alice", "event_ids": [event_id]}),
        ),
        ("get_receipts", json!({"event_id": event_id})),
        ("explain_delivery", json!({"event_id": event_id})),
        ("publish_event", json!({"name": "n", "data": {"k": 1}})),
        ("get_recent_events", json!({})),
        ("get_recent_events", json!({"since": "all", "limit": 2})),
    ];
    let tools = server.tools().await;
    for (name, arguments) in &calls {
        let result = server.call(name, arguments.clone()).await;
        let content = &result["structuredContent"];
        let tool = tools.iter().find(|tool| tool["name"] == *name).unwrap();
        let fits = jsonschema::validate(&tool["outputSchema"], content);
        assert!(fits.is_ok(), "{name}: {content}: {fits:?}");
        assert_eq!(
            serde_json::from_str::<Value>(text(&result)).unwrap(),
            *content
        );
        assert_eq!(result["isError"], false);
    }
    for tool in &tools {
        assert!(
            calls.iter().any(|(name, _)| tool["name"] == *name),
            "{tool}"
        );
    }
}

/// Values inside and outside of what `schema` advertises.
fn around_the_bounds(schema: &Value) -> Vec<(Value, bool)> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    if let Some(options) = schema["enum"].as_array() {
        let options = options.iter().map(|option| (option.clone(), true));
        return options.chain([(json!("loud"), false)]).collect();
    }
    // Characters are not bytes, where there may be others than those of ASCII.
    let letter = if schema["pattern"].is_null() {
        "ä"
    } else {
        "x"
    };
    let text = |length: u64| json!(letter.repeat(length as usize));
    let list = |length: u64| (0..length).map(|n| json!(format!("x{n}"))).collect();
    let around = |min: u64, max: u64, value: &dyn Fn(u64) -> Value| {
        let below = min.checked_sub(1).map(|below| (value(below), false));
        let above = [
            (value(min), true),
            (value(max), true),
            (value(max + 1), false),
        ];
        below.into_iter().chain(above).collect::<Vec<_>>()
    };
    match schema["type"].as_str().unwrap() {
        "string" if schema["maxLength"].is_null() => vec![(json!("x"), true), (json!(5), false)],
        "string" => {
            let (min, max) = (bound("minLength").unwrap(), bound("maxLength").unwrap());
            let mut values = around(min, max, &text);
            if schema.get("pattern").is_some() {
                values.push((json!("not one, but some"), false));
            }
            values
        }
        "boolean" => vec![
            (json!(true), true),
            (json!(false), true),
            (json!("true"), false),
            (json!(1), false),
        ],
        "array" => {
            let (min, max) = (bound("minItems").unwrap_or(0), bound("maxItems").unwrap());
            let mut values = around(min, max, &list);
            let elements = around_the_bounds(&schema["items"]).into_iter();
            values.extend(elements.map(|(element, fits)| (json!(["x", element]), fits)));
            values
        }
        "object" => vec![(json!({}), true), (json!([]), false), (json!("{}"), false)],
        _ => {
            let (min, max) = (bound("minimum").unwrap(), bound("maximum").unwrap());
            let mut values = around(min, max, &|number| json!(number));
            values.push((json!("1"), false));
            values
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_advertised_bounds_are_the_enforced_ones() {
    let server = Server::start().await;
    for tool in server.tools().await {
        let (name, input) = (tool["name"].as_str().unwrap(), &tool["inputSchema"]);
        for (field, schema) in input["properties"].as_object().unwrap() {
            for (value, fits) in around_the_bounds(schema) {
                // Tasks of their own, so that none goes backwards.
                let mut arguments = match name {
                    "send_notification" => json!({"message": "x"}),
                    "simulate_progress" => json!({"task_name": "x"}),
                    "report_progress" => {
                        json!({"task_id": TaskId::generate(), "task_name": "x", "total_steps": 1_000_000_000})
                    }
                    "get_task" => json!({"task_id": "x"}),
                    "acknowledge" => json!({"client_id": "x"}),
                    "get_receipts" | "explain_delivery" => json!({"event_id": "x"}),
                    "publish_event" => json!({"name": "x"}),
                    _ => json!({}),
                };
                arguments[field] = value.clone();
                let published = server.hub.events_published();
                let result = server.call(name, arguments).await;
                let what = format!("{name} {field} {value}: {result}");
                let says = result["content"][0]["text"].as_str().unwrap();
                let is_refused = says.starts_with(&format!("nothing was done: {field}"));
                // Of these the schema knows no more than that it is a string.
                if ["cursor", "since", "expires_at"].contains(&field.as_str()) {
                    assert!(is_refused, "{what}");
                    continue;
                }
                assert!(is_refused != fits, "{what}");
                let publishes = [
                    "send_notification",
                    "simulate_progress",
                    "report_progress",
                    "publish_event",
                ];
                if fits && publishes.contains(&name) {
                    assert_eq!(result["isError"], false, "{what}");
                    assert!(server.hub.events_published() > published, "{what}");
                } else {
                    assert_eq!(server.hub.events_published(), published, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn wrong_arguments_are_named_and_nothing_is_published() {
    let server = Server::start().await;
    let check = async |tool: &str, arguments: Value, says: &str| {
        let result = server.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        assert_eq!(result.get("structuredContent"), None);
        assert_eq!(text(&result), format!("nothing was done: {says}"));
        assert_eq!(server.hub.events_published(), 0, "{says}");
    };
    let simulate = "simulate_progress";
    check(
        simulate,
        json!({}),
        "task_name: expected a string of 1 to 256 characters, which is required",
    )
    .await;
    check(
        simulate,
        json!({"task_name": "t", "duration_seconds": 60.5, "step_count": "5"}),
        "duration_seconds: expected a number from 1 to 60, got 60.5; \
         step_count: expected an integer from 1 to 20, got \"5\"",
    )
    .await;
    check(
        simulate,
        json!({"task_name": "t", "steps": 5}),
        "steps: expected no such argument; known are task_name, duration_seconds, step_count",
    )
    .await;
    let send = "send_notification";
    check(
        send,
        json!({"message": null}),
        "message: expected a string of 1 to 4096 characters, got null",
    )
    .await;
    check(
        send,
        json!({"message": "m", "type": "loud"}),
        "type: expected one of info, warning, error, success, got \"loud\"",
    )
    .await;
    check(
        send,
        json!({"message": "m", "data": "text"}),
        "data: expected an object, got \"text\"",
    )
    .await;
    check(
        send,
        json!({"message": "m", "notification_type": "info", "audience": {}}),
        "notification_type: expected no such argument; known are message, type, data, topic, \
         title, priority, tags, clients, groups, require_ack; \
         audience: expected no such argument; known are message, type, data, topic, \
         title, priority, tags, clients, groups, require_ack",
    )
    .await;
    check(
        "connection_status",
        json!({"verbose": true}),
        "verbose: expected no arguments at all",
    )
    .await;
}

#[tokio::test]
async fn a_notification_is_published_as_it_was_sent() {
    let server = Server::start().await;
    let _streams = [
        server.hub.subscribe(Subscribe::default()).await.unwrap(),
        server.hub.subscribe(Subscribe::default()).await.unwrap(),
    ];
    let data = json!({"maintenance_window": "2024-01-15T02:00:00Z", "z": 1, "a": [null]});
    let arguments = json!({"message": "System maintenance", "type": "warning", "data": data});
    let result = server.call("send_notification", arguments).await;
    let [event] = &server.events().await[..] else {
        panic!("one event")
    };
    assert_eq!(event["type"], "notification");
    assert_eq!(event["notification_type"], "warning");
    assert_eq!(event["message"], "System maintenance");
    assert_eq!(event["data"].to_string(), data.to_string());
    let content = &result["structuredContent"];
    assert_eq!(content["notification_id"], event["notification_id"]);
    assert_eq!(content["subscribers"], 2);
    let cursor = content["cursor"].as_str().unwrap();
    assert!(cursor.ends_with("-1"), "{cursor}");

    server
        .call("send_notification", json!({"message": "m"}))
        .await;
    assert_eq!(server.events().await[1]["notification_type"], "info");
}

#[tokio::test]
async fn data_is_bounded_by_the_bytes_of_its_json() {
    let server = Server::start().await;
    let check = async |bytes: usize, fits: bool| {
        let data = json!({"k": "x".repeat(bytes - r#"{"k":""}"#.len())});
        let published = server.hub.events_published();
        let arguments = json!({"message": "m", "data": data});
        let result = server.call("send_notification", arguments).await;
        assert_eq!(result["isError"], !fits, "{bytes}");
        assert_eq!(server.hub.events_published() - published, u64::from(fits));
        result
    };
    check(Draft::MAX_DATA, true).await;
    let result = check(Draft::MAX_DATA + 1, false).await;
    assert_eq!(
        text(&result),
        "nothing was done: data: expected an object of at most 64 KiB, 100 levels deep"
    );
}

#[tokio::test(start_paused = true)]
async fn progress_is_one_event_for_each_step_spread_evenly() {
    let server = Server::start().await;
    let started = Instant::now();
    let arguments =
        json!({"task_name": "File Processing", "duration_seconds": 15, "step_count": 10});
    let call = server.call("simulate_progress", arguments);
    let watch = async {
        for step in 1..=10_u32 {
            let due = Duration::from_millis(1_500) * step;
            tokio::time::sleep_until(started + due - Duration::from_millis(50)).await;
            assert_eq!(server.hub.events_published(), u64::from(step) - 1);
            tokio::time::sleep_until(started + due + Duration::from_millis(50)).await;
            assert_eq!(server.hub.events_published(), u64::from(step));
        }
    };
    let (result, ()) = tokio::join!(call, watch);

    let content = &result["structuredContent"];
    let task_id = &content["task_id"];
    assert_eq!(
        *content,
        json!({"task_id": task_id, "task_name": "File Processing", "total_steps": 10,
               "status": "completed"})
    );
    for (event, step) in server.events().await.iter().zip(1..=10) {
        assert_eq!(event["type"], "progress");
        assert_eq!(event["task_id"], *task_id);
        assert_eq!(event["task_name"], "File Processing");
        assert_eq!(event["progress"], step * 10);
        assert_eq!(
            (&event["step"], &event["total_steps"]),
            (&json!(step), &json!(10))
        );
        assert_eq!(event["message"], format!("Completed step {step} of 10"));
        let state = if step == 10 { "completed" } else { "running" };
        assert_eq!(event["state"], state);
    }
}

#[tokio::test(start_paused = true)]
async fn progress_has_defaults_and_whole_numbers_may_have_a_fraction() {
    let server = Server::start().await;
    let check = async |arguments: Value, seconds: u64, steps: usize| {
        let (started, before) = (Instant::now(), server.events().await.len());
        server.call("simulate_progress", arguments).await;
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(seconds));
        assert!(took < Duration::from_secs(seconds + 1), "{took:?}");
        assert_eq!(server.events().await.len() - before, steps);
    };
    check(json!({"task_name": "t"}), 10, 5).await;
    check(
        json!({"task_name": "t", "duration_seconds": 2.0, "step_count": 3.0}),
        2,
        3,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_on_when_its_caller_hangs_up() {
    let server = Server::start().await;
    let arguments = json!({"task_name": "t", "duration_seconds": 10, "step_count": 4});
    let call = server.call("simulate_progress", arguments);
    let hung_up = tokio::time::timeout(Duration::from_secs(3), call).await;
    assert!(hung_up.is_err());
    assert_eq!(server.hub.events_published(), 1);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(server.hub.events_published(), 4);
    assert_eq!(server.events().await[3]["state"], "completed");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_publish_ends_and_says_why() {
    let server = Server::start().await;
    let arguments = json!({"task_name": "t", "duration_seconds": 10, "step_count": 10});
    let call = server.call("simulate_progress", arguments);
    let fail = async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        server.hub.close_log().await.unwrap();
    };
    let (result, ()) = tokio::join!(call, fail);
    assert_eq!(result["isError"], true);
    assert_eq!(result.get("structuredContent"), None);
    assert_eq!(
        text(&result),
        "the task failed after step 2 of 10: the log is closed"
    );
    assert_eq!(server.hub.events_published(), 2);

    let result = server
        .call("send_notification", json!({"message": "m"}))
        .await;
    assert_eq!(result["isError"], true);
    assert_eq!(text(&result), "nothing was published: the log is closed");
}

#[tokio::test]
async fn the_status_is_true() {
    let server = Server::start().await;
    let stream = server.hub.subscribe(Subscribe::default()).await.unwrap();
    server
        .call("send_notification", json!({"message": "m"}))
        .await;
    let status = server.call("connection_status", json!({})).await["structuredContent"].clone();
    assert_eq!(status["sse_enabled"], true);
    assert_eq!(status["active_connections"], 1);
    assert_eq!(status["endpoint"], "http://127.0.0.1:8005/mcp");
    assert_eq!(status["stream_endpoint"], "http://127.0.0.1:8005/v1/stream");
    assert!(status["uptime_seconds"].is_u64());
    assert_eq!(status["events_published"], 1);
    let usage = status["usage"].as_str().unwrap();
    for word in [
        "curl",
        "EventSource",
        "Last-Event-ID",
        "http://127.0.0.1:8005/mcp",
    ] {
        assert!(usage.contains(word), "{usage}");
    }

    drop(stream);
    let status = server.call("connection_status", json!({})).await;
    assert_eq!(status["structuredContent"]["active_connections"], 0);
}

#[tokio::test]
async fn the_bounds_and_defaults_are_the_promised_ones() {
    let tools = Server::start().await.tools().await;
    let check = |tool: usize, field: &str, expected: Value| {
        let mut schema = tools[tool]["inputSchema"]["properties"][field].clone();
        schema.as_object_mut().unwrap().remove("description");
        assert_eq!(schema, expected, "{field}");
    };
    check(
        0,
        "task_name",
        json!({"type": "string", "minLength": 1, "maxLength": 256}),
    );
    check(
        0,
        "duration_seconds",
        json!({"type": "number", "minimum": 1, "maximum": 60, "default": 10}),
    );
    check(
        0,
        "step_count",
        json!({"type": "integer", "minimum": 1, "maximum": 20, "default": 5}),
    );
    check(
        1,
        "message",
        json!({"type": "string", "minLength": 1, "maxLength": 4096}),
    );
    let types = ["info", "warning", "error", "success"];
    check(
        1,
        "type",
        json!({"type": "string", "enum": types, "default": "info"}),
    );
    check(1, "data", json!({"type": "object"}));
}

#[tokio::test]
async fn an_event_is_published_as_it_was_described() {
    let server = Server::start().await;
    let arguments = json!({
        "name": "incident.created", "topic": "ops/incidents", "data": {"z": 1, "a": 2},
        "title": "Down", "tags": ["db"], "priority": 5, "collapse_key": "db",
        "event_id": "mine", "require_ack": true, "expires_in": 60, "clients": ["alice"],
    });
    let published = server.ask("publish_event", arguments.clone()).await;
    assert_eq!(published["event_id"], "mine");
    assert_eq!(published["duplicate"], false);
    let request = PageRequest {
        filter: Filter::default(),
        client: Some("alice".parse().unwrap()),
        start: Start::Beginning,
        limit: 10,
    };
    let page = server.hub.page(request).await.unwrap();
    let event: Value = serde_json::from_slice(page.frames[0].json()).unwrap();
    for field in [
        "name",
        "topic",
        "data",
        "title",
        "tags",
        "priority",
        "event_id",
        "require_ack",
        "collapse_key",
    ] {
        assert_eq!(event[field].to_string(), arguments[field].to_string());
    }
    assert_eq!(event["type"], "event");
    assert!(event["expires_at"].is_string(), "{event}");

    let again = server.ask("publish_event", arguments).await;
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["cursor"], published["cursor"]);
    let other = json!({"name": "other", "event_id": "mine"});
    let conflict = server.refusal("publish_event", other).await;
    assert!(conflict.contains("event_id"), "{conflict}");
    let both = json!({"name": "n", "expires_in": 1, "expires_at": "2099-01-01T00:00:00Z"});
    let both = server.refusal("publish_event", both).await;
    assert!(both.starts_with("nothing was done: expires_in"), "{both}");
    assert_eq!(server.hub.events_published(), 1);
}

#[tokio::test]
async fn events_are_read_from_the_newest_or_from_a_place() {
    let server = Server::start().await;
    let recent = async |arguments: Value| {
        let answer = server.ask("get_recent_events", arguments).await;
        let events = answer["events"].as_array().unwrap();
        let names: Vec<_> = events.iter().map(|e| e["name"].as_str().unwrap()).collect();
        let names = names.join(" ");
        (names, answer["more"] == true, answer["cursor"].clone())
    };
    let (names, more, beginning) = recent(json!({})).await;
    assert_eq!((&*names, more), ("", false));
    for (name, topic) in [("a", "x"), ("b", "x/y"), ("c", "x"), ("d", "z")] {
        let event = json!({"name": name, "topic": topic});
        server.ask("publish_event", event).await;
    }
    let hidden = json!({"name": "hidden", "clients": ["alice"]});
    server.ask("publish_event", hidden).await;

    let (names, more, newest) = recent(json!({"limit": 2})).await;
    assert_eq!((&*names, more), ("c d", false));
    let (names, more, _) = recent(json!({"topic": "x/**", "limit": 2})).await;
    assert_eq!((&*names, more), ("b c", false));
    let first = json!({"since": beginning, "limit": 3});
    let (names, more, cursor) = recent(first).await;
    assert_eq!((&*names, more), ("a b c", true));
    let (names, more, end) = recent(json!({"since": cursor})).await;
    assert_eq!((&*names, more), ("d", false));
    assert_eq!(end, newest);
    assert_eq!(recent(json!({"since": "1h"})).await.0, "a b c d");
    assert_eq!(recent(json!({"since": end})).await.0, "");
    let refusal = server.refusal("get_recent_events", json!({"since": "yesterday"}));
    let refusal = refusal.await;
    assert!(
        refusal.starts_with("nothing was done: since: expected a cursor"),
        "{refusal}"
    );
}
