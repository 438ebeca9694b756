//! Who got an event, and who did not, and why.

mod common;
#[path = "common/secured.rs"]
mod secured;

use common::{notification, server, server_with};
use notification_testkit::{EventStream, Receiver, ServerProcess, eventually};
use secured::Secured;
use serde_json::{Value, json};

fn publish(server: &ServerProcess, event: &Value) -> String {
    let answer = server.post("/v1/events", event);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["event_id"].as_str().unwrap().to_owned()
}

fn explain(server: &ServerProcess, event: &str) -> Value {
    let answer = server.get(&format!("/v1/events/{event}/deliveries"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The outcome and the reason of each who is `kind`, by client.
fn fates(explained: &Value, kind: &str) -> Vec<(String, String, String)> {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let recipients = explained["recipients"].as_array().unwrap().iter();
    let of_kind = recipients.filter(|it| it["kind"] == kind);
    let mut fates: Vec<_> = of_kind
        .map(|it| {
            (
                text(&it["client_id"]),
                text(&it["outcome"]),
                text(&it["reason"]),
            )
        })
        .collect();
    fates.sort();
    fates
}

fn fate(client: &str, outcome: &str, reason: &str) -> (String, String, String) {
    (client.to_owned(), outcome.to_owned(), reason.to_owned())
}

fn open(server: &ServerProcess, query: &str) -> EventStream {
    EventStream::open(server.address(), &format!("/v1/stream?{query}"), &[])
}

#[test]
fn open_streams_got_it_or_there_is_a_reason() {
    let server = server(&[]);
    let mut got = open(&server, "client_id=got&topic=ops/**");
    let _filter = open(&server, "client_id=filter&topic=other");
    let _audience = open(&server, "client_id=audience&topic=ops/**");
    let event = json!({"type": "notification", "message": "m", "topic": "ops/a", "audience": {"clients": ["got"]}});
    let event = publish(&server, &event);
    got.take(1);
    let _later = open(&server, "client_id=got&topic=ops/**");
    let mut explained = Value::Null;
    eventually("it is told", || {
        explained = explain(&server, &event);
        explained["outcomes"]["delivered"] == 1
    });
    assert_eq!(
        fates(&explained, "stream"),
        [
            fate("audience", "not_delivered", "audience"),
            fate("filter", "not_delivered", "filter"),
            fate("got", "delivered", ""),
            fate("got", "not_delivered", "came_later"),
        ]
    );
    assert_eq!(explained["topic"], "ops/a");
    assert_eq!(explained["event_id"], *event);
    assert_eq!(
        explained["outcomes"],
        json!({"delivered": 1, "not_delivered": 3})
    );
    let reasons = json!({"audience": 1, "came_later": 1, "filter": 1});
    assert_eq!(explained["reasons"], reasons);
    assert_eq!(explained["omitted"], 0);
    assert_eq!(explained["recipients"][0]["transport"], "sse");
    assert_eq!(server.get("/v1/events/nobody/deliveries").status, 404);
    assert_eq!(
        server
            .get(&format!("/v1/events/{event}/deliveries?x=1"))
            .status,
        400
    );
}

#[test]
fn what_was_superseded_held_back_or_expired_is_said() {
    let server = server(&[]);
    // It reads nothing before all of this has happened.
    let start = publish(&server, &notification("before"));
    let page = server.get("/v1/events?since=all").json();
    assert_eq!(page["events"][0]["event_id"], *start);
    let keyed =
        |message: &str| json!({"type": "notification", "message": message, "collapse_key": "k"});
    let (old, new) = (
        publish(&server, &keyed("old")),
        publish(&server, &keyed("new")),
    );
    let expiring = json!({"type": "notification", "message": "short", "expires_in": 1});
    let expired = publish(&server, &expiring);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let mut stream = open(&server, "client_id=reader&since=all");
    assert_eq!(stream.take(2)[1]["message"], "new");
    let last = publish(&server, &notification("last"));
    stream.take(1);
    eventually("it has passed all", || {
        fates(&explain(&server, &last), "stream") == [fate("reader", "delivered", "")]
    });
    let of = |event: &str| fates(&explain(&server, event), "stream");
    assert_eq!(of(&old), [fate("reader", "not_delivered", "superseded")]);
    assert_eq!(of(&new), [fate("reader", "delivered", "")]);
    assert_eq!(of(&expired), [fate("reader", "not_delivered", "expired")]);
}

#[test]
fn progress_that_a_rate_has_left_out_is_said() {
    let server = server(&[]);
    let mut stream = open(&server, "client_id=slow&max_rate=1");
    let report = |step: u64| {
        let report = json!({"task_name": "Job", "step": step, "total_steps": 50});
        let answer = server.request(
            "PUT",
            "/v1/tasks/job",
            &[("Content-Type", "application/json")],
            &report.to_string(),
        );
        answer.json()["event_id"].as_str().unwrap().to_owned()
    };
    let events: Vec<_> = (1..=20).map(report).collect();
    while stream.next().is_none_or(|it| it.data["step"] != 20) {}
    let of = |event: &String| fates(&explain(&server, event), "stream")[0].clone();
    let fates: Vec<_> = events.iter().map(of).collect();
    assert!(
        fates.contains(&fate("slow", "not_delivered", "rate")),
        "{fates:?}"
    );
    assert!(fates.contains(&fate("slow", "delivered", "")), "{fates:?}");
}

#[test]
fn clients_that_are_away_will_get_it_and_receipts_are_there() {
    let server = server(&[]);
    let durable = "client_id=alice&durable=true&ack=manual";
    let stream = open(&server, durable);
    stream.close();
    eventually("it is away", || {
        server.metric("notification_connections") == 0.0
    });
    let event = json!({"type": "notification", "message": "m", "require_ack": true});
    let event = publish(&server, &event);
    assert_eq!(
        fates(&explain(&server, &event), "client"),
        [fate("alice", "pending", "away")]
    );
    let mut stream = open(&server, durable);
    stream.take(1);
    eventually("it has a receipt", || {
        let explained = explain(&server, &event);
        let alice = explained["recipients"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["kind"] == "client");
        alice.is_some_and(|it| it["outcome"] == "delivered" && it["delivered_at"].is_string())
    });
    let acknowledged = server.post("/v1/clients/alice/acks", &json!({"event_ids": [event]}));
    assert_eq!(acknowledged.status, 200, "{acknowledged:?}");
    let explained = explain(&server, &event);
    assert_eq!(
        fates(&explained, "client"),
        [fate("alice", "acknowledged", "")]
    );
    let bob = open(&server, "client_id=bob&durable=true&topic=other");
    assert!(fates(&explain(&server, &event), "client").contains(&fate(
        "bob",
        "not_delivered",
        "filter"
    )));
    bob.close();
}

#[test]
fn webhooks_have_taken_it_or_given_it_up_or_are_suspended() {
    let server = server_with(
        "[webhooks]\ndev_allow_loopback = true\nretry_delays = [\"1s\"]\nsuspend_after_attempts = 4\n",
    );
    let (good, bad) = (Receiver::start(), Receiver::start());
    bad.answer_with(500);
    let create = |body: Value| {
        server.post("/v1/webhooks", &body).json()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let taking = create(json!({"url": good.url("/"), "topics": ["**"]}));
    let failing = create(json!({"url": bad.url("/"), "topics": ["**"]}));
    let other = create(json!({"url": good.url("/o"), "topics": ["other"]}));
    let paused = create(json!({"url": good.url("/p"), "topics": ["**"]}));
    let json_type = [("Content-Type", "application/json")];
    server.request(
        "PATCH",
        &format!("/v1/webhooks/{paused}"),
        &json_type,
        "{\"paused\": true}",
    );
    let of = |event: &str| {
        let explained = explain(&server, event);
        let find = |id: &String| {
            let recipients = explained["recipients"].as_array().unwrap().iter();
            let found = recipients.clone().find(|it| it["id"] == **id);
            let found = found.unwrap_or_else(|| panic!("{explained}"));
            (
                found["outcome"].as_str().unwrap().to_owned(),
                found["reason"].as_str().unwrap_or_default().to_owned(),
                found["delivered_at"].is_string(),
            )
        };
        [&taking, &failing, &other, &paused].map(find)
    };
    let word = |outcome: &str, reason: &str, at: bool| (outcome.to_owned(), reason.to_owned(), at);
    let first = publish(&server, &notification("one"));
    eventually("it is given up", || of(&first)[1].0 == "given_up");
    let expected = [
        word("delivered", "", true),
        word("given_up", "http_5xx", false),
        word("not_delivered", "filter", false),
        word("pending", "paused", false),
    ];
    assert_eq!(of(&first), expected);
    let second = publish(&server, &notification("two"));
    eventually("it is suspended", || {
        of(&second)[1] == word("pending", "suspended", false) || of(&second)[1].0 == "given_up"
    });
    let third = publish(&server, &notification("three"));
    eventually("it waits", || {
        of(&third)[1] == word("pending", "suspended", false)
    });
}

#[test]
fn only_who_may_see_connections_is_told() {
    let secured = Secured::start("");
    let event = secured.ask(
        &Secured::admin(),
        "POST",
        "/v1/events",
        Some(&json!({"type": "notification", "message": "m", "topic": "dev"})),
    );
    let path = format!(
        "/v1/events/{}/deliveries",
        event.json()["event_id"].as_str().unwrap()
    );
    let reader = secured.allowed("reader", &["subscribe:**"]);
    assert_eq!(secured.ask(&reader, "GET", &path, None).status, 403);
    let operator = secured.allowed("operator", &["connections:read"]);
    // What one may not read is not read to it, either: it is told of those who did.
    assert_eq!(secured.ask(&operator, "GET", &path, None).status, 200);
    let narrow = secured.allowed("narrow", &["subscribe:ops/**"]);
    let _stream = secured.open(&narrow, "/v1/stream?topic=**").unwrap();
    let event = secured.ask(
        &Secured::admin(),
        "POST",
        "/v1/events",
        Some(&json!({"type": "notification", "message": "m", "topic": "dev"})),
    );
    let path = format!(
        "/v1/events/{}/deliveries",
        event.json()["event_id"].as_str().unwrap()
    );
    let explained = secured.ask(&operator, "GET", &path, None).json();
    assert_eq!(explained["reasons"], json!({"no_permission": 1}));
}
