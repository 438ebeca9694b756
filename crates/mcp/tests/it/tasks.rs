use notification_event::TaskId;
use serde_json::{Value, json};

use crate::harness::Server;

#[tokio::test]
async fn a_job_reports_from_its_beginning_to_its_end() {
    let server = Server::start().await;
    let _stream = server.stream_of("alice").await;
    let check = async |mut report: Value, event: Value| {
        report["task_id"] = json!("import-1");
        let answer = server.ask("report_progress", report).await;
        let newest = server.events().await.pop().unwrap();
        assert_eq!(answer["task_id"], "import-1");
        assert_eq!(answer["state"], event["state"]);
        assert_eq!(answer.get("progress"), event.get("progress"));
        assert_eq!(answer["subscribers"], 1);
        let events = server.hub.events_published();
        let cursor = answer["cursor"].as_str().unwrap();
        assert!(cursor.ends_with(&format!("-{events}")), "{cursor}");
        for (field, value) in event.as_object().unwrap() {
            assert_eq!(newest[field], *value, "{field}");
        }
        assert_eq!(newest["task_name"], "Import");
        assert_eq!(newest["topic"], "jobs/imports");
    };
    check(
        json!({"task_name": "Import", "topic": "jobs/imports"}),
        json!({"state": "running", "message": "Running"}),
    )
    .await;
    check(
        json!({"step": 1.0, "total_steps": 4.0}),
        json!({"state": "running", "progress": 25, "step": 1, "total_steps": 4,
               "message": "Completed step 1 of 4"}),
    )
    .await;
    check(
        json!({"message": "Reading the file"}),
        json!({"state": "running", "progress": 25, "step": 1, "message": "Reading the file"}),
    )
    .await;
    check(
        json!({"progress": 62.5}),
        json!({"state": "running", "progress": 62.5, "message": "62.5 %"}),
    )
    .await;
    check(
        json!({"step": 4}),
        json!({"state": "completed", "progress": 100, "step": 4}),
    )
    .await;
}

#[tokio::test]
async fn a_report_that_cannot_be_is_refused_with_the_reason() {
    let server = Server::start().await;
    let start = json!({"task_id": "t", "task_name": "T", "step": 2, "total_steps": 4,
                       "topic": "jobs", "clients": ["alice"]});
    server.ask("report_progress", start).await;
    let check = async |arguments: Value, says: &str| {
        let published = server.hub.events_published();
        let refusal = server.refusal("report_progress", arguments).await;
        assert_eq!(refusal, says);
        assert_eq!(server.hub.events_published(), published);
    };
    check(
        json!({"task_id": "new", "step": 1}),
        "nothing was published: task_name: expected this field, which is required in a task's \
         first report",
    )
    .await;
    check(
        json!({"task_id": "t", "step": 1, "progress": 75}),
        "nothing was published: step: expected at least 2, where the task is",
    )
    .await;
    check(
        json!({"task_id": "t", "topic": "other", "clients": ["bob"]}),
        "nothing was published: clients, groups: expected the audience of this task",
    )
    .await;
    check(
        json!({"task_id": "t", "topic": "other"}),
        "nothing was published: topic: expected jobs, the topic of this task",
    )
    .await;
    check(
        json!({"task_id": "t", "step": 5, "total_steps": 4}),
        "nothing was done: step: expected an integer of at most total_steps",
    )
    .await;
    check(
        json!({"task_id": "t", "step": 5}),
        "nothing was published: step: expected an integer of at most total_steps",
    )
    .await;
    server
        .ask(
            "report_progress",
            json!({"task_id": "t", "state": "failed"}),
        )
        .await;
    check(
        json!({"task_id": "t", "step": 3}),
        "nothing was published: task_id: expected the id of another task: this one has ended \
         (failed)",
    )
    .await;
}

#[tokio::test]
async fn how_a_task_stands_is_told_to_those_who_may_see_it() {
    let server = Server::start().await;
    let check = async |audience: Value, is_told: bool| {
        let mut report = audience;
        report["task_id"] = json!(TaskId::generate());
        report["task_name"] = json!("T");
        report["progress"] = json!(5);
        let answer = server.ask("report_progress", report).await;
        assert_eq!(answer.get("state").is_some(), is_told, "{answer}");
        assert_eq!(answer.get("progress").is_some(), is_told, "{answer}");
    };
    check(json!({}), true).await;
    check(json!({"clients": ["alice"], "groups": ["ops"]}), true).await;
    check(json!({"groups": ["ops"]}), false).await;
}

