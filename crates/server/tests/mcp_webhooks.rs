//! Webhooks of MCP's extension for events (SEP-3415): each test names the section
//! whose rules it holds the server to.

#[path = "common/mod.rs"]
mod common;
#[path = "common/modern.rs"]
mod modern;
#[path = "common/secured.rs"]
mod secured;
#[path = "common/session.rs"]
mod session;

use std::time::{Duration, SystemTime};

use common::server;
use modern::Modern;
use notification_event::Timestamp;
use notification_testkit::{Received, Receiver, eventually, response};
use notification_webhook::Secret;
use secured::{Credential, Secured};
use serde_json::{Value, json};
use session::Client;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const QUICK: &str =
    "[webhooks]\ndev_allow_loopback = true\nretry_delays = [\"1s\"]\ntimeout_seconds = 1\n";

/// A server with the event type `incident.created`, and a client of it.
struct Site {
    secured: Secured,
    client: Credential,
    receiver: Receiver,
}

impl Site {
    fn start(settings: &str) -> Self {
        let secured = Secured::start(settings);
        let client = secured.allowed("agent", &["webhooks", "subscribe:**"]);
        let site = Self {
            secured,
            client,
            receiver: Receiver::start(),
        };
        site.declare("", &incident());
        site
    }

    fn declare(&self, query: &str, declaration: &Value) {
        let path = format!("/v1/event-types/incident.created{query}");
        let admin = Secured::admin();
        let declared = self.secured.ask(&admin, "PUT", &path, Some(declaration));
        assert!(matches!(declared.status, 200 | 201), "{declared:?}");
    }

    fn ask_as(&self, of: &Credential, method: &str, params: Value) -> Value {
        let request = Modern::new(method, params);
        let (headers, body) = (request.headers(), request.body.to_string());
        let answer = self.secured.send(of, "POST", "/mcp", &headers, &body);
        answer.message()
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        self.ask_as(&self.client, method, params)
    }

    fn subscribe(&self, params: Value) -> Value {
        let answer = self.ask("events/subscribe", params);
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        answer["result"].clone()
    }

    fn error(&self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        assert!(answer["error"].is_object(), "{answer}");
        answer["error"].clone()
    }

    /// What a subscription to the receiver asks for.
    fn wanted(&self, path: &str) -> Value {
        let url = self.receiver.url(path);
        let delivery = json!({"mode": "webhook", "url": url, "secret": SECRET});
        json!({"name": "incident.created", "arguments": {}, "delivery": delivery})
    }

    fn happen(&self, severity: u64) -> String {
        let event = json!({
            "type": "event", "name": "incident.created", "data": {"severity": severity},
        });
        let admin = Secured::admin();
        let published = self.secured.ask(&admin, "POST", "/v1/events", Some(&event));
        assert_eq!(published.status, 201, "{published:?}");
        published.json()["event_id"].as_str().unwrap().to_owned()
    }

    fn count(&self, kind: &str) -> usize {
        let received = self.receiver.received();
        received.iter().filter(|it| it.is_control(kind)).count()
    }
}

fn incident() -> Value {
    json!({
        "payload_schema": {
            "type": "object", "required": ["severity"],
            "properties": {"severity": {"type": "integer"}, "service": {"type": "string"}},
        },
        "arguments": {"severity": "min", "service": "glob"},
    })
}

fn with(mut params: Value, field: &str, value: Value) -> Value {
    params[field] = value;
    params
}

fn is_signed(received: &Received, secret: &str) -> bool {
    let secret: Secret = secret.parse().unwrap();
    let timestamp = received.header("webhook-timestamp").unwrap().parse();
    let id = received.header("webhook-id").unwrap();
    let signature = secret.sign(id, timestamp.unwrap(), &received.body);
    let signatures = received.header("webhook-signature").unwrap();
    signatures.split(' ').any(|it| it == signature)
}

fn is_event(received: &Received) -> bool {
    let id = received.header("webhook-id");
    id.is_some_and(|id| !id.starts_with("msg_"))
}

fn in_millis(text: &Value) -> i64 {
    let time: Timestamp = text.as_str().unwrap().parse().unwrap();
    time.as_millis() - Timestamp::from(SystemTime::now()).as_millis()
}

