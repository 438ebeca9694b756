//! MCP's extension for tasks: a call that takes long is answered with a handle.

mod common;
#[path = "common/modern.rs"]
mod modern;
#[path = "common/secured.rs"]
mod secured;

use common::server;
use modern::Modern;
use notification_testkit::{EventStream, Response, ServerProcess, eventually, signal};
use secured::{Credential, Secured};
use serde_json::{Value, json};

fn simulate(seconds: u64, steps: u64) -> Modern {
    let arguments = json!({"task_name": "T", "duration_seconds": seconds, "step_count": steps});
    Modern::call("simulate_progress", &arguments).with_tasks()
}

fn about(method: &str, id: &str) -> Modern {
    Modern::new(method, json!({"taskId": id})).with_tasks()
}

fn get(server: &ServerProcess, id: &str) -> Value {
    let answer = about("tasks/get", id).ask(server);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["result"].clone()
}

/// The result of a call that was answered with a handle.
fn handle(answer: &Response) -> Value {
    let result = answer.message()["result"].clone();
    assert_eq!(result["resultType"], "task", "{answer:?}");
    assert_eq!(result["status"], "working");
    result
}

fn id(task: &Value) -> String {
    task["taskId"].as_str().unwrap().to_owned()
}

fn wait_for(server: &ServerProcess, id: &str, status: &str) -> Value {
    eventually(status, || get(server, id)["status"] == status);
    get(server, id)
}

#[test]
fn a_task_is_asked_for_until_it_is_done() {
    let server = server(&[]);
    let started = handle(&simulate(1, 2).ask(&server));
    assert_eq!(started["statusMessage"], "Started, 2 steps to go");
    assert_eq!(started["ttlMs"], Value::Null);
    assert!(started["pollIntervalMs"].is_u64() && started["createdAt"].is_string());
    let id = id(&started);

    // It is one of the server's tasks.
    let ours = server.get(&format!("/v1/tasks/{id}")).json();
    assert_eq!(ours["task_name"], "T");
    let done = wait_for(&server, &id, "completed");
    assert_eq!(done["resultType"], "complete");
    assert!(done["ttlMs"].as_u64().unwrap() > 0);
    let expected =
        json!({"task_id": id, "task_name": "T", "total_steps": 2, "status": "completed"});
    assert_eq!(done["result"]["structuredContent"], expected);
    let text = done["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), expected);
    assert_eq!(
        server.get(&format!("/v1/tasks/{id}")).json()["state"],
        "completed"
    );

    // There is nothing to answer, and nothing to stop.
    for method in ["tasks/update", "tasks/cancel"] {
        let mut request = about(method, &id);
        request.body["params"]["inputResponses"] = json!({});
        let answer = request.ask(&server).json();
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    }
    assert_eq!(get(&server, &id)["status"], "completed");
}

#[test]
fn a_task_goes_on_when_its_caller_has_gone_and_ends_when_it_is_cancelled() {
    let server = server(&[]);
    let id = id(&handle(&simulate(60, 20).ask(&server)));
    let cancelled = about("tasks/cancel", &id).ask(&server).json();
    assert_eq!(cancelled["result"]["resultType"], "complete", "{cancelled}");
    let task = wait_for(&server, &id, "cancelled");
    assert_eq!(
        task["statusMessage"],
        "Cancelled after step 0 of 20: it was cancelled"
    );
    assert!(task["result"].is_null());
}

#[test]
fn only_who_takes_handles_gets_one() {
    let server = server(&[]);
    let arguments = json!({"task_name": "T", "duration_seconds": 1, "step_count": 1});
    let answer = Modern::call("simulate_progress", &arguments).ask(&server);
    let result = &answer.message()["result"];
    assert_eq!(
        result["structuredContent"]["status"], "completed",
        "{result}"
    );
    // What does not take long is answered as ever.
    let sent = Modern::call("send_notification", &json!({"message": "m"})).with_tasks();
    let sent = sent.ask(&server).message();
    assert_eq!(sent["result"]["isError"], false, "{sent}");
    // And so is what is wrong.
    let wrong = Modern::call("simulate_progress", &json!({})).with_tasks();
    assert_eq!(wrong.ask(&server).message()["result"]["isError"], true);

    let mut undeclared = about("tasks/get", "t");
    undeclared.body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let refused = undeclared.ask(&server).json();
    assert_eq!(refused["error"]["code"], -32021, "{refused}");
    let needed = &refused["error"]["data"]["requiredCapabilities"]["extensions"];
    assert_eq!(needed["io.modelcontextprotocol/tasks"], json!({}));
}

#[test]
fn tasks_that_are_not_there_or_not_ours_are_refused() {
    let server = server(&[]);
    let check = |method: &str, id: &str, says: &str| {
        let mut request = about(method, id);
        request.body["params"]["inputResponses"] = json!({});
        let answer = request.ask(&server).json();
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    };
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        check(method, "nobody", "no task nobody");
        check(method, "an id with spaces", "no task");
    }
    // One that a program of its own reports can be asked for, and not be stopped.
    let report = json!({"task_name": "T", "step": 1, "total_steps": 4});
    let headers = [("Content-Type", "application/json")];
    server.request("PUT", "/v1/tasks/other", &headers, &report.to_string());
    let task = get(&server, "other");
    assert_eq!(
        (&task["status"], &task["statusMessage"]),
        (&json!("working"), &json!("Completed step 1 of 4"))
    );
    check("tasks/cancel", "other", "only that can");
    server.request(
        "PUT",
        "/v1/tasks/other",
        &headers,
        r#"{"state": "failed", "message": "Oh"}"#,
    );
    let task = get(&server, "other");
    assert_eq!(
        (&task["status"], &task["error"]["message"]),
        (&json!("failed"), &json!("Oh"))
    );

    let mut mismatch = about("tasks/get", "other");
    mismatch.body["params"]["taskId"] = json!("another");
    let answer = mismatch.ask(&server);
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (400, &json!(-32020))
    );
}