#[tokio::test]
async fn wrong_arguments_of_a_report_are_named() {
    let server = Server::start().await;
    let check = async |field: &str, value: Value, expected: &str| {
        let mut arguments = json!({"task_id": "t", "task_name": "T"});
        arguments[field] = value;
        let refusal = server.refusal("report_progress", arguments).await;
        assert_eq!(
            refusal,
            format!("nothing was done: {field}: expected {expected}")
        );
        assert_eq!(server.hub.events_published(), 0);
    };
    let name = "a string of 1 to 128 of the characters A-Z a-z 0-9 . _ : ~ -, not only dots";
    let states = "one of running, completed, failed, cancelled";
    check("task_id", json!(7), &format!("{name}, got 7")).await;
    check(
        "task_name",
        json!(""),
        "a string of 1 to 256 characters, got \"\"",
    )
    .await;
    check(
        "progress",
        json!(100.5),
        "a number from 0 to 100, got 100.5",
    )
    .await;
    check(
        "progress",
        json!("50%"),
        "a number from 0 to 100, got \"50%\"",
    )
    .await;
    check("step", json!(-1), "an integer from 0 to 1000000000, got -1").await;
    check(
        "step",
        json!(0.5),
        "an integer from 0 to 1000000000, got 0.5",
    )
    .await;
    check(
        "total_steps",
        json!(0),
        "an integer from 1 to 1000000000, got 0",
    )
    .await;
    check(
        "message",
        json!(null),
        "a string of 1 to 4096 characters, got null",
    )
    .await;
    check(
        "state",
        json!("stalled"),
        &format!("{states}, got \"stalled\""),
    )
    .await;
    check(
        "clients",
        json!("alice"),
        &format!("an array of 1 to 1000, each {name}, got \"alice\""),
    )
    .await;
    check(
        "groups",
        json!([]),
        &format!("an array of 1 to 1000, each {name}, got an array of 0"),
    )
    .await;
    let topic =
        "a string of 1 to 8 segments of A-Z a-z 0-9 . _ - separated by /, at most 255 bytes";
    check(
        "topic",
        json!("jobs/*"),
        &format!("{topic}, got \"jobs/*\""),
    )
    .await;
    let refusal = server
        .refusal("report_progress", json!({"task_name": "T"}))
        .await;
    assert_eq!(
        refusal,
        format!("nothing was done: task_id: expected {name}, which is required")
    );
}