#[test]
fn webhook_based_delivery() {
    let site = Site::start(QUICK);
    let listed = site.ask("events/list", json!({}));
    let listed = listed["result"]["events"].as_array().unwrap();
    let listed = listed
        .iter()
        .find(|it| it["name"] == "incident.created")
        .unwrap();
    assert_eq!(listed["delivery"], json!(["poll", "push", "webhook"]));
    let wanted = with(site.wanted("/hook"), "arguments", json!({"severity": 3}));
    let granted = site.subscribe(wanted);
    let id = granted["id"].as_str().unwrap();
    assert_eq!(granted["truncated"], false);
    assert!(granted["cursor"].is_string() && granted.get("deliveryStatus").is_none());
    assert!(in_millis(&granted["refreshBefore"]) > 0);
    site.happen(1);
    let events = [site.happen(3), site.happen(4)];
    let received = site.receiver.wait_for("both", 2, is_event);
    for (event, received) in events.iter().zip(&received) {
        let occurrence = received.json();
        assert_eq!(occurrence["eventId"], **event);
        assert_eq!(received.header("webhook-id"), Some(&**event));
        assert_eq!(received.header("x-mcp-subscription-id"), Some(id));
        assert!(is_signed(received, SECRET));
        assert_eq!(occurrence["name"], "incident.created");
        assert!(occurrence["cursor"].is_string());
    }
    // The same events, by another way.
    let polled = site.ask("events/poll", json!({"name": "incident.created", "arguments": {"severity": 3}, "cursor": granted["cursor"]}));
    let polled: Vec<_> = polled["result"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["eventId"].clone())
        .collect();
    assert_eq!(polled, events.map(Value::from));
}

/// "Webhook-Based Delivery", the cursor of a delivery is a watermark.
#[test]
fn a_cursor_does_not_pass_what_was_not_taken() {
    let site = Site::start(QUICK);
    let mut failing = None;
    site.receiver.answer(move |received| {
        let id = received.header("webhook-id").unwrap_or_default().to_owned();
        match received.is_control("verification") {
            true => {
                let challenge = &received.json()["challenge"];
                response(200, &[], &json!({"challenge": challenge}).to_string())
            }
            false if *failing.get_or_insert_with(|| id.clone()) == id => response(500, &[], ""),
            false => response(200, &[], ""),
        }
    });
    let granted = site.subscribe(site.wanted("/"));
    let first = site.happen(1);
    site.receiver.wait_for("the first", 1, |it| {
        it.header("webhook-id") == Some(&*first)
    });
    let second = site.happen(2);
    let received = site.receiver.wait_for("the second", 1, |it| {
        it.header("webhook-id") == Some(&*second)
    });
    let position = |cursor: &Value| -> u64 {
        let (_, position) = cursor.as_str().unwrap().split_once('-').unwrap();
        position.parse().unwrap()
    };
    let since = json!({"name": "incident.created", "cursor": granted["cursor"]});
    let polled = site.ask("events/poll", since)["result"]["events"].clone();
    assert_eq!(polled[0]["eventId"], *first);
    let watermark = position(&received[0].json()["cursor"]);
    assert!(watermark >= position(&granted["cursor"]));
    assert!(watermark < position(&polled[0]["cursor"]));
    // Given up is seen to.
    site.receiver.wait_for("the first again", 2, |it| {
        it.header("webhook-id") == Some(&*first)
    });
    eventually("the cursor moves on", || {
        let third = site.happen(3);
        let is_third = |it: &Received| it.header("webhook-id") == Some(&*third);
        let received = site.receiver.wait_for("the third", 1, is_third);
        position(&received[0].json()["cursor"]) >= position(&polled[0]["cursor"])
    });
}

#[test]
fn subscription_identity() {
    let mut site = Site::start(QUICK);
    let id = |site: &Site, wanted: Value| site.subscribe(wanted)["id"].clone();
    let both = json!({"severity": 3, "service": "api"});
    let turned = json!({"service": "api", "severity": 3});
    let one = id(&site, with(site.wanted("/"), "arguments", both.clone()));
    assert_eq!(id(&site, with(site.wanted("/"), "arguments", turned)), one);
    let others = [
        id(&site, site.wanted("/")),
        id(
            &site,
            with(site.wanted("/"), "name", "task.finished".into()),
        ),
        id(&site, with(site.wanted("/2"), "arguments", both.clone())),
    ];
    let other_client = site.secured.allowed("other", &["webhooks", "subscribe:**"]);
    let wanted = with(site.wanted("/"), "arguments", both.clone());
    let of_other = site.ask_as(&other_client, "events/subscribe", wanted.clone());
    let all = [&others[..], &[of_other["result"]["id"].clone()]].concat();
    assert!(all.iter().all(|other| other.is_string() && *other != one));
    site.secured.server.kill();
    site.secured.server.restart();
    assert_eq!(id(&site, wanted.clone()), one);
    // It is no input.
    let error = site.error("events/subscribe", with(wanted, "id", one));
    assert_eq!(error["code"], -32602);
}

