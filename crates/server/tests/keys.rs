//! The command `key`, on a data directory and on a server that runs.

#[path = "common/mod.rs"]
mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::BINARY;
use notification_testkit::{ServerProcess, request};
use serde_json::{Value, json};

/// Runs the command with these arguments, and with a key in the environment.
fn key(arguments: &[&str], admin: Option<&str>) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("key").args(arguments);
    command.env_remove("NOTIFICATION_URL");
    match admin {
        Some(admin) => command.env("NOTIFICATION_KEY", admin),
        None => command.env_remove("NOTIFICATION_KEY"),
    };
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command says that does not do it: one line.
fn refused(output: &Output) -> String {
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.trim().to_owned()
}

fn status(server: &ServerProcess, key: &str) -> u16 {
    let headers = [("Authorization", format!("Bearer {key}"))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    request(server.address(), "GET", "/v1/events", &headers, "").status
}

fn create(dir: &Path, more: &[&str]) -> Value {
    let dir = dir.to_str().unwrap();
    let arguments = [&["create", "--json", "--data-dir", dir][..], more].concat();
    serde_json::from_str(&said(&key(&arguments, None))).unwrap()
}

#[test]
fn the_first_key_is_created_before_the_server_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let admin = create(dir.path(), &["--name", "admin", "--allow", "admin"]);
    let wanted = [
        "--name",
        "ci",
        "--allow",
        "publish:ops/**",
        "--allow",
        "subscribe:ops/**",
        "--client-id",
        "robot",
        "--groups",
        "a,b",
        "--events-per-hour",
        "7",
        "--expires",
        "90d",
    ];
    let ci = create(dir.path(), &wanted);
    assert_eq!(ci["allow"], json!(["publish:ops/**", "subscribe:ops/**"]));
    assert_eq!(
        (&ci["groups"], &ci["events_per_hour"]),
        (&json!(["a", "b"]), &json!(7))
    );
    assert!(ci["expires_at"].is_string());
    let shown = said(&key(
        &[
            "create",
            "--data-dir",
            path,
            "--name",
            "x",
            "--allow",
            "webhooks",
        ],
        None,
    ));
    assert!(
        shown.contains("shown this once") && shown.contains("ntf_"),
        "{shown}"
    );
    let listed = said(&key(&["list", "--data-dir", path], None));
    assert!(
        listed.contains("ci") && listed.contains("publish:ops/** subscribe:ops/**"),
        "{listed}"
    );
    assert!(!listed.contains("ntf_"), "{listed}");

    let mut server = ServerProcess::start_in(BINARY, dir.path(), &[]);
    let admin = admin["key"].as_str().unwrap();
    assert_eq!(server.get("/v1/events").status, 401);
    assert_eq!(status(&server, admin), 200);
    assert_eq!(status(&server, ci["key"].as_str().unwrap()), 200);

    // Now it is the server's.
    let locked = refused(&key(&["list", "--data-dir", path], None));
    assert!(
        locked.contains("--server") && locked.contains("--key-file"),
        "{locked}"
    );
    let url = server.url("");
    let listed: Value = serde_json::from_str(&said(&key(
        &["list", "--json", "--server", &url],
        Some(admin),
    )))
    .unwrap();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 3);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, format!("{admin}\n").as_bytes()).unwrap();
    let file = file.path().to_str().unwrap();
    let on = ["--server", &url, "--key-file", file];
    let new = [
        &[
            "create",
            "--json",
            "--name",
            "new",
            "--allow",
            "subscribe:**",
        ][..],
        &on,
    ]
    .concat();
    let new: Value = serde_json::from_str(&said(&key(&new, None))).unwrap();
    assert_eq!(status(&server, new["key"].as_str().unwrap()), 200);
    let id = new["id"].as_str().unwrap();
    said(&key(&[&["revoke", id][..], &on].concat(), None));
    assert_eq!(status(&server, new["key"].as_str().unwrap()), 401);
    let again = refused(&key(&[&["revoke", id][..], &on].concat(), None));
    assert!(again.contains("404"), "{again}");
    let nobody = refused(&key(&["list", "--server", &url], None));
    assert!(nobody.contains("401"), "{nobody}");

    server.stop();
    said(&key(
        &["revoke", "--data-dir", path, ci["id"].as_str().unwrap()],
        None,
    ));
    server.restart();
    assert_eq!(status(&server, ci["key"].as_str().unwrap()), 401);
    assert_eq!(status(&server, admin), 200);
}

#[test]
fn a_wrong_wish_is_refused_by_its_flag_and_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let refuse = |more: &[&str], parts: &[&str]| {
        let arguments = [&["create", "--data-dir", path][..], more].concat();
        let said = refused(&key(&arguments, None));
        for part in parts {
            assert!(said.contains(part), "{said:?} does not say {part:?}");
        }
    };
    refuse(
        &["--name", "a b", "--allow", "admin"],
        &["--name: expected"],
    );
    refuse(
        &["--name", "a", "--allow", "fly:**"],
        &["--allow: expected", "publish:PATTERN"],
    );
    refuse(&["--name", "a"], &["--allow"]);
    refuse(
        &["--name", "a", "--allow", "admin", "--groups", "g"],
        &["--client-id"],
    );
    refuse(
        &["--name", "a", "--allow", "admin", "--expires", "soon"],
        &["--expires: expected", "90d"],
    );
    refuse(
        &[
            "--name",
            "a",
            "--allow",
            "admin",
            "--expires",
            "2001-01-01T00:00:00Z",
        ],
        &["after now"],
    );
    let listed = said(&key(&["list", "--data-dir", path], None));
    assert!(listed.contains("There are no keys"), "{listed}");
    create(dir.path(), &["--name", "a", "--allow", "admin"]);
    refuse(&["--name", "a", "--allow", "admin"], &["a key a already"]);
    let memory = refused(&key(
        &[
            "create",
            "--data-dir",
            ":memory:",
            "--name",
            "a",
            "--allow",
            "admin",
        ],
        None,
    ));
    assert!(memory.contains("keeps no keys"), "{memory}");
    let nowhere = key(&["list", "--server", "http://127.0.0.1:1"], Some("x"));
    assert!(refused(&nowhere).contains("does not answer"), "{nowhere:?}");
    let both = key(
        &["list", "--server", "http://127.0.0.1:1", "--data-dir", path],
        None,
    );
    assert!(!both.status.success());
}