#[tokio::test]
async fn tasks_are_listed_by_what_is_asked_for() {
    let server = Server::start().await;
    for task in [
        json!({"task_id": "a", "task_name": "A", "topic": "jobs/imports"}),
        json!({"task_id": "b", "task_name": "B", "topic": "jobs/exports", "state": "failed"}),
        json!({"task_id": "c", "task_name": "C", "progress": 100}),
        json!({"task_id": "d", "task_name": "D", "topic": "jobs/imports", "clients": ["alice"]}),
        json!({"task_id": "a", "step": 1, "total_steps": 2}),
    ] {
        server.ask("report_progress", task).await;
    }
    let check = async |arguments: Value, expected: &[&str], more: bool| {
        let answer = server.ask("list_tasks", arguments.clone()).await;
        let tasks = answer["tasks"].as_array().unwrap().iter();
        let ids: Vec<_> = tasks
            .map(|task| task["task_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, expected, "{arguments}");
        assert_eq!(answer["more"], more, "{arguments}");
    };
    check(json!({}), &["a", "c", "b"], false).await;
    check(json!({"client_id": "alice"}), &["a", "d", "c", "b"], false).await;
    check(json!({"client_id": "bob"}), &["a", "c", "b"], false).await;
    check(json!({"topic": "jobs/*"}), &["a", "b"], false).await;
    check(
        json!({"topic": "jobs/imports", "client_id": "alice"}),
        &["a", "d"],
        false,
    )
    .await;
    check(json!({"topic": "**", "state": "running"}), &["a"], false).await;
    check(json!({"state": "completed"}), &["c"], false).await;
    check(json!({"state": "stalled"}), &[], false).await;
    check(json!({"limit": 2}), &["a", "c"], true).await;
    check(json!({"limit": 3.0}), &["a", "c", "b"], false).await;
}

#[tokio::test]
async fn a_list_is_short_unless_more_is_asked_for() {
    let server = Server::start().await;
    for n in 0..51 {
        let task = json!({"task_id": format!("t{n}"), "task_name": "T"});
        server.ask("report_progress", task).await;
    }
    let listed = async |arguments: Value| {
        let answer = server.ask("list_tasks", arguments).await;
        (
            answer["tasks"].as_array().unwrap().len(),
            answer["more"] == true,
        )
    };
    assert_eq!(listed(json!({})).await, (50, true));
    assert_eq!(listed(json!({"limit": 51})).await, (51, false));
}

#[tokio::test]
async fn wrong_arguments_of_a_list_are_named() {
    let server = Server::start().await;
    let check = async |arguments: Value, says: &str| {
        let refusal = server.refusal("list_tasks", arguments).await;
        assert_eq!(refusal, format!("nothing was done: {says}"));
    };
    check(
        json!({"topic": "**/a"}),
        "topic: expected a topic in which * stands for one segment and a final ** for any rest, \
         got \"**/a\"",
    )
    .await;
    check(
        json!({"state": "ended"}),
        "state: expected one of running, stalled, completed, failed, cancelled, got \"ended\"",
    )
    .await;
    check(
        json!({"client_id": "a b"}),
        "client_id: expected a string of 1 to 128 of the characters A-Z a-z 0-9 . _ : ~ -, not only dots, \
         got \"a b\"",
    )
    .await;
    check(
        json!({"limit": 501}),
        "limit: expected an integer from 1 to 500, got 501",
    )
    .await;
    check(
        json!({"status": "running"}),
        "status: expected no such argument; known are topic, state, client_id, limit",
    )
    .await;
}

#[tokio::test]
async fn a_task_is_told_by_its_id_to_those_it_is_for() {
    let server = Server::start().await;
    let report = json!({"task_id": "t", "task_name": "T", "step": 1, "total_steps": 3,
                        "topic": "jobs", "clients": ["alice"]});
    let reported = server.ask("report_progress", report).await;
    assert_eq!(
        (&reported["state"], &reported["progress"]),
        (&json!("running"), &json!(33.33))
    );
    let task = server
        .ask("get_task", json!({"task_id": "t", "client_id": "alice"}))
        .await;
    let (started, event) = (&task["started_at"], &task["event_id"]);
    assert_eq!(
        task,
        json!({"task_id": "t", "task_name": "T", "state": "running", "progress": 33.33,
               "step": 1, "total_steps": 3, "message": "Completed step 1 of 3", "topic": "jobs",
               "started_at": started, "updated_at": started, "cursor": reported["cursor"],
               "event_id": event})
    );
    for arguments in [
        json!({"task_id": "t"}),
        json!({"task_id": "t", "client_id": "bob"}),
    ] {
        let refusal = server.refusal("get_task", arguments).await;
        assert!(refusal.starts_with("no task t is known: "), "{refusal}");
    }
    let refusal = server.refusal("get_task", json!({"task_id": "nope"})).await;
    assert!(refusal.starts_with("no task nope is known: "), "{refusal}");
    let refusal = server
        .refusal("get_task", json!({"task_id": "", "client_id": 5}))
        .await;
    let name = "a string of 1 to 128 of the characters A-Z a-z 0-9 . _ : ~ -, not only dots";
    assert_eq!(
        refusal,
        format!(
            "nothing was done: task_id: expected {name}, got \"\"; client_id: expected {name}, got 5"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_simulated_task_is_a_task_like_others() {
    let server = Server::start().await;
    let simulated = server
        .ask(
            "simulate_progress",
            json!({"task_name": "t", "step_count": 3}),
        )
        .await;
    let task = server
        .ask("get_task", json!({"task_id": simulated["task_id"]}))
        .await;
    assert_eq!(
        (&task["state"], &task["step"]),
        (&json!("completed"), &json!(3))
    );
}