/// "Webhook-Based Delivery", who may subscribe.
#[test]
fn only_who_says_who_he_is_may_subscribe() {
    let open = server(&[]);
    let delivery = json!({"mode": "webhook", "url": "https://example.com/", "secret": SECRET});
    let wanted = json!({"name": "task.finished", "delivery": delivery});
    let answer = Modern::new("events/subscribe", wanted.clone())
        .ask(&open)
        .message();
    assert_eq!(answer["error"]["code"], -32024, "{answer}");
    let sketch = common::server_with("[events]\nerror_codes = \"sketch\"\n");
    let answer = Modern::new("events/subscribe", wanted)
        .ask(&sketch)
        .message();
    assert_eq!(answer["error"]["code"], -32012, "{answer}");
    let site = Site::start(QUICK);
    for (name, allow) in [("reader", "subscribe:**"), ("stranger", "webhooks")] {
        let somebody = site.secured.allowed(name, &[allow]);
        let answer = site.ask_as(&somebody, "events/subscribe", site.wanted("/"));
        assert_eq!(answer["error"]["code"], -32024, "{answer}");
    }
    assert!(site.receiver.received().is_empty());
}

#[test]
fn invalid_params() {
    let site = Site::start(QUICK);
    let delivery =
        |url: &str, secret: &str| json!({"mode": "webhook", "url": url, "secret": secret});
    let url = site.receiver.url("/");
    for (params, field) in [
        (
            with(
                site.wanted("/"),
                "delivery",
                delivery("http://example.com/", SECRET),
            ),
            "delivery.url",
        ),
        (
            with(
                site.wanted("/"),
                "delivery",
                delivery("https://169.254.169.254/", SECRET),
            ),
            "delivery.url",
        ),
        (
            with(
                site.wanted("/"),
                "delivery",
                delivery(&url, "whsec_c2hvcnQ="),
            ),
            "delivery.secret",
        ),
        (
            with(site.wanted("/"), "delivery", delivery(&url, "secret")),
            "delivery.secret",
        ),
        (
            with(
                site.wanted("/"),
                "delivery",
                json!({"mode": "push", "url": url, "secret": SECRET}),
            ),
            "delivery.mode",
        ),
        (
            with(
                site.wanted("/"),
                "delivery",
                json!({"mode": "webhook", "secret": SECRET}),
            ),
            "delivery.url",
        ),
        (json!({"name": "incident.created"}), "delivery"),
        (with(site.wanted("/"), "ttlMs", json!("soon")), "ttlMs"),
        (
            with(site.wanted("/"), "arguments", json!({"colour": 1})),
            "arguments.colour",
        ),
        (with(site.wanted("/"), "colour", json!("red")), "colour"),
    ] {
        let error = site.error("events/subscribe", params.clone());
        assert_eq!(error["code"], -32602, "{params} {error}");
        assert_eq!(error["data"]["errors"][0]["field"], field, "{error}");
        assert!(!error.to_string().contains("c2hvcnQ="), "{error}");
    }
    let error = site.error(
        "events/subscribe",
        with(site.wanted("/"), "name", "nobody".into()),
    );
    assert_eq!(
        (&error["code"], &error["data"]["kind"]),
        (&json!(-32023), &json!("event"))
    );
    site.declare(
        "?breaking=true",
        &with(incident(), "delivery", json!(["poll"])),
    );
    let error = site.error("events/subscribe", site.wanted("/"));
    assert_eq!(error["code"], -32026);
    assert_eq!(
        error["data"],
        json!({"feature": "delivery", "value": "webhook"})
    );
    assert!(site.receiver.received().is_empty());
}

