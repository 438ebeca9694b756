//! Who is let in, with what, and until when: keys, tickets, sessions, and what
//! becomes of what was opened with them.

#[path = "common/mod.rs"]
mod common;
#[path = "common/secured.rs"]
mod secured;

use std::process::Command;
use std::time::SystemTime;

use common::{BINARY, notification, server};
#[cfg(target_os = "linux")]
use notification_testkit::limit_file_size;
use notification_testkit::{EventStream, eventually, request, signal};
use secured::{ADMIN, Credential, Secured};
use serde_json::{Value, json};

fn bearer(text: &str) -> Credential {
    Credential::Bearer(text.to_owned())
}

/// `seconds` from now, as RFC 3339.
fn from_now(seconds: u64) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let at = now.as_secs() + seconds;
    let date = Command::new("date")
        .args(["-u", "-d", &format!("@{at}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// Runs the server until it ends by itself: whether it did well, and what it said.
fn run(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(BINARY).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

#[test]
fn a_server_that_others_reach_does_not_start_without_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let (ok, said) = run(&["--bind", "0.0.0.0:0", "--data-dir", data_dir]);
    assert!(!ok);
    assert!(
        said.contains("key create") && said.contains("--insecure-no-auth"),
        "{said}"
    );
    let mut config = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut config, b"[auth]\nmode = \"required\"\n").unwrap();
    let config = config.path().to_str().unwrap();
    let (ok, said) = run(&[
        "--bind",
        "127.0.0.1:0",
        "--data-dir",
        data_dir,
        "--config",
        config,
    ]);
    assert!(!ok);
    assert!(said.contains("key create"), "{said}");
}

#[test]
fn on_a_laptop_it_is_open_and_a_wrong_credential_is_still_wrong() {
    let server = server(&[]);
    let whoami = server.get("/v1/session").json();
    assert_eq!(whoami, json!({"principal": "local", "allow": ["admin"]}));
    let headers = [("Authorization", "Bearer ntf_wrong")];
    let refused = request(server.address(), "GET", "/v1/events", &headers, "");
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
    assert!(!refused.body.contains("ntf_wrong"));
    for wrong in ["Basic YTpi", "Bearer", "ntf_wrong"] {
        let headers = [("Authorization", wrong)];
        let refused = request(server.address(), "GET", "/v1/events", &headers, "");
        assert_eq!(refused.status, 401, "{wrong}");
    }
}

#[test]
fn an_open_server_is_not_open_to_whoever_comes_by_a_proxy() {
    let event = notification("from afar").to_string();
    let post = |server: &notification_testkit::ServerProcess, more: &[(&str, &str)]| {
        let json = [("Content-Type", "application/json")];
        let headers = [&json[..], more].concat();
        request(server.address(), "POST", "/v1/events", &headers, &event)
    };
    let open = server(&[]);
    for header in [
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Host", "events.example.com"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=192.0.2.1"),
        ("Via", "1.1 proxy"),
    ] {
        let refused = post(&open, &[header]);
        assert_eq!(refused.status, 403, "{header:?}");
        assert!(refused.body.contains("key create"), "{refused:?}");
        let refused = EventStream::try_open(open.address(), "/mcp", &[header]);
        assert_eq!(refused.unwrap_err().status, 403);
    }
    let published = "notification_events_published_total{type=\"notification\"}";
    assert_eq!(open.metric(published), 0.0);
    assert_eq!(post(&open, &[]).status, 201);
    // Whoever says who they are may come by a proxy.
    let wanted = json!({"name": "a", "allow": ["publish:**"]});
    let key = open.post("/v1/keys", &wanted).json();
    let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
    let by_proxy = [("Via", "1.1 proxy"), ("Authorization", &*bearer)];
    assert_eq!(post(&open, &by_proxy).status, 201);
    let knowingly = server(&["--insecure-no-auth"]);
    let by_proxy = [("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(post(&knowingly, &by_proxy).status, 201);
    // Where it is known who somebody is, it does not matter where he is.
    let secured = Secured::start("");
    let admin = secured.send(&Secured::admin(), "GET", "/v1/events", &by_proxy, "");
    assert_eq!(admin.status, 200);
}

#[test]
fn a_server_is_not_open_and_closed_at_once() {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    let settings = b"insecure_no_auth = true\n[auth]\nmode = \"required\"\n";
    std::io::Write::write_all(&mut config, settings).unwrap();
    let path = config.path().to_str().unwrap();
    let (ok, said) = run(&["--bind", "127.0.0.1:0", "--config", path]);
    assert!(!ok);
    assert!(
        said.contains("auth.mode") && said.contains("insecure_no_auth"),
        "{said}"
    );
}

#[test]
fn the_first_key_says_what_it_changes() {
    let key = json!({"name": "a", "allow": ["admin"]});
    let mut server = server(&[]);
    let created = server.post("/v1/keys", &key).json();
    let another = json!({"name": "b", "allow": ["admin"]});
    assert_eq!(server.post("/v1/keys", &another).status, 201);
    assert_eq!(server.get("/v1/events").status, 200);
    let (_, log) = server.stop();
    assert_eq!(log.matches("first key was created").count(), 1, "{log}");
    server.restart();
    assert_eq!(server.get("/v1/events").status, 401);
    let bearer = format!("Bearer {}", created["key"].as_str().unwrap());
    let headers = [("Authorization", &*bearer)];
    let keys = request(server.address(), "GET", "/v1/keys", &headers, "").json();
    // One's own last, as nobody else could revoke it.
    let ids: Vec<_> = keys["keys"].as_array().unwrap().iter().collect();
    for of in ["b", "a"] {
        let key = ids.iter().find(|key| key["name"] == of).unwrap();
        let path = format!("/v1/keys/{}", key["id"].as_str().unwrap());
        let revoked = request(server.address(), "DELETE", &path, &headers, "");
        assert_eq!(revoked.status, 204, "{revoked:?}");
    }
    let (_, log) = server.stop();
    assert!(!log.contains("nobody gets in"), "{log}");
    server.restart();
    let (_, log) = server.stop();
    assert!(log.contains("nobody gets in"), "{log}");
}

#[test]
fn settings_that_change_who_is_let_in_say_so_and_hold_after_a_restart() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let path = config.path().to_str().unwrap();
    let mut server = server(&["--config", path]);
    let get = |more: &[(&str, &str)]| request(server.address(), "GET", "/v1/events", more, "");
    let reload = |settings: &str, sign: &str| {
        let settings = format!("allowed_hosts = [\"{sign}\"]\n{settings}");
        secured::write(&config, &settings);
        signal(server.pid(), libc::SIGHUP);
        eventually("the settings are read", || {
            get(&[("Host", sign)]).status == 200
        });
    };
    reload("[auth]\nmode = \"required\"", "a.example");
    let key = tempfile::NamedTempFile::new().unwrap();
    secured::write(&key, ADMIN);
    let auth = format!("[auth]\nadmin_key_file = \"{}\"", key.path().display());
    reload(&auth, "b.example");
    reload(&format!("insecure_no_auth = true\n{auth}"), "c.example");
    let by_proxy = [("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(get(&by_proxy).status, 403);
    let (_, log) = server.stop();
    for warning in [
        "the next start fails",
        "the next start is not open any more",
        "there are keys or tokens, and insecure_no_auth",
    ] {
        assert_eq!(log.matches(warning).count(), 1, "{warning}: {log}");
    }
    // As it would have been without insecure_no_auth.
    secured::write(&config, &auth);
    server.restart();
    assert_eq!(server.get("/v1/events").status, 401);
    secured::write(&config, "allowed_hosts = [\"d.example\"]");
    signal(server.pid(), libc::SIGHUP);
    eventually("the settings are read", || {
        let named = [("Host", "d.example")];
        request(server.address(), "GET", "/v1/events", &named, "").status == 401
    });
    let (_, log) = server.stop();
    assert!(log.contains("the next start is open"), "{log}");
    assert!(log.contains("nobody gets in"), "{log}");
}

#[test]
fn a_key_is_shown_once_listed_and_outlives_a_restart() {
    let mut secured = Secured::start("");
    let wanted = json!({"name": "ci", "allow": ["publish:ops/**"], "client_id": "robot",
                        "groups": ["bots"], "events_per_hour": 5});
    let (id, key) = secured.key(&wanted);
    let Credential::Bearer(text) = &key else {
        unreachable!()
    };
    let twice = secured.ask(&Secured::admin(), "POST", "/v1/keys", Some(&wanted));
    assert_eq!(twice.status, 409, "{twice:?}");
    let event = json!({"type": "notification", "message": "m", "topic": "ops/db"});
    let published = secured.ask(&key, "POST", "/v1/events", Some(&event));
    assert_eq!(published.status, 201, "{published:?}");
    let listed = secured.ask(&Secured::admin(), "GET", "/v1/keys", None);
    assert!(!listed.body.contains(&text[20..]));
    let listed = &listed.json()["keys"][0];
    assert_eq!(
        (&listed["id"], &listed["created_by"]),
        (&json!(id), &json!("operator"))
    );
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&listed[name], value);
    }
    assert!(listed["last_used_at"].is_string());

    secured.server.kill();
    secured.server.restart();
    let whoami = secured.ask(&key, "GET", "/v1/session", None).json();
    assert_eq!(
        (&whoami["principal"], &whoami["client_id"]),
        (&json!("key:ci"), &json!("robot"))
    );
    // Nothing on the disk gives the key away.
    for file in std::fs::read_dir(secured.server.data_dir()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let secret = &text.as_bytes()[20..];
        assert!(
            !bytes.windows(secret.len()).any(|w| w == secret),
            "{path:?}"
        );
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{path:?}");
    }
    let (_, log) = secured.server.stop();
    assert!(!log.contains(&text[20..]) && !log.contains(ADMIN));
}

#[test]
fn who_published_is_kept_beside_the_event_and_shown_to_publishers() {
    let secured = Secured::start("");
    let key = secured.allowed("ci", &["publish:ops/**", "subscribe:**"]);
    let event = json!({"type": "notification", "message": "m", "topic": "ops/db"});
    let id = secured.ask(&key, "POST", "/v1/events", Some(&event)).json()["event_id"].clone();
    let path = format!("/v1/events/{}/receipts", id.as_str().unwrap());
    let receipts = secured.ask(&key, "GET", &path, None).json();
    assert_eq!(receipts["published_by"], "key:ci");
    let read = secured.ask(&key, "GET", "/v1/events", None).body;
    assert!(!read.contains("key:ci"));
    let other = secured.allowed("other", &["publish:dev"]);
    assert_eq!(secured.ask(&other, "GET", &path, None).status, 403);
}

#[test]
fn a_revoked_key_is_good_for_nothing_at_once_and_its_streams_say_so() {
    let secured = Secured::start("");
    let (id, key) = secured.key(&json!({"name": "a", "allow": ["subscribe:**", "publish:**"]}));
    let cookie = secured.cookie(&key);
    let mut streams: Vec<_> = [
        (&key, "/v1/stream"),
        (&key, "/mcp"),
        (&cookie, "/v1/stream"),
    ]
    .into_iter()
    .map(|(credential, path)| secured.open(credential, path).unwrap())
    .collect();
    let ticket = secured
        .ask(&key, "POST", "/v1/tickets", Some(&json!({})))
        .json();
    let revoked = secured.ask(&Secured::admin(), "DELETE", &format!("/v1/keys/{id}"), None);
    assert_eq!(revoked.status, 204);
    for credential in [&key, &cookie] {
        let refused = secured.ask(credential, "POST", "/v1/events", Some(&notification("m")));
        assert_eq!(refused.status, 401, "{refused:?}");
    }
    let path = format!("/v1/stream?ticket={}", ticket["ticket"].as_str().unwrap());
    let refused = EventStream::try_open(secured.server.address(), &path, &[]).unwrap_err();
    assert_eq!(refused.status, 401);
    for stream in &mut streams {
        assert_eq!(stream.next().unwrap().data["status"], "connected");
        let last = stream.next().unwrap();
        assert_eq!(last.data["status"], "unauthorized", "{last:?}");
        assert!(last.data["reason"].as_str().unwrap().contains("revoked"));
        assert_eq!(stream.next(), None);
    }
    assert_eq!(secured.published(), 0);
    let again = secured.ask(&Secured::admin(), "DELETE", &format!("/v1/keys/{id}"), None);
    assert_eq!(again.status, 404);
}

#[test]
fn a_stream_is_warned_before_its_key_expires_and_then_ends() {
    let secured = Secured::start("");
    let wanted = json!({"name": "a", "allow": ["subscribe:**"], "expires_at": from_now(4)});
    let (_, key) = secured.key(&wanted);
    let mut stream = secured.open(&key, "/v1/stream").unwrap();
    let said: Vec<_> = std::iter::from_fn(|| stream.next())
        .map(|event| event.data["status"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, ["connected", "credential_expiring", "unauthorized"]);
    let refused = secured.open(&key, "/v1/stream").unwrap_err();
    assert_eq!(refused.status, 401);
    assert!(refused.body.contains("expired"));
}

#[test]
fn a_narrowed_subscription_says_what_is_left() {
    let secured = Secured::start("");
    let key = secured.allowed("ops", &["subscribe:ops/**", "publish:**"]);
    let mut stream = secured.open(&key, "/v1/stream?topic=**").unwrap();
    assert_eq!(
        stream.next().unwrap().data["narrowed_to"],
        json!(["ops/**"])
    );
    for topic in ["dev", "ops/db"] {
        let event = json!({"type": "notification", "message": "m", "topic": topic});
        secured.ask(&key, "POST", "/v1/events", Some(&event));
    }
    assert_eq!(stream.next().unwrap().data["topic"], "ops/db");
    let page = secured.ask(&key, "GET", "/v1/events", None).json();
    assert_eq!(page["narrowed_to"], json!(["ops/**"]));
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    let outright = secured.ask(&key, "GET", "/v1/events?topic=dev", None);
    assert_eq!(
        (outright.status, &outright.json()["needs"]),
        (403, &json!("subscribe:dev"))
    );
}

#[test]
fn what_is_for_somebody_reaches_nobody_else_whatever_the_grants() {
    let secured = Secured::start("");
    let alice = json!({"name": "alice", "allow": ["subscribe:**"], "client_id": "alice", "groups": ["staff"]});
    let (_, alice) = secured.key(&alice);
    let admin = Secured::admin();
    let mut open = secured.open(&alice, "/v1/stream").unwrap();
    let mut other = secured
        .open(&admin, "/v1/stream?client_id=mallory")
        .unwrap();
    for audience in [json!({"clients": ["alice"]}), json!({"groups": ["staff"]})] {
        let event = json!({"type": "notification", "message": "secret", "audience": audience});
        assert_eq!(
            secured
                .ask(&admin, "POST", "/v1/events", Some(&event))
                .status,
            201
        );
    }
    secured.ask(&admin, "POST", "/v1/events", Some(&notification("for all")));
    let messages = |stream: &mut EventStream, count: usize| -> Vec<String> {
        let events = std::iter::from_fn(|| stream.next()).filter(|e| e.data["type"] != "status");
        events
            .take(count)
            .map(|e| e.data["message"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(messages(&mut open, 3), ["secret", "secret", "for all"]);
    assert_eq!(messages(&mut other, 1), ["for all"]);
    // The credential's groups are the truth: without them, it is in none.
    let groups = secured.ask(&admin, "GET", "/v1/groups", None).json();
    assert_eq!(groups["groups"], json!([{"group": "staff", "clients": 1}]));
}

#[test]
fn a_ticket_opens_one_stream_of_what_it_is_for() {
    let secured = Secured::start("");
    let wanted = json!({"name": "a", "allow": ["subscribe:ops/**"], "client_id": "alice"});
    let (_, key) = secured.key(&wanted);
    let address = secured.server.address();
    let issue = |wanted: Value| {
        let issued = secured.ask(&key, "POST", "/v1/tickets", Some(&wanted));
        assert_eq!(issued.status, 201, "{issued:?}");
        let issued = issued.json();
        (
            format!("/v1/stream?ticket={}", issued["ticket"].as_str().unwrap()),
            issued,
        )
    };
    let (path, issued) = issue(json!({"topics": ["**"], "types": ["notification"]}));
    let left = json!({"topics": ["ops/**"], "types": ["notification"]});
    assert_eq!(issued["filter"], left);
    let more = EventStream::try_open(address, &format!("{path}&topic=ops/db"), &[]).unwrap_err();
    assert_eq!(more.status, 400, "{more:?}");
    // It was used with that, wrongly as it was.
    let (path, _) = issue(json!({"topics": ["**"], "types": ["notification"]}));
    let _stream = EventStream::open(address, &format!("{path}&since=all"), &[]);
    let connections = secured
        .ask(&Secured::admin(), "GET", "/v1/connections", None)
        .json();
    let connection = &connections["connections"][0];
    assert_eq!(connection["filter"], left);
    assert_eq!(
        (&connection["principal"], &connection["client_id"]),
        (&json!("key:a"), &json!("alice"))
    );
    // Its client's place may be kept: the ticket says whose.
    let (durable, _) = issue(json!({"topics": ["**"]}));
    EventStream::open(address, &format!("{durable}&durable=true"), &[]).close();
    let clients = secured
        .ask(&Secured::admin(), "GET", "/v1/clients", None)
        .json();
    assert_eq!(clients["clients"][0]["client_id"], "alice");
    let replayed = EventStream::try_open(address, &path, &[]).unwrap_err();
    assert_eq!(replayed.status, 401, "{replayed:?}");
    // For nothing else, and for nobody else.
    let (path, _) = issue(json!({}));
    let ticket = path.rsplit_once('=').unwrap().1.to_owned();
    for (method, path) in [
        ("GET", "/v1/events"),
        ("POST", "/v1/events"),
        ("HEAD", "/v1/stream"),
    ] {
        let answer = request(address, method, &format!("{path}?ticket={ticket}"), &[], "");
        assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
    }
    let header = [("Authorization", format!("Bearer {ticket}"))];
    let header = header.each_ref().map(|(n, v)| (*n, v.as_str()));
    assert_eq!(
        request(address, "GET", "/v1/events", &header, "").status,
        401
    );
    let beyond = secured.ask(
        &key,
        "POST",
        "/v1/tickets",
        Some(&json!({"topics": ["dev"]})),
    );
    assert_eq!(beyond.status, 403);
    let unknown = secured.ask(&key, "POST", "/v1/tickets", Some(&json!({"topic": "ops"})));
    assert_eq!(unknown.status, 422);
}

#[test]
fn keys_and_tokens_are_not_taken_from_a_url() {
    let secured = Secured::start("");
    for name in ["token", "access_token", "key", "api_key", "Authorization"] {
        for path in ["/v1/stream", "/mcp", "/v1/events"] {
            let answer = secured.server.get(&format!("{path}?{name}={ADMIN}"));
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(
                answer.body.contains("/v1/tickets") && !answer.body.contains(ADMIN),
                "{answer:?}"
            );
        }
    }
}

#[test]
fn the_cookie_of_a_session_is_taken_from_own_pages_only() {
    let secured = Secured::start("");
    let cookie = secured.cookie(&secured.allowed("a", &["publish:**", "subscribe:**"]));
    let Credential::Cookie(pair) = &cookie else {
        unreachable!()
    };
    let own = secured.server.url("");
    let event = notification("m").to_string();
    let post = |headers: &[(&str, &str)]| {
        let headers: Vec<_> = [
            ("Cookie", pair.as_str()),
            ("Content-Type", "application/json"),
        ]
        .iter()
        .chain(headers)
        .copied()
        .collect();
        request(
            secured.server.address(),
            "POST",
            "/v1/events",
            &headers,
            &event,
        )
        .status
    };
    for headers in [
        &[][..],
        &[("Origin", "http://localhost:1")],
        &[("Origin", "http://evil.test")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "none")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", &own)],
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Origin", "http://127.0.0.1:1"),
        ],
    ] {
        assert_eq!(post(headers), 403, "{headers:?}");
    }
    assert_eq!(secured.published(), 0);
    assert_eq!(post(&[("Origin", &own)]), 201);
    assert_eq!(post(&[("Sec-Fetch-Site", "same-origin")]), 201);
    // A stream moves a durable client's place, so other pages open none either.
    let elsewhere = [("Cookie", pair.as_str()), ("Sec-Fetch-Site", "same-site")];
    let refused = EventStream::try_open(secured.server.address(), "/v1/stream", &elsewhere);
    assert_eq!(refused.unwrap_err().status, 403);
    // Ending it ends what was opened in it.
    let mut stream = secured.open(&cookie, "/v1/stream").unwrap();
    assert_eq!(
        secured.ask(&cookie, "DELETE", "/v1/session", None).status,
        204
    );
    assert_eq!(stream.next().unwrap().data["status"], "connected");
    assert_eq!(stream.next().unwrap().data["status"], "unauthorized");
    assert_eq!(secured.ask(&cookie, "GET", "/v1/session", None).status, 401);
}

#[test]
fn settings_are_read_again_without_closing_a_stream() {
    let mut secured = Secured::start("");
    let key = secured.allowed("a", &["subscribe:**", "publish:**"]);
    let mut stream = secured.open(&key, "/v1/stream").unwrap();
    let post = || secured.ask(&key, "POST", "/v1/events", Some(&notification("m")));
    assert_eq!(post().status, 201);
    secured.configure(
        "allowed_hosts = [\"events.example.com\"]\n[limits.principal]\nevents_per_second = 1",
    );
    signal(secured.server.pid(), libc::SIGHUP);
    let named = [("Host", "events.example.com")];
    let named = || request(secured.server.address(), "GET", "/healthz", &named, "").status;
    eventually("the settings are read", || named() == 200);
    eventually("the limit holds", || {
        let limited = post();
        limited.status == 429 && limited.json()["limit"] == "principal.events_per_second"
    });
    // The operator's key is another from now on; broken settings change nothing.
    secured::write(
        &secured.admin_key,
        "another-operators-key-of-more-than-32-characters",
    );
    secured.configure("");
    signal(secured.server.pid(), libc::SIGHUP);
    let is_refused = || {
        secured
            .ask(&Secured::admin(), "GET", "/v1/keys", None)
            .status
            == 401
    };
    eventually("the former key is refused", is_refused);
    secured.configure("colour = 1");
    signal(secured.server.pid(), libc::SIGHUP);
    let admin = bearer("another-operators-key-of-more-than-32-characters");
    assert_eq!(secured.ask(&admin, "GET", "/v1/keys", None).status, 200);
    assert_eq!(stream.next().unwrap().data["status"], "connected");
    assert_eq!(stream.next().unwrap().data["message"], "m");
    let (_, log) = secured.server.stop();
    assert!(log.contains("settings reloaded"), "{log}");
    assert!(
        log.contains("not reloaded") && log.contains("colour"),
        "{log}"
    );
}

#[test]
fn what_was_done_and_refused_is_said_to_administrators() {
    let mut secured = Secured::start("");
    let admin = Secured::admin();
    let (id, key) = secured.key(&json!({"name": "ci", "allow": ["publish:ops"]}));
    secured.ask(&key, "POST", "/v1/events", Some(&notification("m")));
    secured.ask(&bearer("wrong"), "GET", "/v1/events", None);
    secured.ask(&admin, "PUT", "/v1/groups/g/clients/c", None);
    secured.ask(&admin, "DELETE", &format!("/v1/keys/{id}"), None);
    let said = || {
        secured
            .ask(&admin, "GET", "/v1/events?topic=$audit", None)
            .json()["events"]
            .clone()
    };
    let names = || -> Vec<String> {
        let events = said();
        let events = events.as_array().unwrap().iter();
        events
            .map(|e| e["name"].as_str().unwrap().to_owned())
            .collect()
    };
    // Those of nobody in particular are counted, wherever among the others that is told.
    let expected = [
        "audit.counts",
        "group.joined",
        "key.created",
        "key.revoked",
        "request.refused",
    ];
    eventually("all of it is said", || {
        let mut names = names();
        names.sort();
        names == expected
    });
    let said = said();
    let find = |name: &str| {
        let said = said.as_array().unwrap().iter();
        let found: Vec<_> = said.filter(|e| e["name"] == name).collect();
        found[0]["data"].clone()
    };
    let created = find("key.created");
    assert_eq!(
        (&created["principal"], &created["name"]),
        (&json!("operator"), &json!("ci"))
    );
    let refused = find("request.refused");
    assert_eq!(refused["principal"], "key:ci");
    assert_eq!(refused["reason"], "denied");
    assert_eq!(refused["address"], "127.0.0.1");
    assert_eq!(find("audit.counts"), json!({"unauthenticated": 1}));
    let (_, log) = secured.server.stop();
    let lines = log.lines().filter(|line| line.contains("audit"));
    assert_eq!(lines.count(), 5, "{log}");
    for secret in [ADMIN, "wrong"] {
        assert!(!said.to_string().contains(secret), "{said}");
    }
}

#[test]
fn refusals_say_from_where_they_come_whoever_refuses() {
    let mut secured = Secured::start("trusted_proxies = [\"127.0.0.1\"]");
    let ask = |headers: &[(&str, &str)]| {
        let address = secured.server.address();
        request(address, "GET", "/v1/events", headers, "").status
    };
    let from = |address| ("X-Forwarded-For", address);
    assert_eq!(ask(&[from("192.0.2.1")]), 401);
    let wrong = ("Authorization", "Bearer wrong");
    assert_eq!(ask(&[from("192.0.2.2"), wrong]), 401);
    let elsewhere = ("Origin", "http://evil.test");
    assert_eq!(ask(&[from("192.0.2.3"), elsewhere]), 403);
    let refused =
        EventStream::try_open(secured.server.address(), "/v1/stream", &[from("192.0.2.4")]);
    assert_eq!(refused.unwrap_err().status, 401);
    let (_, log) = secured.server.stop();
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        let is_it = |line: &&str| line.contains("request.refused") && line.contains(address);
        assert_eq!(log.lines().filter(is_it).count(), 1, "{address}: {log}");
    }
}

#[test]
fn what_was_begun_before_a_revocation_is_refused_after_it() {
    use std::io::{Read, Write};

    let secured = Secured::start("");
    let wanted = json!({"name": "a", "allow": ["admin"], "client_id": "alice"});
    let (id, key) = secured.key(&wanted);
    let Credential::Bearer(text) = &key else {
        unreachable!()
    };
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                      "params": {"name": "list_tasks", "arguments": {}}});
    let event = notification("m");
    let open: Vec<_> = [
        ("POST", "/v1/keys", json!({"name": "b", "allow": ["admin"]})),
        ("POST", "/v1/tickets", json!({})),
        ("POST", "/v1/events", event.clone()),
        ("POST", "/v1/topics/ops", event.clone()),
        ("PUT", "/v1/tasks/t", json!({"task_name": "T"})),
        ("POST", "/v1/clients/alice/acks", json!({"event_ids": ["e"]})),
        ("POST", "/mcp", call),
    ]
    .into_iter()
    .map(|(method, path, body)| {
        let body = body.to_string();
        let (most, last) = body.split_at(body.len() - 1);
        let mut socket = std::net::TcpStream::connect(secured.server.address()).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {text}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{most}",
            body.len()
        );
        socket.write_all(head.as_bytes()).unwrap();
        (path, socket, last.to_owned())
    })
    .collect();
    // Time to be let in, and to wait for the rest. Without it they are refused for
    // another reason.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let path = format!("/v1/keys/{id}");
    let revoked = secured.ask(&Secured::admin(), "DELETE", &path, None);
    assert_eq!(revoked.status, 204);
    for (path, mut socket, last) in open {
        socket.write_all(last.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let is_refused = match path {
            "/mcp" => answer.contains("was revoked") && answer.contains("\"isError\":true"),
            _ => answer.starts_with("HTTP/1.1 401 "),
        };
        assert!(is_refused, "{path}: {answer}");
    }
    let keys = secured
        .ask(&Secured::admin(), "GET", "/v1/keys", None)
        .json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert_eq!(secured.published(), 0);
}

/// The server stops before it could store it, and does so at the end.
#[cfg(target_os = "linux")]
#[test]
fn a_revocation_holds_on_a_full_disk_and_after_it() {
    let mut secured = Secured::start("");
    let (id, key) = secured.key(&json!({"name": "a", "allow": ["subscribe:**"]}));
    assert_eq!(secured.ask(&key, "GET", "/v1/events", None).status, 200);
    limit_file_size(secured.server.pid(), Some(0));
    let path = format!("/v1/keys/{id}");
    let revoked = secured.ask(&Secured::admin(), "DELETE", &path, None);
    assert_eq!(revoked.status, 503, "{revoked:?}");
    assert_eq!(secured.ask(&key, "GET", "/v1/events", None).status, 401);
    limit_file_size(secured.server.pid(), None);
    let (_, log) = secured.server.stop();
    let audited = |line: &&str| line.contains("key.revoked") && line.contains(&id);
    assert_eq!(log.lines().filter(audited).count(), 1, "{log}");
    assert!(log.contains("is not stored yet"), "{log}");
    secured.server.restart();
    assert_eq!(secured.ask(&key, "GET", "/v1/events", None).status, 401);
    assert_eq!(
        secured.ask(&Secured::admin(), "DELETE", &path, None).status,
        404
    );
}

#[test]
fn what_is_done_is_said_although_whoever_asked_hangs_up() {
    use std::io::Write;

    let mut secured = Secured::start("");
    let admin = Secured::admin();
    for n in 0..40_u64 {
        let mut socket = std::net::TcpStream::connect(secured.server.address()).unwrap();
        let head = format!(
            "PUT /v1/groups/board/clients/c{n} HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {ADMIN}\r\nContent-Length: 0\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).unwrap();
        // Sooner or later, so that some hang up while it is being done.
        std::thread::sleep(std::time::Duration::from_micros(100 * n));
    }
    let board = "/v1/groups/board";
    eventually("some were in time", || {
        secured.ask(&admin, "GET", board, None).status == 200
    });
    let (_, log) = secured.server.stop();
    secured.server.restart();
    let members = secured.ask(&admin, "GET", board, None).json()["clients"].clone();
    for member in members.as_array().unwrap() {
        let said = format!("\"client_id\":{member}");
        let is_it = |line: &str| line.contains("group.joined") && line.contains(&said);
        assert!(log.lines().any(is_it), "{member}: {log}");
    }
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_could_have_written_is_not_used() {
    use std::os::unix::fs::PermissionsExt;

    let mut secured = Secured::start("");
    let data_dir = secured.server.data_dir().to_owned();
    secured.server.stop();
    let secret = data_dir.join("secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (ok, said) = run(&[
        "--bind",
        "127.0.0.1:0",
        "--data-dir",
        data_dir.to_str().unwrap(),
    ]);
    assert!(!ok);
    assert!(
        said.contains("secret") && said.contains("nobody else can write"),
        "{said}"
    );
}

#[test]
fn a_client_is_in_the_groups_of_its_newest_credential() {
    let secured = Secured::start("");
    let admin = Secured::admin();
    let with = |name: &str, groups: Value| {
        let wanted = json!({"name": name, "allow": ["subscribe:**", "client:bob"],
                            "client_id": "alice", "groups": groups});
        secured.key(&wanted).1
    };
    let (board, none) = (with("board", json!(["board"])), with("none", json!([])));
    let post = |message: &str| {
        let event = json!({"type": "notification", "message": message,
                           "audience": {"groups": ["board"]}});
        secured.ask(&admin, "POST", "/v1/events", Some(&event))
    };
    let read = |by: &Credential, path: &str| {
        let page = secured.ask(by, "GET", path, None).json();
        page["events"].as_array().unwrap().len()
    };
    // From when it first asks with it, by whatever door.
    assert_eq!(read(&board, "/v1/events?type=notification"), 0);
    post("one");
    assert_eq!(read(&board, "/v1/events?type=notification"), 1);
    let task = json!({"task_name": "Budget", "audience": {"groups": ["board"]}});
    let report = || {
        secured
            .ask(&admin, "PUT", "/v1/tasks/budget", Some(&task))
            .status
    };
    report();
    let see = |by: &Credential| secured.ask(by, "GET", "/v1/tasks/budget", None).status;
    assert_eq!(see(&board), 200);
    // As another client, it brings nothing along.
    let wanted = json!({"client_id": "bob"});
    let ticket = secured
        .ask(&board, "POST", "/v1/tickets", Some(&wanted))
        .json();
    let path = format!("/v1/stream?ticket={}", ticket["ticket"].as_str().unwrap());
    EventStream::open(secured.server.address(), &path, &[]).close();
    assert_eq!(
        read(&board, "/v1/events?type=notification&client_id=bob"),
        0
    );
    let members = secured.ask(&admin, "GET", "/v1/groups/board", None).json();
    assert_eq!(members["clients"], json!(["alice"]));
    // What follows is not for it any more; what was for it stays so.
    see(&none);
    report();
    assert_eq!(see(&none), 404);
    let tasks = secured.ask(&none, "GET", "/v1/tasks", None).json();
    assert_eq!(tasks["tasks"], json!([]));
    assert_eq!(read(&none, "/v1/events?type=notification"), 1);
    post("two");
    assert_eq!(read(&none, "/v1/events?type=notification"), 1);
}

#[test]
fn what_everybody_may_do_does_not_fill_the_log() {
    let secured = Secured::start("");
    let key = secured.allowed("nothing", &[]);
    for _ in 0..50 {
        let cookie = secured.cookie(&key);
        assert_eq!(
            secured.ask(&cookie, "DELETE", "/v1/session", None).status,
            204
        );
    }
    let admin = Secured::admin();
    let said = secured.ask(&admin, "GET", "/v1/events?topic=$audit&limit=1000", None);
    let said = said.json()["events"].as_array().unwrap().len();
    assert!(said <= 15, "{said}");
}

#[test]
fn a_task_does_not_say_where_it_is_to_those_who_may_not_see_it() {
    let secured = Secured::start("");
    let admin = Secured::admin();
    let task = json!({"task_name": "T", "topic": "board/merger", "step": 5, "total_steps": 7});
    secured.ask(&admin, "PUT", "/v1/tasks/t", Some(&task));
    let key = secured.allowed("a", &["tasks:mine/**"]);
    for (method, body) in [
        ("GET", None),
        ("PUT", Some(json!({"step": 1}))),
        ("PUT", Some(json!({"topic": "mine/t"}))),
    ] {
        let answer = secured.ask(&key, method, "/v1/tasks/t", body.as_ref());
        assert_eq!(
            (answer.status, &answer.json()["needs"]),
            (403, &json!("tasks:**")),
            "{answer:?}"
        );
        assert!(!answer.body.contains("merger"), "{answer:?}");
    }
}
