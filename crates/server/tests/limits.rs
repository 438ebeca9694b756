//! How much: of each principal, of each address, and of all together.

#[path = "common/mod.rs"]
mod common;
#[path = "common/secured.rs"]
mod secured;

use common::{notification, server_with};
use notification_testkit::{Response, eventually, request, signal};
use secured::{Credential, Secured};
use serde_json::json;

fn limited(answer: &Response, limit: &str) {
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.json()["limit"], limit);
}

#[test]
fn one_principal_does_not_drown_the_others() {
    let secured = Secured::start("[limits.principal]\nevents_per_second = 3");
    let (a, b) = (
        secured.allowed("a", &["publish:**"]),
        secured.allowed("b", &["publish:**"]),
    );
    let batch = json!(vec![notification("m"); 3]);
    assert_eq!(
        secured.ask(&a, "POST", "/v1/events", Some(&batch)).status,
        201
    );
    let refused = secured.ask(&a, "POST", "/v1/events", Some(&batch));
    limited(&refused, "principal.events_per_second");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        secured.ask(&b, "POST", "/v1/events", Some(&batch)).status,
        201
    );
    assert_eq!(secured.published(), 6);
    // What is too much at any time is not worth trying again.
    let batch = json!(vec![notification("m"); 4]);
    let refused = secured.ask(&b, "POST", "/v1/events", Some(&batch));
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (413, None),
        "{refused:?}"
    );
    assert_eq!(refused.json()["limit"], "principal.events_per_second");
    assert_eq!(secured.published(), 6);
    let metrics = secured.ask(&Secured::admin(), "GET", "/metrics", None).body;
    assert!(
        metrics.contains(r#"notification_requests_refused_total{reason="limited"} 2"#),
        "{metrics}"
    );
}

#[test]
fn bytes_count_too() {
    let secured = Secured::start("[limits.principal]\nbytes_per_second = 4000");
    let a = secured.allowed("a", &["publish:**"]);
    let large = notification(&"m".repeat(3_000));
    assert_eq!(
        secured.ask(&a, "POST", "/v1/events", Some(&large)).status,
        201
    );
    let refused = secured.ask(&a, "POST", "/v1/events", Some(&large));
    limited(&refused, "principal.bytes_per_second");
    assert_eq!(secured.published(), 1);
}

#[test]
fn an_agent_has_a_budget() {
    let secured = Secured::start("");
    let agent = json!({"name": "agent", "allow": ["publish:agents/**"], "events_per_hour": 2});
    let (_, agent) = secured.key(&agent);
    let say = json!({"message": "m", "topic": "agents/a"});
    for _ in 0..2 {
        assert_eq!(
            secured.call(&agent, "send_notification", &say)["isError"],
            false
        );
    }
    let refused = secured.call(&agent, "send_notification", &say);
    assert_eq!(refused["isError"], true);
    let text = refused["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("events_per_hour") && text.contains("try again in"),
        "{text}"
    );
    let event = json!({"type": "notification", "message": "m", "topic": "agents/a"});
    let refused = secured.ask(&agent, "POST", "/v1/events", Some(&event));
    limited(&refused, "events_per_hour");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(secured.published(), 2);
}

#[test]
fn streams_have_a_bound_and_give_their_place_back() {
    let secured = Secured::start("[limits.principal]\nstreams = 2");
    let key = secured.allowed("a", &["subscribe:**"]);
    let first = secured.open(&key, "/v1/stream").unwrap();
    let _second = secured.open(&key, "/mcp").unwrap();
    limited(
        &secured.open(&key, "/v1/stream").unwrap_err(),
        "principal.streams",
    );
    first.close();
    eventually("there is room again", || {
        secured.open(&key, "/v1/stream").is_ok()
    });
}

#[test]
fn requests_have_a_bound_in_all_that_strangers_do_not_use_up() {
    let secured = Secured::start("[limits.total]\nrequests_per_second = 20");
    let key = secured.allowed("a", &["subscribe:**"]);
    for _ in 0..60 {
        assert_eq!(secured.server.get("/v1/events").status, 401);
    }
    let ask = |of: &Credential| secured.ask(of, "GET", "/v1/events", None);
    let answers: Vec<_> = (0..60).map(|_| ask(&key)).collect();
    assert_eq!(answers[0].status, 200);
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    limited(refused, "total.requests_per_second");
    // An administrator can do something about it.
    for _ in 0..30 {
        assert_eq!(ask(&Secured::admin()).status, 200);
    }
    assert_eq!(secured.server.get("/healthz").status, 200);
}

#[test]
fn addresses_are_those_that_a_trusted_proxy_says() {
    let limits = "insecure_no_auth = true\n[limits.address]\nrequests_per_second = 1";
    let get = |server: &notification_testkit::ServerProcess, from: &str| {
        let from = [("X-Forwarded-For", from)];
        request(server.address(), "GET", "/healthz", &from, "")
    };
    let untrusting = server_with(limits);
    for _ in 0..5 {
        assert_eq!(get(&untrusting, "192.0.2.1").status, 200);
    }
    let trusting = server_with(&format!("trusted_proxies = [\"127.0.0.1\"]\n{limits}"));
    assert_eq!(get(&trusting, "192.0.2.1").status, 200);
    limited(
        &get(&trusting, "6.6.6.6, 192.0.2.1"),
        "address.requests_per_second",
    );
    assert_eq!(get(&trusting, "192.0.2.2").status, 200);
}

#[test]
fn what_a_client_says_where_its_proxy_says_nothing_does_not_count() {
    let settings = |header: &str| {
        let limits = "[limits.address]\nrequests_per_second = 1";
        format!("trusted_proxies = [\"127.0.0.1\"]\ntrusted_proxy_header = \"{header}\"\n{limits}")
    };
    let secured = Secured::start(&settings("X-Forwarded-For"));
    // One client for a proxy that sets the first, many for one that sets the other.
    let is_limited = || {
        (1..10).any(|n| {
            let forwarded = format!("for=192.0.2.{n}");
            let from = [
                ("X-Forwarded-For", "198.51.100.1"),
                ("Forwarded", forwarded.as_str()),
            ];
            let answer = request(secured.server.address(), "GET", "/healthz", &from, "");
            answer.status == 429
        })
    };
    assert!(is_limited());
    secured.configure(&settings("Forwarded"));
    signal(secured.server.pid(), libc::SIGHUP);
    eventually("the other header is read", || !is_limited());
}

#[test]
fn who_guesses_has_to_wait_and_who_knows_does_not() {
    let secured = Secured::start("trusted_proxies = [\"127.0.0.1\"]\n");
    let key = secured.allowed("a", &["publish:**"]);
    let from = [
        ("X-Forwarded-For", "192.0.2.1"),
        ("Content-Type", "application/json"),
    ];
    let wrong = Credential::Bearer("wrong".to_owned());
    let statuses: Vec<_> = (0..30)
        .map(|_| secured.send(&wrong, "GET", "/v1/events", &from, "").status)
        .collect();
    assert_eq!(statuses[0], 401);
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let refused = secured.send(&wrong, "GET", "/v1/events", &from, "");
    limited(&refused, "address.failed_authentications");
    assert!(refused.header("retry-after").is_some());
    let event = notification("m").to_string();
    assert_eq!(
        secured
            .send(&key, "POST", "/v1/events", &from, &event)
            .status,
        201
    );
}