#[test]
fn endpoint_verification() {
    let settings = format!("{QUICK}allowed_receivers = [\"http://127.0.0.1\"]\n");
    assert!(Site::try_settings(&settings).contains("allowed_receivers"));
    let site = Site::start(QUICK);
    let refusals: [(u16, &str, &str); 4] = [
        (200, "{\"challenge\": \"wrong\"}", "challenge_failed"),
        (200, "what?", "challenge_failed"),
        (404, "secret", "http_4xx"),
        (500, "secret", "http_5xx"),
    ];
    for (status, body, reason) in refusals {
        site.receiver.answer(move |_| response(status, &[], body));
        let error = site.error("events/subscribe", site.wanted("/"));
        assert_eq!(error["code"], -32027, "{error}");
        assert_eq!(error["data"]["reason"], reason, "{error}");
        assert!(!error.to_string().contains("secret"));
    }
    site.receiver.answer(|_| Vec::new());
    assert_eq!(
        site.error("events/subscribe", site.wanted("/"))["data"]["reason"],
        "timeout"
    );
    assert!(
        site.receiver
            .received()
            .iter()
            .all(|it| !is_event(it) || it.method == "GET")
    );
    // A document at its place speaks for it.
    site.receiver.answer(|received| match &*received.path {
        "/.well-known/mcp-webhook-receiver.json" => {
            response(200, &[], "{\"receivers\": [\"/hooks/\"]}")
        }
        _ => response(204, &[], ""),
    });
    assert_eq!(
        site.error("events/subscribe", site.wanted("/other"))["code"],
        -32027
    );
    site.subscribe(site.wanted("/hooks/one"));
    // Once is enough, for one client and one address.
    site.receiver.take();
    site.subscribe(site.wanted("/"));
    let challenges = site.count("verification");
    site.subscribe(with(site.wanted("/"), "arguments", json!({"severity": 1})));
    assert_eq!(site.count("verification"), challenges);
    site.subscribe(site.wanted("/another"));
    assert_eq!(site.count("verification"), challenges + 1);
    let challenge = site
        .receiver
        .received()
        .into_iter()
        .rev()
        .find(|it| it.is_control("verification"));
    let challenge = challenge.unwrap();
    assert!(is_signed(&challenge, SECRET) && challenge.header("x-mcp-subscription-id").is_some());
    // Those who are allowed are not asked.
    let settings = format!(
        "{QUICK}allowed_receivers = [\"{}\"]\n",
        site.receiver.url("/")
    );
    let allowed = Site::start(&settings);
    let wanted = site.wanted("/allowed");
    let before = site.count("verification");
    assert!(allowed.ask("events/subscribe", wanted)["result"]["id"].is_string());
    assert_eq!(site.count("verification"), before);
}

impl Site {
    /// What a server says that does not start with these settings.
    fn try_settings(settings: &str) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, settings.as_bytes()).unwrap();
        let mut command = std::process::Command::new(common::BINARY);
        command.arg("--config").arg(file.path());
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

/// "Verification", it is rate-limited for each destination.
#[test]
fn one_place_is_not_asked_without_end() {
    let site = Site::start(QUICK);
    site.receiver.answer(|_| response(404, &[], ""));
    let codes: Vec<_> = (0..40)
        .map(|n| site.error("events/subscribe", site.wanted(&format!("/{n}")))["code"].clone())
        .collect();
    assert_eq!(codes[0], -32027);
    assert_eq!(codes[39], -32025, "{codes:?}");
}

#[test]
fn time_to_live() {
    let settings = format!("{QUICK}subscription_min_seconds = 3\nsubscription_max_seconds = 100\n");
    let mut site = Site::start(&settings);
    let granted = |site: &Site, ttl: Value| {
        site.subscribe(with(site.wanted("/"), "ttlMs", ttl))["refreshBefore"].clone()
    };
    // Whatever is suggested is taken.
    assert!((1_000..=3_000).contains(&in_millis(&granted(&site, json!(0)))));
    let suggested = in_millis(&granted(&site, json!(50_000)));
    assert!((40_000..=50_000).contains(&suggested), "{suggested}");
    assert!(in_millis(&granted(&site, json!(1_000_000_000))) <= 100_000);
    assert!(granted(&site, Value::Null).is_null());
    // For ever is also after a restart, without another verification.
    site.secured.server.kill();
    site.secured.server.restart();
    let challenges = site.count("verification");
    let event = site.happen(1);
    eventually("it is still sent", || {
        site.receiver.events().contains(&event)
    });
    assert!(granted(&site, Value::Null).is_null());
    assert_eq!(site.count("verification"), challenges);
    // One that is not refreshed ends, and says nothing.
    granted(&site, json!(3_000));
    let seen = || {
        let listed = site
            .secured
            .ask(&Secured::admin(), "GET", "/v1/webhooks", None);
        listed.json()["webhooks"].as_array().unwrap().len()
    };
    assert_eq!(seen(), 1);
    eventually("it ends", || seen() == 0);
    assert_eq!(site.count("terminated"), 0);
}

