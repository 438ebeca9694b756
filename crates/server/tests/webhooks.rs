//! Webhooks of services: events are posted to them, signed, until they are taken.

mod common;
#[path = "common/secured.rs"]
mod secured;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{notification, refused, server};
use notification_testkit::{
    DEADLINE, EventStream, Received, Receiver, Response, ServerProcess, eventually, response,
};
use notification_webhook::Secret;
use secured::{Credential, Secured};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// What makes attempts follow each other quickly.
const QUICK: [&str; 2] = ["--config", "quick.toml"];

/// A server that delivers to this machine, and tries again soon.
fn delivering(more: &str) -> ServerProcess {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(QUICK[1]);
    let settings = format!(
        "[webhooks]\ndev_allow_loopback = true\nretry_delays = [\"1s\", \"1s\"]\n\
         timeout_seconds = 1\n{more}"
    );
    std::fs::write(&path, settings).unwrap();
    let server = server(&[QUICK[0], path.to_str().unwrap()]);
    // Read again when the server is started again.
    std::mem::forget(directory);
    server
}

fn create(server: &ServerProcess, body: &Value) -> Value {
    let created = server.post("/v1/webhooks", body);
    assert_eq!(created.status, 201, "{created:?}");
    created.json()
}

fn get(server: &ServerProcess, id: &str, rest: &str) -> Value {
    let answer = server.get(&format!("/v1/webhooks/{id}{rest}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn patch(server: &ServerProcess, id: &str, change: &Value) -> Response {
    server.request(
        "PATCH",
        &format!("/v1/webhooks/{id}"),
        &[JSON],
        &change.to_string(),
    )
}

fn publish(server: &ServerProcess, event: &Value) -> String {
    let answer = server.post("/v1/events", event);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["event_id"].as_str().unwrap().to_owned()
}

fn is_signed(received: &Received, secret: &str) -> bool {
    let secret: Secret = secret.parse().unwrap();
    let timestamp = received.header("webhook-timestamp").unwrap().parse();
    let signature = secret.sign(
        received.header("webhook-id").unwrap(),
        timestamp.unwrap(),
        &received.body,
    );
    let signatures = received.header("webhook-signature").unwrap();
    signatures.split(' ').any(|it| it == signature)
}

#[test]
fn an_event_is_posted_as_it_is_on_streams_and_signed() {
    let (server, receiver) = (delivering(""), Receiver::start());
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/hook?x=1"), "topics": ["ops/**"]}),
    );
    let (id, secret) = (
        webhook["id"].as_str().unwrap(),
        webhook["secret"].as_str().unwrap(),
    );
    assert_eq!(webhook["state"], "active");
    let mut stream = EventStream::open(server.address(), "/v1/stream?topic=ops/**", &[]);
    publish(
        &server,
        &json!({"type": "notification", "message": "not for it", "topic": "other"}),
    );
    let event = publish(
        &server,
        &json!({"type": "event", "name": "disk.full", "topic": "ops/disk", "data": {"n": 1}}),
    );
    let received = receiver.wait_for("the event", 1, |_| true);
    let [received] = &received[..] else {
        panic!("{received:?}");
    };
    assert_eq!((&*received.method, &*received.path), ("POST", "/hook?x=1"));
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.header("webhook-id"), Some(&*event));
    assert_eq!(received.header("x-mcp-subscription-id"), None);
    assert_eq!(received.json(), stream.take(1)[0]);
    assert!(is_signed(received, secret));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let said: u64 = received
        .header("webhook-timestamp")
        .unwrap()
        .parse()
        .unwrap();
    assert!(said.abs_diff(now) < 60);
    eventually("it was taken", || {
        get(&server, id, "")["last_delivery_at"].is_string()
    });
    let attempts = get(&server, id, "/attempts");
    assert_eq!(attempts["attempts"][0]["event_id"], *event);
    assert_eq!(attempts["attempts"][0]["attempt"], 1);
    assert_eq!(attempts["attempts"][0]["outcome"], "delivered");
    let shown = get(&server, id, "");
    assert_eq!(shown.get("secret"), None);
    assert_eq!(shown["filter"], json!({"topics": ["ops/**"]}));
    assert_eq!(
        server.get("/v1/webhooks").json()["webhooks"],
        json!([shown])
    );
    assert!(server.metric("notification_webhook_attempts_total{outcome=\"delivered\"}") >= 1.0);
    let deleted = server.request("DELETE", &format!("/v1/webhooks/{id}"), &[], "");
    assert_eq!(deleted.status, 204);
    assert_eq!(server.get(&format!("/v1/webhooks/{id}")).status, 404);
    publish(
        &server,
        &json!({"type": "notification", "message": "too late", "topic": "ops"}),
    );
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn what_is_not_taken_is_sent_again_then_given_up_then_sent_again_by_hand() {
    let (mut server, receiver) = (delivering(""), Receiver::start());
    receiver.answer_with(500);
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"]}),
    );
    let id = webhook["id"].as_str().unwrap().to_owned();
    let event = publish(&server, &notification("one"));
    let received = receiver.wait_for("three attempts", 3, |_| true);
    assert!(
        received
            .iter()
            .all(|it| it.header("webhook-id") == Some(&*event))
    );
    assert!(
        received
            .iter()
            .all(|it| is_signed(it, webhook["secret"].as_str().unwrap()))
    );
    eventually("it is given up", || {
        get(&server, &id, "")["dead_letters"] == 1
    });
    let letters = get(&server, &id, "/dead-letters");
    let letter = &letters["dead_letters"][0];
    assert_eq!(letter["event_id"], *event);
    assert_eq!(letter["attempts"], 3);
    assert_eq!(letter["last_outcome"], "http_5xx");
    let numbers = get(&server, &id, "/attempts");
    let numbers: Vec<_> = numbers["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["attempt"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [3, 2, 1]);
    // The others go on.
    receiver.take();
    let other = publish(&server, &notification("two"));
    eventually("the other is taken", || receiver.events().contains(&other));
    // Dead letters are kept.
    std::thread::sleep(Duration::from_millis(1_500));
    server.kill();
    server.restart();
    assert_eq!(get(&server, &id, "")["dead_letters"], 1);
    let redeliver = format!("/v1/webhooks/{id}/dead-letters/redeliver");
    let unknown = server.post(&redeliver, &json!({"event_ids": ["nobody"]}));
    assert_eq!(refused(&unknown, 422), ["event_ids[0]"]);
    let again = server.post(&redeliver, &json!({}));
    assert_eq!(again.status, 202);
    assert_eq!(again.json(), json!({"redelivering": 1, "gone": []}));
    eventually("it is a dead letter no longer", || {
        get(&server, &id, "")["dead_letters"] == 0
    });
    assert_eq!(
        receiver.events().iter().filter(|it| **it == event).count(),
        4
    );
    assert_eq!(
        receiver.events().iter().filter(|it| **it == other).count(),
        1
    );
}

#[test]
fn gone_and_too_large_are_final_and_the_webhook_stays() {
    let (server, receiver) = (delivering(""), Receiver::start());
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"]}),
    );
    let id = webhook["id"].as_str().unwrap();
    for (number, status) in [410, 413].into_iter().enumerate() {
        receiver.answer_with(status);
        publish(&server, &notification("x"));
        let letters = number + 1;
        eventually("it is given up", || {
            get(&server, id, "")["dead_letters"] == letters
        });
        assert_eq!(receiver.received().len(), letters);
    }
    receiver.take();
    publish(&server, &notification("y"));
    eventually("it goes on", || receiver.received().len() == 3);
    assert_eq!(get(&server, id, "")["state"], "active");
}

#[test]
fn a_receiver_says_when_to_come_again() {
    let (server, receiver) = (delivering(""), Receiver::start());
    let mut is_first = true;
    receiver.answer(move |_| match std::mem::take(&mut is_first) {
        true => response(503, &[("Retry-After", "3")], ""),
        false => response(204, &[], ""),
    });
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"]}),
    );
    publish(&server, &notification("x"));
    eventually("it is throttled", || {
        get(&server, webhook["id"].as_str().unwrap(), "")["throttled_until"].is_string()
    });
    let received = receiver.wait_for("it comes again", 2, |_| true);
    let at = |received: &Received| -> u64 {
        received
            .header("webhook-timestamp")
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!(at(&received[1]) >= at(&received[0]) + 2);
}

#[test]
fn a_receiver_that_misbehaves_costs_an_attempt_and_no_more() {
    let (server, receiver) = (delivering(""), Receiver::start());
    let large = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n{}",
        "x".repeat(100_000)
    );
    let answers: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "timeout"),
        (b"HTTP/1.1 200 O".to_vec(), "timeout"),
        (b"what?\r\n\r\n".to_vec(), "connection_broken"),
        (large.into_bytes(), "delivered"),
        (
            response(307, &[("Location", "http://169.254.169.254/")], ""),
            "http_3xx",
        ),
        (response(404, &[], "secret"), "http_4xx"),
        (response(429, &[], ""), "http_429"),
    ];
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"]}),
    );
    let id = webhook["id"].as_str().unwrap();
    for (answer, outcome) in answers {
        let (mut answer, before) = (Some(answer), receiver.events());
        // Those before may be sent again meanwhile.
        receiver.answer(move |received| {
            let id = received.header("webhook-id").unwrap_or_default();
            let is_new = !before.iter().any(|other| other == id);
            let answer = is_new.then(|| answer.take()).flatten();
            answer.unwrap_or_else(|| response(200, &[], ""))
        });
        let event = publish(&server, &notification(outcome));
        let mut first = Value::Null;
        eventually(outcome, || {
            let attempts = get(&server, id, "/attempts");
            let attempts = attempts["attempts"].as_array().unwrap();
            let of_event = attempts.iter().rev().find(|it| it["event_id"] == *event);
            first = of_event.cloned().unwrap_or_default();
            first.is_object()
        });
        assert_eq!(first["outcome"], outcome, "{first}");
        assert!(!first.to_string().contains("secret"));
    }
    eventually("all were taken in the end", || {
        receiver.events().len() >= 13 && get(&server, id, "")["dead_letters"] == 0
    });
}

#[test]
fn one_that_is_dead_slows_no_other() {
    let (server, receiver) = (delivering(""), Receiver::start());
    let dead = Receiver::start();
    dead.answer(|_| Vec::new());
    create(&server, &json!({"url": dead.url("/"), "topics": ["**"]}));
    create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"]}),
    );
    for number in 0..200 {
        publish(&server, &notification(&format!("m{number}")));
    }
    let started = std::time::Instant::now();
    eventually("the other has all", || receiver.events().len() == 200);
    // The dead one would have taken a second for each.
    assert!(started.elapsed() < DEADLINE);
}

#[test]
fn paused_it_is_sent_nothing_and_then_everything() {
    let (server, receiver) = (delivering(""), Receiver::start());
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"]}),
    );
    let id = webhook["id"].as_str().unwrap();
    assert_eq!(
        patch(&server, id, &json!({"paused": true})).json()["state"],
        "paused"
    );
    let events: Vec<_> = (0..5)
        .map(|n| publish(&server, &notification(&format!("m{n}"))))
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(receiver.received().len(), 0);
    let test = server.post(&format!("/v1/webhooks/{id}/test"), &json!({}));
    assert_eq!(
        (test.status, test.json()["outcome"].clone()),
        (200, "delivered".into())
    );
    assert_eq!(receiver.received()[0].json()["type"], "test");
    assert!(is_signed(
        &receiver.received()[0],
        webhook["secret"].as_str().unwrap()
    ));
    let letters = server.post(
        &format!("/v1/webhooks/{id}/dead-letters/redeliver"),
        &json!({}),
    );
    assert_eq!(letters.status, 409);
    assert_eq!(
        patch(&server, id, &json!({"paused": false})).json()["state"],
        "active"
    );
    eventually("all were taken", || receiver.events().len() == 5);
    let mut taken = receiver.events();
    taken.sort();
    let mut expected = events;
    expected.sort();
    assert_eq!(taken, expected);
}

#[test]
fn it_goes_on_elsewhere_and_with_something_else() {
    let (server, receiver) = (delivering(""), Receiver::start());
    let elsewhere = Receiver::start();
    let webhook = create(&server, &json!({"url": receiver.url("/"), "topics": ["a"]}));
    let id = webhook["id"].as_str().unwrap();
    let change = json!({"url": elsewhere.url("/"), "topics": ["b"], "description": "moved"});
    let changed = patch(&server, id, &change);
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json()["filter"], json!({"topics": ["b"]}));
    publish(
        &server,
        &json!({"type": "notification", "message": "a", "topic": "a"}),
    );
    let b = publish(
        &server,
        &json!({"type": "notification", "message": "b", "topic": "b"}),
    );
    eventually("it moved", || elsewhere.events() == [b.clone()]);
    assert!(receiver.received().is_empty());
}

#[test]
fn secrets_overlap_while_they_are_rotated() {
    let (server, receiver) = (
        delivering("rotation_grace_seconds = 3600\n"),
        Receiver::start(),
    );
    let given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"], "secret": given}),
    );
    assert_eq!(webhook["secret"], given);
    let id = webhook["id"].as_str().unwrap();
    let rotated = server.post(&format!("/v1/webhooks/{id}/rotate-secret"), &json!({}));
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let new = rotated.json()["secret"].as_str().unwrap().to_owned();
    assert!(new != given && rotated.json()["previous_until"].is_string());
    publish(&server, &notification("x"));
    let received = receiver.wait_for("it", 1, |_| true);
    assert!(is_signed(&received[0], given) && is_signed(&received[0], &new));
    let without_grace = delivering("rotation_grace_seconds = 0\n");
    let webhook = create(
        &without_grace,
        &json!({"url": receiver.url("/2"), "topics": ["**"], "secret": given}),
    );
    let id = webhook["id"].as_str().unwrap();
    without_grace.post(
        &format!("/v1/webhooks/{id}/rotate-secret"),
        &json!({"secret": new}),
    );
    publish(&without_grace, &notification("y"));
    let received = receiver.wait_for("it", 1, |it| it.path == "/2");
    assert!(!is_signed(&received[0], given) && is_signed(&received[0], &new));
}

#[test]
fn the_servers_own_key_signs_if_it_is_to() {
    let receiver = Receiver::start();
    assert_eq!(delivering("").get("/v1/webhooks/public-key").status, 404);
    let mut server = delivering("sign_with_key = true\n");
    let key = server.get("/v1/webhooks/public-key").json();
    assert!(key["public_key"].as_str().unwrap().starts_with("whpk_"));
    create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"]}),
    );
    publish(&server, &notification("x"));
    let received = receiver.wait_for("it", 1, |_| true);
    let signatures = received[0].header("webhook-signature").unwrap();
    assert!(signatures.starts_with("v1,") && signatures.contains(" v1a,"));
    server.stop();
    server.restart();
    assert_eq!(server.get("/v1/webhooks/public-key").json(), key);
}

#[test]
fn what_fails_for_long_is_said_and_then_left_alone() {
    let settings = "suspend_after_attempts = 10\n";
    let (mut server, receiver) = (delivering(settings), Receiver::start());
    receiver.answer_with(500);
    let mut said = EventStream::open(server.address(), "/v1/stream?topic=$webhooks", &[]);
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"]}),
    );
    let id = webhook["id"].as_str().unwrap().to_owned();
    let events: Vec<_> = (0..10)
        .map(|n| publish(&server, &notification(&format!("m{n}"))))
        .collect();
    let said: Vec<_> = said
        .take(4)
        .iter()
        .map(|it| {
            (
                it["name"].clone(),
                it["data"]["percent"].clone(),
                it["data"]["webhook_id"].clone(),
            )
        })
        .collect();
    let expected = [
        ("webhook.failing", 50),
        ("webhook.failing", 70),
        ("webhook.failing", 90),
        ("webhook.suspended", 100),
    ];
    let expected: Vec<_> = expected
        .map(|(name, percent)| (json!(name), json!(percent), json!(id)))
        .into();
    assert_eq!(said, expected);
    eventually("it is suspended", || {
        get(&server, &id, "")["state"] == "suspended"
    });
    std::thread::sleep(Duration::from_millis(1_200));
    let before = receiver.received().len();
    // As it is after a restart.
    server.kill();
    server.restart();
    assert_eq!(get(&server, &id, "")["state"], "suspended");
    assert_eq!(receiver.received().len(), before);
    receiver.take();
    let resumed = patch(&server, &id, &json!({"paused": false}));
    assert_eq!(resumed.json()["state"], "active");
    eventually("none is lost", || {
        let taken = receiver.events();
        events.iter().all(|event| taken.contains(event))
    });
    assert_eq!(get(&server, &id, "")["dead_letters"], 0);
}

#[test]
fn an_event_type_is_posted_as_occurrences_that_its_arguments_choose() {
    let (server, receiver) = (delivering(""), Receiver::start());
    let declaration = json!({"topic": "ops/incidents", "arguments": {"severity": "min"},
        "payload_schema": {"type": "object", "properties": {"severity": {"type": "integer"}}}});
    let declared = server.request(
        "PUT",
        "/v1/event-types/incident.created",
        &[JSON],
        &declaration.to_string(),
    );
    assert_eq!(declared.status, 201, "{declared:?}");
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/"), "event_type": "incident.created", "arguments": {"severity": 3}}),
    );
    assert_eq!(webhook["arguments"], json!({"severity": 3}));
    for severity in [1, 3] {
        publish(
            &server,
            &json!({"type": "event", "name": "incident.created", "data": {"severity": severity}}),
        );
    }
    let received = receiver.wait_for("it", 1, |_| true);
    let occurrence = received[0].json();
    assert_eq!(occurrence["data"], json!({"severity": 3}));
    assert_eq!(
        occurrence["eventId"],
        received[0].header("webhook-id").unwrap()
    );
    assert!(occurrence["cursor"].is_string() && occurrence["timestamp"].is_string());
    assert_eq!(receiver.received().len(), 1);
    // It ends with its event type.
    let removed = server.request("DELETE", "/v1/event-types/incident.created", &[], "");
    assert_eq!(removed.status, 204);
    let last = receiver.wait_for("its last word", 1, |it| it.is_control("terminated"));
    assert_eq!(last[0].json()["error"]["code"], -32023);
    eventually("it is over", || {
        server.get("/v1/webhooks").json()["webhooks"] == json!([])
    });
}

#[test]
fn it_begins_in_the_past_and_ends_by_itself() {
    let (server, receiver) = (delivering(""), Receiver::start());
    let old = publish(&server, &notification("old"));
    let in_a_moment = SystemTime::now() + Duration::from_secs(3);
    let in_a_moment = notification_event::Timestamp::from(in_a_moment).to_string();
    create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"], "since": "all", "expires_at": in_a_moment}),
    );
    eventually("what was before", || receiver.events() == [old.clone()]);
    eventually("it is over", || {
        server.get("/v1/webhooks").json()["webhooks"] == json!([])
    });
}

#[test]
fn what_makes_no_sense_is_refused_by_field() {
    let server = delivering("");
    let url = "https://hooks.example.com/";
    for (body, fields) in [
        (json!({}), vec!["url"]),
        (json!({"url": "http://example.com/"}), vec!["url"]),
        (json!({"url": "https://10.0.0.1/"}), vec!["url"]),
        (
            json!({"url": url, "colour": "red", "secret": "whsec_short"}),
            vec!["secret", "colour"],
        ),
        (json!({"url": url, "topics": "ops"}), vec!["topics"]),
        (
            json!({"url": url, "event_type": "nobody.knows"}),
            vec!["event_type"],
        ),
        (
            json!({"url": url, "event_type": "task.finished", "topics": ["a"]}),
            vec!["event_type"],
        ),
        (json!({"url": url, "arguments": {}}), vec!["arguments"]),
        (
            json!({"url": url, "event_type": "task.finished", "arguments": {"colour": 1}}),
            vec!["arguments.colour"],
        ),
        (
            json!({"url": url, "since": "yesterday", "expires_at": "2020-01-01T00:00:00Z"}),
            vec!["since", "expires_at"],
        ),
        (
            json!({"url": url, "description": "x".repeat(257)}),
            vec!["description"],
        ),
    ] {
        assert_eq!(
            refused(&server.post("/v1/webhooks", &body), 422),
            fields,
            "{body}"
        );
    }
    assert_eq!(server.get("/v1/webhooks").json()["webhooks"], json!([]));
    assert_eq!(server.get("/v1/webhooks/wh_nobody").status, 404);
    assert_eq!(server.get("/v1/webhooks/no.id").status, 422);
    assert_eq!(
        patch(&server, "wh_nobody", &json!({"paused": true})).status,
        404
    );
    assert_eq!(server.get("/v1/webhooks?x=1").status, 400);
}

#[test]
fn only_public_places_are_delivered_to() {
    let receiver = Receiver::start();
    let server = server(&[]);
    let port = receiver.url("").rsplit(':').next().unwrap().to_owned();
    for url in [
        receiver.url("/"),
        format!("https://127.0.0.1:{port}/"),
        format!("https://[::1]:{port}/"),
    ] {
        assert_eq!(
            refused(&server.post("/v1/webhooks", &json!({"url": url})), 422),
            ["url"]
        );
    }
    // A name is looked up when it is connected to.
    let url = format!("https://localhost:{port}/");
    let webhook = create(&server, &json!({"url": url}));
    let test = format!("/v1/webhooks/{}/test", webhook["id"].as_str().unwrap());
    assert_eq!(
        server.post(&test, &json!({})).json()["outcome"],
        "address_blocked"
    );
    assert!(receiver.received().is_empty());
}

#[test]
fn everybody_sees_his_own_and_verifies_where_they_go() {
    let secured = Secured::start("[webhooks]\ndev_allow_loopback = true\n");
    let receiver = Receiver::start();
    let (key, alice) =
        secured.key(&json!({"name": "alice", "allow": ["webhooks", "subscribe:ops/**"]}));
    let bob = secured.allowed("bob", &["webhooks", "subscribe:ops/**"]);
    let admin = Secured::admin();
    let create = |of: &Credential, path: &str, topic: &str| {
        let body = json!({"url": receiver.url(path), "topics": [topic]});
        secured.ask(of, "POST", "/v1/webhooks", Some(&body))
    };
    receiver.answer(|_| response(200, &[], "{\"challenge\": \"wrong\"}"));
    assert_eq!(refused(&create(&alice, "/", "ops/**"), 422), ["url"]);
    receiver.take();
    let created = create(&alice, "/", "ops/**");
    assert_eq!(created.status, 201, "{created:?}");
    let challenges = receiver.wait_for("challenges", 2, |it| it.is_control("verification"));
    assert_eq!(challenges[1].json()["type"], "verification");
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let nothing = json!({});
    for (method, rest) in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate-secret"),
        ("POST", "/test"),
        ("GET", "/attempts"),
        ("GET", "/dead-letters"),
        ("POST", "/dead-letters/redeliver"),
    ] {
        let path = format!("/v1/webhooks/{id}{rest}");
        let answer = secured.ask(&bob, method, &path, Some(&nothing));
        assert_eq!(answer.status, 404, "{method} {rest}");
    }
    let seen =
        |of: &Credential| secured.ask(of, "GET", "/v1/webhooks", None).json()["webhooks"].clone();
    assert_eq!(seen(&bob), json!([]));
    assert_eq!(seen(&admin), seen(&alice));
    assert_eq!(create(&alice, "/", "secret/**").status, 403);
    // What it may read is what it is sent.
    assert_eq!(create(&alice, "/all", "**").status, 201);
    for topic in ["secret/a", "ops/a"] {
        let event = json!({"type": "notification", "message": "m", "topic": topic});
        assert_eq!(
            secured
                .ask(&admin, "POST", "/v1/events", Some(&event))
                .status,
            201
        );
    }
    let is_event = |it: &Received| it.path == "/all" && !it.is_control("verification");
    let received = receiver.wait_for("what it may read", 1, is_event);
    assert_eq!(received[0].json()["topic"], "ops/a");
    // It ends with its key.
    let revoked = secured.ask(&admin, "DELETE", &format!("/v1/keys/{key}"), None);
    assert_eq!(revoked.status, 204);
    let is_last = |it: &Received| it.is_control("terminated");
    let last = receiver.wait_for("last words", 2, is_last);
    assert_eq!(last[0].json()["error"]["code"], -32024);
    eventually("they are over", || seen(&admin) == json!([]));
}

#[test]
fn what_is_secret_is_not_in_the_log_and_not_readable_in_the_file() {
    let (mut server, receiver) = (
        delivering("[logging]\nlevel = \"trace\"\n"),
        Receiver::start(),
    );
    receiver.answer(|_| response(500, &[("X-Says", "answer-header")], "answer-body"));
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let url = receiver.url("/path-secret?token=query-secret");
    let body = json!({"url": url, "topics": ["**"], "secret": secret});
    let webhook = create(&server, &body);
    let id = webhook["id"].as_str().unwrap();
    publish(&server, &notification("m"));
    eventually("it is given up", || {
        get(&server, id, "")["dead_letters"] == 1
    });
    let test = server.post(&format!("/v1/webhooks/{id}/test"), &json!({}));
    let rotated = server.post(&format!("/v1/webhooks/{id}/rotate-secret"), &json!({}));
    let new = rotated.json()["secret"].as_str().unwrap().to_owned();
    let said = format!(
        "{}{}{}",
        test.body,
        get(&server, id, "/attempts"),
        get(&server, id, "/dead-letters")
    );
    let (_, log) = server.stop();
    assert!(log.contains(id) && log.contains("event given up"), "{log}");
    for hidden in [
        &secret[6..],
        &new[6..],
        "path-secret",
        "query-secret",
        "answer-body",
        "answer-header",
    ] {
        assert!(!log.contains(hidden) && !said.contains(hidden), "{hidden}");
    }
    for file in std::fs::read_dir(server.data_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for sealed in [&secret[6..], &new[6..]] {
            let found = bytes
                .windows(sealed.len())
                .any(|window| window == sealed.as_bytes());
            assert!(!found);
        }
    }
}

#[test]
fn what_was_not_taken_before_a_crash_is_sent_after_it_and_nothing_else() {
    const EVENTS: usize = 10_000;
    let (mut server, receiver) = (delivering(""), Receiver::start());
    let webhook = create(
        &server,
        &json!({"url": receiver.url("/"), "topics": ["**"]}),
    );
    let id = webhook["id"].as_str().unwrap().to_owned();
    let events: Vec<_> = (0..EVENTS).map(|n| json!({"type": "notification", "message": format!("m{n}"), "event_id": format!("e{n}")})).collect();
    for batch in events.chunks(1_000) {
        let answer = server.post("/v1/events", &json!(batch));
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    for part in [EVENTS / 10, EVENTS / 2] {
        eventually("a part of it", || receiver.events().len() >= part);
        server.kill();
        // What the server says was taken was.
        server.restart();
    }
    eventually("all of it", || {
        let mut taken = receiver.events();
        taken.sort();
        taken.dedup();
        taken.len() == EVENTS
    });
    eventually("it has its place", || {
        get(&server, &id, "")["dead_letters"] == 0
    });
    // At most what was under way, and a second's worth, is sent twice.
    let twice = receiver.events().len() - EVENTS;
    assert!(twice < EVENTS, "{twice} were sent twice");
}