#[test]
fn the_tasks_of_others_are_not_there() {
    let secured = Secured::start("");
    let as_whom = |name: &str, allow: &[&str], request: &Modern| {
        let Credential::Bearer(key) = secured.allowed(name, allow) else {
            unreachable!("keys are bearers");
        };
        let request = request.clone();
        let request = request.with_header("Authorization", &format!("Bearer {key}"));
        request.ask(&secured.server).message()
    };
    let begun = as_whom("owner", &["tasks:**"], &simulate(60, 20));
    let id = begun["result"]["taskId"]
        .as_str()
        .unwrap_or_else(|| panic!("{begun}"));
    for (name, allow, method, code) in [
        (
            "stranger",
            &["subscribe:other/**"][..],
            "tasks/get",
            Some(-32602),
        ),
        ("reader", &["subscribe:**"], "tasks/get", None),
        ("reader-2", &["subscribe:**"], "tasks/cancel", Some(-32602)),
        ("worker", &["tasks:**"], "tasks/cancel", None),
    ] {
        let answer = as_whom(name, allow, &about(method, id));
        assert_eq!(answer["error"]["code"].as_i64(), code, "{name} {answer}");
    }
}

#[test]
fn a_handle_outlives_the_server() {
    let mut server = server(&[]);
    let cut_off = id(&handle(&simulate(60, 20).ask(&server)));
    let done = id(&handle(&simulate(1, 1).ask(&server)));
    wait_for(&server, &done, "completed");
    signal(server.pid(), libc::SIGKILL);
    server.wait();
    server.restart();
    let task = get(&server, &cut_off);
    assert_eq!(task["status"], "failed", "{task}");
    let why = "Failed: the server was interrupted while it ran";
    assert_eq!(
        (&task["error"]["message"], &task["statusMessage"]),
        (&json!(why), &json!(why))
    );
    assert_eq!(get(&server, &done)["status"], "completed");
    // Those who watch events were told, too.
    let events = server.get("/v1/events?since=all&limit=100").json();
    let last = events["events"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["task_id"], &last["state"]),
        (&json!(cut_off), &json!("failed"))
    );

    // When it stops in good order, its tasks say so.
    let stopped = id(&handle(&simulate(60, 20).ask(&server)));
    let (status, _) = server.stop();
    assert!(status.success());
    server.restart();
    let task = get(&server, &stopped);
    let why = "Cancelled after step 0 of 20: the server is shutting down";
    assert_eq!(
        (&task["status"], &task["statusMessage"]),
        (&json!("cancelled"), &json!(why))
    );
    assert_eq!(get(&server, &cut_off)["status"], "failed");
}

#[test]
fn a_listening_client_is_told_how_tasks_are() {
    let server = server(&[]);
    let id = id(&handle(&simulate(2, 2).ask(&server)));
    let wanted = json!({"notifications": {"taskIds": [id, "nobody"]}});
    let listen = Modern::new("subscriptions/listen", wanted);
    let refused = listen.ask(&server);
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (400, &json!(-32021))
    );

    let mut stream = EventStream::answered_on(listen.with_tasks().send(&server));
    let first = stream.next().unwrap().data;
    assert_eq!(first["params"]["notifications"], json!({"taskIds": [id]}));
    loop {
        let told = stream.next().unwrap().data;
        assert_eq!(told["method"], "notifications/tasks", "{told}");
        let task = &told["params"];
        assert_eq!(task["taskId"], id);
        assert_eq!(task["_meta"]["io.modelcontextprotocol/subscriptionId"], 7);
        if task["status"] == "completed" {
            assert_eq!(task["result"]["structuredContent"]["status"], "completed");
            break;
        }
        assert_eq!(task["status"], "working");
    }
}

#[test]
fn one_principal_does_not_run_all_tasks() {
    let secured = Secured::start("");
    let as_whom = |name: &str| {
        let Credential::Bearer(key) = secured.allowed(name, &["tasks:**"]) else {
            unreachable!("keys are bearers");
        };
        simulate(60, 1).with_header("Authorization", &format!("Bearer {key}"))
    };
    let (busy, other) = (as_whom("busy"), as_whom("other"));
    for _ in 0..1_000 {
        handle(&busy.ask(&secured.server));
    }
    let refused = busy.ask(&secured.server).message();
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(
        text,
        "nothing was published: the limit principal.own_tasks is reached"
    );
    handle(&other.ask(&secured.server));
}