#[test]
fn refresh_and_rotation() {
    let site = Site::start(QUICK);
    let first = site.subscribe(site.wanted("/"));
    let before = site.happen(1);
    eventually("it is taken", || site.receiver.events() == [before.clone()]);
    // A cursor of the past does not rewind what lives.
    let mut again = with(site.wanted("/"), "cursor", first["cursor"].clone());
    again["delivery"]["secret"] = OTHER.into();
    let refreshed = site.subscribe(again);
    assert_eq!(refreshed["id"], first["id"]);
    assert_ne!(refreshed["cursor"], first["cursor"]);
    let status = &refreshed["deliveryStatus"];
    assert_eq!(status["active"], true, "{refreshed}");
    assert!(status["lastDeliveryAt"].is_string());
    let event = site.happen(2);
    let received = site.receiver.wait_for("the other", 1, |it| {
        it.header("webhook-id") == Some(&*event)
    });
    assert!(is_signed(&received[0], SECRET) && is_signed(&received[0], OTHER));
    assert_eq!(site.receiver.events(), [before, event]);
}

#[test]
fn delivery_status_and_suspension_and_gap() {
    let settings = format!("{QUICK}suspend_after_attempts = 2\n[retention]\nmax_events = 10\n");
    let site = Site::start(&settings);
    site.subscribe(site.wanted("/"));
    site.receiver.answer_with(500);
    site.happen(1);
    let subscribed = || {
        site.secured
            .ask(&Secured::admin(), "GET", "/v1/webhooks", None)
            .json()
    };
    eventually("it is suspended", || {
        subscribed()["webhooks"][0]["state"] == "suspended"
    });
    for _ in 0..100 {
        site.happen(2);
    }
    site.receiver.take();
    let page = || {
        site.secured
            .ask(
                &Secured::admin(),
                "GET",
                "/v1/events?since=all&limit=1000",
                None,
            )
            .json()
    };
    eventually("the oldest are gone", || {
        page()["events"].as_array().unwrap().len() <= 20
    });
    let refreshed = site.subscribe(site.wanted("/"));
    let status = &refreshed["deliveryStatus"];
    assert_eq!(status["active"], false, "{refreshed}");
    assert_eq!(status["lastError"], "http_5xx");
    assert!(status["failedSince"].is_string());
    let gap = site
        .receiver
        .wait_for("that events are missing", 1, |it| it.is_control("gap"));
    assert!(gap[0].json()["cursor"].is_string() && is_signed(&gap[0], SECRET));
    let event = site.happen(3);
    eventually("it goes on", || site.receiver.events().contains(&event));
    let status = site.subscribe(site.wanted("/"))["deliveryStatus"].clone();
    assert_eq!(status["active"], true, "{status}");
}

#[test]
fn unsubscribing() {
    let site = Site::start(QUICK);
    site.subscribe(site.wanted("/"));
    let url = site.receiver.url("/");
    let wanted = json!({"name": "incident.created", "arguments": {}, "delivery": {"url": url}});
    for _ in 0..2 {
        let answer = site.ask("events/unsubscribe", wanted.clone());
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    }
    site.happen(1);
    std::thread::sleep(Duration::from_millis(300));
    assert!(site.receiver.events().is_empty());
    let of_client =
        json!({"name": "incident.created", "delivery": {"mode": "webhook", "url": url}});
    let answer = site.ask("events/unsubscribe", of_client);
    assert!(answer["result"].is_object(), "{answer}");
    let error = site.error("events/unsubscribe", json!({"name": "incident.created"}));
    assert_eq!(error["code"], -32602);
}

