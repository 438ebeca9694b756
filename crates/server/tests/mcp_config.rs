//! The command `mcp-config`, and the README, which shows what it prints.

#[path = "common/mod.rs"]
mod common;
#[path = "common/process.rs"]
mod process;
#[path = "common/secured.rs"]
mod secured;

use std::path::Path;
use std::process::{Command, Output};

use common::{BINARY, server};
use process::Process;
use secured::{Credential, Secured};
use serde_json::{Value, json};

const README: &str = include_str!("../../../README.md");

/// Where the README has the binary.
const INSTALLED: &str = "/usr/local/bin/notification-server";

const CLIENTS: [&str; 4] = ["claude-code", "claude-desktop", "vscode", "cursor"];

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("mcp-config").args(arguments);
    let command = command.env_remove("NOTIFICATION_URL");
    command.env("NOTIFICATION_KEY", "s3cret").output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    let hint = String::from_utf8(output.stderr).unwrap();
    assert!(
        hint.starts_with("This is ") || hint.starts_with("Run this"),
        "{hint}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        !(text.contains("s3cret") || hint.contains("s3cret")),
        "{text}{hint}"
    );
    text
}

fn config(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments)).unwrap()
}

#[test]
fn each_client_is_told_the_url_in_its_own_way() {
    let check = |client: &str, pointer: &str| {
        for (given, url) in [
            ("http://127.0.0.1:8005", "http://127.0.0.1:8005/mcp"),
            (
                "https://events.example.com/mcp",
                "https://events.example.com/mcp",
            ),
        ] {
            let config = config(&[client, "--url", given]);
            assert_eq!(config.pointer(pointer), Some(&json!(url)), "{config}");
        }
    };
    check("claude-code", "/mcpServers/notifications/url");
    check("claude-desktop", "/mcpServers/notifications/args/2");
    check("vscode", "/servers/notifications/url");
    check("cursor", "/mcpServers/notifications/url");
    for client in ["claude-code", "vscode"] {
        let config = config(&[client]);
        assert!(config.to_string().contains(r#""type":"http""#), "{config}");
    }
    let command = printed(&["inspector", "--url", "http://localhost/mcp?topic=a"]);
    let expected = "--transport http --server-url 'http://localhost/mcp?topic=a'\n";
    assert!(
        command.starts_with("npx ") && command.ends_with(expected),
        "{command}"
    );
}

#[test]
fn a_key_is_taken_from_where_each_client_keeps_it() {
    let header = |config: &Value, servers: &str| {
        let header = &config[servers]["notifications"]["headers"]["Authorization"];
        header.as_str().unwrap().to_owned()
    };
    let code = config(&["claude-code", "--with-key"]);
    assert_eq!(header(&code, "mcpServers"), "Bearer ${NOTIFICATION_KEY}");
    let cursor = config(&["cursor", "--with-key"]);
    assert_eq!(
        header(&cursor, "mcpServers"),
        "Bearer ${env:NOTIFICATION_KEY}"
    );
    let vscode = config(&["vscode", "--with-key"]);
    assert_eq!(
        header(&vscode, "servers"),
        "Bearer ${input:notification-key}"
    );
    assert_eq!(vscode["inputs"][0]["id"], "notification-key");
    assert_eq!(vscode["inputs"][0]["password"], true);
    let desktop = config(&["claude-desktop", "--with-key"]);
    assert_eq!(
        desktop["mcpServers"]["notifications"]["args"][3],
        "--key-file"
    );
    let inspector = printed(&["inspector", "--with-key"]);
    assert!(
        inspector.contains("\"Authorization: Bearer $NOTIFICATION_KEY\""),
        "{inspector}"
    );
}

#[test]
fn what_claude_desktop_is_told_to_start_does_start() {
    let server = server(&[]);
    let config = config(&["claude-desktop", "--url", &server.url("/mcp")]);
    let mut client = start(&config["mcpServers"]["notifications"]);
    client.initialize("2025-11-25");
    let listed = client.request(1, "tools/list", json!({}));
    assert!(listed["result"]["tools"].is_array(), "{listed}");
    client.finish();
}

#[test]
fn claude_desktop_presents_the_key_that_is_put_where_it_is_told() {
    let secured = Secured::start("");
    let Credential::Bearer(key) = secured.allowed("desktop", &["publish:**"]) else {
        unreachable!()
    };
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.args(["mcp-config", "claude-desktop", "--with-key", "--url"]);
    command.arg(secured.server.url(""));
    command.env("HOME", home.path());
    command.env_remove("XDG_CONFIG_HOME");
    let output = command.output().unwrap();
    let config: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = &config["mcpServers"]["notifications"];
    let file = told["args"][4].as_str().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains(file));
    std::fs::create_dir_all(Path::new(file).parent().unwrap()).unwrap();
    std::fs::write(file, key).unwrap();
    let mut client = start(told);
    let sent = client.call(1, "send_notification", json!({"message": "hello"}));
    assert!(sent["notification_id"].is_string(), "{sent}");
    client.finish();
}

/// Starts what a client is told to.
fn start(told: &Value) -> Process {
    let mut command = Command::new(told["command"].as_str().unwrap());
    let arguments = told["args"].as_array().unwrap().iter();
    command.args(arguments.map(|argument| argument.as_str().unwrap()));
    Process::spawn(&mut command, &[])
}

#[test]
fn what_makes_no_sense_is_refused() {
    let unknown = String::from_utf8(run(&["emacs"]).stderr).unwrap();
    for client in CLIENTS.iter().chain(&["inspector"]) {
        assert!(unknown.contains(client), "{unknown}");
    }
    let wrong = run(&["cursor", "--url", "http://u:p4ss@localhost"]);
    let refused = String::from_utf8(wrong.stderr).unwrap();
    assert!(
        refused.contains("--url") && !refused.contains("p4ss"),
        "{refused}"
    );
}

#[test]
fn the_readme_shows_what_is_printed() {
    let section = README.split("## Connect your client").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let binary = std::fs::canonicalize(BINARY).unwrap();
    for client in CLIENTS.iter().chain(&["inspector"]) {
        let printed = printed(&[client]).replace(binary.to_str().unwrap(), INSTALLED);
        assert!(
            section.contains(&printed),
            "the README has not what {client} needs:\n{printed}"
        );
    }
}
