//! The floors of the house: a crate uses only crates on lower floors, and each
//! outside world has one home. ARCHITECTURE.md draws the same picture.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Which floor each crate is on.
const FLOORS: [(&str, u8); 12] = [
    ("notification-event", 0),
    ("notification-dashboard", 0),
    // Knows the wire, and nothing of the server.
    ("notification-client", 0),
    ("notification-access", 1),
    ("notification-log", 1),
    ("notification-hub", 2),
    ("notification-webhook", 3),
    ("notification-http", 4),
    ("notification-mcp", 4),
    ("notification-server", 5),
    // Stands outside and talks to the server over sockets.
    ("notification-testkit", 0),
    // Stands outside, too, though the command line can start it.
    ("notification-loadgen", 0),
];

/// Which crates alone may use an outside crate.
const HOMES: [(&str, &[&str]); 15] = [
    ("axum", &["notification-http"]),
    // The server is a client, too: of whoever publishes the keys of tokens.
    // Webhooks are a client of their receivers.
    (
        "hyper",
        &[
            "notification-client",
            "notification-http",
            "notification-server",
            "notification-webhook",
        ],
    ),
    (
        "hyper-util",
        &[
            "notification-client",
            "notification-http",
            "notification-server",
            "notification-webhook",
        ],
    ),
    (
        "hyper-rustls",
        &[
            "notification-client",
            "notification-server",
            "notification-webhook",
        ],
    ),
    ("httparse", &["notification-http"]),
    (
        "rustls",
        &[
            "notification-client",
            "notification-http",
            "notification-server",
            "notification-testkit",
            "notification-webhook",
        ],
    ),
    ("tokio-rustls", &["notification-http"]),
    ("rcgen", &["notification-http"]),
    ("rmcp", &["notification-mcp"]),
    ("jsonschema", &["notification-hub", "notification-mcp"]),
    ("rusqlite", &["notification-log"]),
    (
        "jsonwebtoken",
        &["notification-access", "notification-bench"],
    ),
    (
        "aws-lc-rs",
        &[
            "notification-access",
            "notification-http",
            "notification-webhook",
        ],
    ),
    ("clap", &["notification-server", "notification-bench"]),
    ("anyhow", &["notification-server", "notification-bench"]),
];

/// What is beside the house, and may use any of it.
const BESIDE: [&str; 2] = ["notification-bench", "notification-examples"];

/// Each crate of the workspace with the crates that it is built from; not those of its tests.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--locked",
            "--offline",
        ])
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    packages
        .map(|package| {
            let all = package["dependencies"].as_array().unwrap().iter();
            let used = all.filter(|dependency| dependency["kind"].is_null());
            (
                text(&package["name"]),
                used.map(|d| text(&d["name"])).collect(),
            )
        })
        .collect()
}

#[test]
fn every_crate_uses_only_lower_floors() {
    let floors = BTreeMap::from(FLOORS);
    for (name, used) in dependencies() {
        if BESIDE.contains(&name.as_str()) {
            continue;
        }
        let floor = floors
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} has no floor"));
        for used in used.iter().filter(|used| used.starts_with("notification-")) {
            let below = floors
                .get(used.as_str())
                .unwrap_or_else(|| panic!("{used} has no floor"));
            assert!(
                below < floor,
                "{name} (floor {floor}) uses {used} (floor {below})"
            );
        }
    }
}

#[test]
fn every_outside_world_has_one_home() {
    let homes = BTreeMap::from(HOMES);
    for (name, used) in dependencies() {
        for used in used {
            let allowed = homes.get(used.as_str());
            let at_home = allowed.is_none_or(|homes| homes.contains(&name.as_str()));
            assert!(at_home, "{name} uses {used}, whose home is {allowed:?}");
        }
    }
}

#[test]
fn the_crate_of_the_vocabulary_knows_no_tasks_files_or_sockets() {
    let used = &dependencies()["notification-event"];
    let does_io = ["tokio", "hyper", "rusqlite", "socket2", "tempfile"];
    assert!(
        !used.iter().any(|used| does_io.contains(&used.as_str())),
        "{used:?}"
    );
}