/// "Event type evolution".
#[test]
fn a_subscription_ends_with_what_it_relies_on() {
    let site = Site::start(QUICK);
    let id = site.subscribe(site.wanted("/"))["id"].clone();
    let mut more = incident();
    more["payload_schema"]["properties"]["host"] = json!({"type": "string"});
    site.declare("", &more);
    let event = site.happen(1);
    eventually("what only adds ends nothing", || {
        site.receiver.events() == [event.clone()]
    });
    let mut other = incident();
    other["payload_schema"]["properties"]["severity"] = json!({"type": "string"});
    site.declare("?breaking=true", &other);
    let last = site
        .receiver
        .wait_for("its end", 1, |it| it.is_control("terminated"));
    let error = &last[0].json()["error"];
    assert_eq!(error["code"], -32026);
    assert_eq!(
        error["data"],
        json!({"feature": "payloadSchema", "reason": "schema_changed"})
    );
    assert_eq!(last[0].header("x-mcp-subscription-id"), id.as_str());
    assert!(is_signed(&last[0], SECRET));
    site.subscribe(site.wanted("/"));
    let path = "/v1/event-types/incident.created";
    let removed = site.secured.ask(&Secured::admin(), "DELETE", path, None);
    assert_eq!(removed.status, 204);
    let last = site
        .receiver
        .wait_for("its end", 2, |it| it.is_control("terminated"));
    let error = &last[1].json()["error"];
    assert_eq!(
        (&error["code"], &error["data"]),
        (&json!(-32023), &json!({"kind": "event"}))
    );
}

/// "Errors", `ResourceExhausted`.
#[test]
fn there_are_only_so_many() {
    let site = Site::start(&format!("{QUICK}max = 20\n"));
    site.subscribe(site.wanted("/1"));
    site.subscribe(site.wanted("/2"));
    let error = site.error("events/subscribe", site.wanted("/3"));
    assert_eq!(error["code"], -32025);
    assert_eq!(error["data"], json!({"limit": "subscriptions", "max": 2}));
    site.subscribe(site.wanted("/2"));
}

/// "Cursors": where it begins, and what is too old.
#[test]
fn a_subscription_begins_where_it_is_told() {
    let site = Site::start(QUICK);
    let now = site.ask(
        "events/poll",
        json!({"name": "incident.created", "cursor": null}),
    );
    let cursor = now["result"]["cursor"].clone();
    let event = site.happen(1);
    site.subscribe(with(site.wanted("/1"), "cursor", cursor.clone()));
    eventually("what was before", || {
        site.receiver.events() == [event.clone()]
    });
    std::thread::sleep(Duration::from_millis(20));
    let mut recent = with(site.wanted("/2"), "cursor", cursor);
    recent["maxAgeMs"] = 1.into();
    let granted = site.subscribe(recent);
    assert_eq!(granted["truncated"], true);
    let granted = site.subscribe(with(site.wanted("/3"), "cursor", "not one of ours".into()));
    assert_eq!(granted["truncated"], true);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(site.receiver.events().len(), 1);
}

/// What only its client changes can be paused and ended by others.
#[test]
fn an_administrator_may_stop_a_subscription_and_not_bend_it() {
    let site = Site::start(QUICK);
    let id = site.subscribe(site.wanted("/"))["id"].clone();
    let path = format!("/v1/webhooks/{}", id.as_str().unwrap());
    let ask = |method: &str, rest: &str, body: &Value| {
        let path = format!("{path}{rest}");
        site.secured
            .ask(&Secured::admin(), method, &path, Some(body))
            .status
    };
    assert_eq!(
        ask("PATCH", "", &json!({"url": site.receiver.url("/2")})),
        409
    );
    assert_eq!(ask("PATCH", "", &json!({"topics": ["a"]})), 409);
    assert_eq!(ask("POST", "/rotate-secret", &json!({})), 409);
    assert_eq!(ask("PATCH", "", &json!({"paused": true})), 200);
    let event = site.happen(1);
    let status = site.subscribe(site.wanted("/"))["deliveryStatus"].clone();
    assert_eq!(status["active"], false);
    assert!(site.receiver.events().is_empty());
    assert_eq!(ask("PATCH", "", &json!({"paused": false})), 200);
    eventually("it is sent then", || {
        site.receiver.events() == [event.clone()]
    });
    assert_eq!(ask("DELETE", "", &json!({})), 204);
}

/// Clients that begin with `initialize` subscribe, too.
#[test]
fn in_a_session() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), QUICK).unwrap();
    let server = server(&["--config", file.path().to_str().unwrap()]);
    let receiver = Receiver::start();
    let client = Client::connect(&server, "2025-11-25");
    let delivery = json!({"mode": "webhook", "url": receiver.url("/"), "secret": SECRET});
    let wanted = json!({"name": "notification.sent", "delivery": delivery});
    let answer = client.ask("events/subscribe", wanted).json();
    assert!(answer["result"]["id"].is_string(), "{answer}");
    server.post("/v1/events", &common::notification("hello"));
    let received = receiver.wait_for("it", 1, is_event);
    assert_eq!(received[0].json()["data"]["message"], "hello");
    assert!(received[0].json().get("type").is_none());
}
