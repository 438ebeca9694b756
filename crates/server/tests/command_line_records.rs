//! The commands that look at what a server knows: clients, groups, tasks, event
//! types; logging in; what is generated from the command line itself.

mod common;
#[path = "common/secured.rs"]
mod secured;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use common::{BINARY, server};
use notification_testkit::{EventStream, ServerProcess, eventually};
use secured::{Credential, Secured};
use serde_json::{Value, json};

fn command(server: &ServerProcess, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    command.args(["--server", &server.url("")]);
    command.env_remove("NOTIFICATION_KEY");
    command
}

/// What it prints where there is no terminal.
fn json_of(server: &ServerProcess, arguments: &[&str]) -> Value {
    let output = command(server, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What it prints on a terminal, and its status.
fn on_a_terminal(server: &ServerProcess, arguments: &str) -> (String, Option<i32>) {
    let line = format!("{BINARY} {arguments} --server {}", server.url(""));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env_remove("NOTIFICATION_KEY").env("TERM", "xterm");
    let output = script.stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    (shown.replace('\r', ""), output.status.code())
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    let is_one_line = said.trim_end().lines().count() == 1;
    assert!(said.starts_with("error: ") && is_one_line, "{said}");
    said
}

#[test]
fn clients_acknowledge_and_are_listed_and_forgotten() {
    let server = server(&[]);
    let path = "/v1/stream?client_id=alice&durable=true&ack=manual";
    let mut stream = EventStream::open(server.address(), path, &[]);
    let event = json!({"type": "notification", "message": "m", "require_ack": true});
    let published = server.post("/v1/events", &event).json();
    let id = published["event_id"].as_str().unwrap();
    stream.take(1);
    let shown = json_of(&server, &["clients", "show", "alice"]);
    assert_eq!(shown["unacknowledged"], 1);
    assert_eq!(json_of(&server, &["ack", "alice", id])["receipts"], 1);
    assert_eq!(json_of(&server, &["ack", "alice", id])["receipts"], 0);
    let cursor = published["cursor"].as_str().unwrap();
    json_of(&server, &["ack", "alice", "--cursor", cursor]);
    let listed = json_of(&server, &["clients", "list"]);
    assert_eq!(listed["clients"][0]["client_id"], "alice");
    let (table, _) = on_a_terminal(&server, "clients list");
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("CLIENT  ACK"), "{table}");
    assert!(
        lines.next().unwrap().starts_with("alice   manual"),
        "{table}"
    );
    assert_eq!(
        json_of(&server, &["clients", "forget", "alice"]),
        Value::Null
    );
    let (none, _) = on_a_terminal(&server, "clients list");
    assert_eq!(none, "There are no durable clients.\n");
    let gone = command(&server, &["ack", "alice", "nothing"]).output();
    assert!(refusal(&gone.unwrap()).contains("(422)"));
}

#[test]
fn groups_have_members() {
    let server = server(&[]);
    json_of(&server, &["groups", "add", "ops", "alice"]);
    json_of(&server, &["groups", "add", "ops", "bob"]);
    let listed = json_of(&server, &["groups", "list"]);
    assert_eq!(listed["groups"], json!([{"group": "ops", "clients": 2}]));
    let (shown, _) = on_a_terminal(&server, "groups show ops");
    assert_eq!(shown, "alice\nbob\n");
    json_of(&server, &["groups", "remove", "ops", "bob"]);
    let again = command(&server, &["groups", "remove", "ops", "bob"]).output();
    assert!(refusal(&again.unwrap()).contains("(404)"));
    let shown = json_of(&server, &["groups", "show", "ops"]);
    assert_eq!(shown["clients"], json!(["alice"]));
}

#[test]
fn event_types_are_declared_from_a_file() {
    let server = server(&[]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("incident.json");
    let file = file.to_str().unwrap();
    let schema = json!({"type": "object", "required": ["severity"]});
    let declared = json!({"description": "Something broke", "payload_schema": schema});
    std::fs::write(file, declared.to_string()).unwrap();
    let declare = ["event-types", "declare", "incident.created", file];
    assert_eq!(json_of(&server, &declare)["name"], "incident.created");
    let (table, _) = on_a_terminal(&server, "event-types list");
    assert!(table.contains("incident.created"), "{table}");
    let shown = json_of(&server, &["event-types", "show", "incident.created"]);
    assert_eq!(shown["description"], "Something broke");

    std::fs::write(file, r#"{"payload_schema": {"type": "string"}}"#).unwrap();
    let breaking = command(&server, &declare).output().unwrap();
    assert!(refusal(&breaking).contains("(409)"));
    json_of(
        &server,
        &[
            "event-types",
            "declare",
            "incident.created",
            file,
            "--breaking",
        ],
    );
    json_of(&server, &["event-types", "remove", "incident.created"]);
    std::fs::write(file, "{").unwrap();
    let wrong = command(&server, &declare).output().unwrap();
    assert!(refusal(&wrong).contains("expected a JSON object"));
}

#[test]
fn tasks_are_listed_watched_and_cancelled() {
    let server = server(&[]);
    let report = |task: &str, report: Value| {
        let path = format!("/v1/tasks/{task}");
        let json = [("Content-Type", "application/json")];
        let answer = server.request("PUT", &path, &json, &report.to_string());
        assert!(answer.status < 300, "{answer:?}");
    };
    report(
        "t1",
        json!({"task_name": "Import", "step": 1, "total_steps": 4, "topic": "jobs/a"}),
    );
    let listed = json_of(
        &server,
        &["tasks", "list", "--topic", "jobs/**", "--state", "running"],
    );
    assert_eq!(listed["tasks"][0]["task_id"], "t1");
    assert_eq!(json_of(&server, &["tasks", "show", "t1"])["step"], 1);
    let not_ours = command(&server, &["tasks", "cancel", "t1"]).output();
    assert!(refusal(&not_ours.unwrap()).contains("only that can end it"));

    let mut watching = command(&server, &["watch", "t1"]);
    let watching = watching.stdout(Stdio::piped()).spawn().unwrap();
    eventually("it watches", || {
        let connections = server.get("/v1/connections").json();
        !connections["connections"].as_array().unwrap().is_empty()
    });
    report("other", json!({"task_name": "Other", "topic": "jobs/a"}));
    report("t1", json!({"step": 3}));
    report("t1", json!({"state": "failed", "message": "no disk"}));
    let watched = watching.wait_with_output().unwrap();
    assert_eq!(watched.status.code(), Some(1));
    let lines = String::from_utf8(watched.stdout).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let steps: Vec<_> = lines.iter().map(|line| line["step"].as_u64()).collect();
    assert_eq!(steps, [Some(1), Some(3), Some(3)]);
    assert_eq!(lines[2]["message"], "no disk");

    report(
        "t2",
        json!({"task_name": "Build", "step": 2, "total_steps": 2}),
    );
    let (bars, status) = on_a_terminal(&server, "watch t2");
    assert_eq!(status, Some(0));
    assert!(bars.contains("Build") && bars.contains("2/2"), "{bars}");
    let unknown = command(&server, &["watch", "t3"]).output().unwrap();
    assert!(refusal(&unknown).contains("t3"));
}

#[test]
fn top_shows_what_goes_on() {
    let server = server(&[]);
    let _stream = EventStream::open(server.address(), "/v1/stream?client_id=alice", &[]);
    let seen = json_of(&server, &["top"]);
    assert_eq!(seen["connections"][0]["client_id"], "alice");
    let (page, status) = on_a_terminal(&server, "top --once");
    assert_eq!(status, Some(0));
    assert!(
        page.starts_with("streams 1 ") && page.contains("alice"),
        "{page}"
    );
}

#[test]
fn who_has_logged_in_need_not_say_it_again() {
    let secured = Secured::start("");
    let server = &secured.server;
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &str| {
        let mut command = Command::new(BINARY);
        command.args(arguments).env("HOME", home.path());
        for name in ["NOTIFICATION_KEY", "NOTIFICATION_URL", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that does not read it may have ended.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    };
    let key = secured.key(&json!({"name": "k", "allow": ["publish:**"]}));
    let (_, Credential::Bearer(key)) = key else {
        unreachable!("it is a key");
    };
    let wrong = run(&["login", &server.url("")], "wrong\n");
    assert!(refusal(&wrong).contains("(401)"));
    let logged_in = run(&["login", &server.url("")], &format!("{key}\n"));
    assert!(logged_in.status.success(), "{logged_in:?}");
    let said = String::from_utf8(logged_in.stdout).unwrap();
    assert!(
        !said.contains(&key) && said.contains("client.toml"),
        "{said}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = home.path().join(".config/notification-server/client.toml");
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let published = run(&["publish", "hello"], "");
    assert!(published.status.success(), "{published:?}");
    // The key is for that server, and for no other.
    let other = common::server(&[]);
    let elsewhere = run(&["publish", "hello", "--server", &other.url("")], "");
    assert!(elsewhere.status.success(), "{elsewhere:?}");
    assert!(run(&["logout"], "").status.success());
    assert!(refusal(&run(&["logout"], "")).contains("nobody is logged in"));
}

#[test]
fn shells_and_manuals_know_every_command() {
    let help = Command::new(BINARY).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().lines();
    let commands = commands.skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    let directory = tempfile::tempdir().unwrap();
    let man = Command::new(BINARY)
        .arg("man")
        .arg(directory.path())
        .status();
    assert!(man.unwrap().success());
    for name in &commands {
        let one = Command::new(BINARY)
            .args([name, "--help"])
            .output()
            .unwrap();
        assert!(one.status.success(), "{name}");
        let page = format!("notification-server-{name}.1");
        let page = std::fs::read_to_string(directory.path().join(&page)).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = Command::new(BINARY)
            .args(["completions", shell])
            .output()
            .unwrap();
        let script = String::from_utf8(script.stdout).unwrap();
        let missing = commands.iter().find(|name| !script.contains(**name));
        assert_eq!(missing, None, "{shell}");
    }
}
