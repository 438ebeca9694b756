//! The open streams, as they are shown and ended over HTTP.

mod common;

use common::{notification, refused, server};
use notification_testkit::{EventStream, Response, ServerProcess, eventually, request};
use serde_json::{Value, json};

fn list(server: &ServerProcess, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("/v1/connections{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["connections"].as_array().unwrap().clone()
}

fn close(server: &ServerProcess, id: &str) -> Response {
    let path = format!("/v1/connections/{id}");
    request(server.address(), "DELETE", &path, &[], "")
}

/// Opens a stream; it, and its id.
fn open(server: &ServerProcess, path: &str) -> (EventStream, String) {
    let mut stream = EventStream::open_unread(server.address(), path, &[]);
    let connected = stream.next().unwrap().data;
    let id = connected["connection_id"].as_str().unwrap().to_owned();
    (stream, id)
}

#[test]
fn the_open_streams_are_listed_with_what_they_asked_for() {
    let server = server(&[]);
    assert_eq!(list(&server, ""), [Value::Null; 0]);
    let (mut plain, first) = open(&server, "/mcp");
    let path = "/v1/stream?client_id=alice&durable=true&ack=manual&max_rate=2.5&topic=ops/**&tag=x";
    let (_alice, second) = open(&server, path);
    server.post("/v1/events", &notification("m"));
    plain.take(1);

    let all = list(&server, "");
    let ids: Vec<_> = all
        .iter()
        .map(|c| c["connection_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [&first, &second]);
    let [plain, alice] = all.try_into().unwrap();
    assert_eq!(
        (&plain["transport"], &plain["filter"]),
        (&json!("sse"), &json!({}))
    );
    assert_eq!(
        (&plain["sent"], &plain["conflated"], &plain["lag"]),
        (&json!(1), &json!(0), &json!(0))
    );
    for absent in ["client_id", "durable", "max_rate"] {
        assert!(plain.get(absent).is_none(), "{plain}");
    }
    let address = plain["remote_address"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert!(plain["since"].is_string(), "{plain}");
    assert_eq!(alice["client_id"], "alice");
    assert_eq!(
        (&alice["durable"], &alice["max_rate"]),
        (&json!("manual"), &json!(2.5))
    );
    assert_eq!(
        alice["filter"],
        json!({"topics": ["ops/**"], "tags": ["x"]})
    );
    assert_eq!(alice["sent"], 0);

    let of_alice = list(&server, "?client_id=alice");
    assert_eq!(of_alice.len(), 1);
    assert_eq!(of_alice[0]["connection_id"], second.as_str());
    assert_eq!(list(&server, "?client_id=bob").len(), 0);
}

#[test]
fn a_stream_that_is_closed_is_told_and_others_go_on() {
    let server = server(&[]);
    let (mut closed, id) = open(&server, "/v1/stream");
    let (mut other, _) = open(&server, "/v1/stream");
    assert_eq!(close(&server, &id).status, 204);
    let last = closed.next().unwrap();
    assert_eq!(
        (&last.data["type"], &last.data["status"]),
        (&json!("status"), &json!("closing"))
    );
    assert_eq!(
        last.data["reason"],
        "this connection was closed by an administrator"
    );
    assert_eq!(closed.next(), None);
    eventually("it is not listed", || list(&server, "").len() == 1);
    assert!(refused(&close(&server, &id), 404).is_empty());
    server.post("/v1/events", &notification("m"));
    assert_eq!(other.take(1)[0]["message"], "m");
}

#[test]
fn a_stream_that_does_not_read_is_closed_too() {
    let server = server(&[]);
    let (mut stalled, id) = open(&server, "/v1/stream");
    // More than all the buffers between the two hold.
    let filler = "x".repeat(4_000);
    for batch in 0..60 {
        let events = (0..100).map(|n| notification(&format!("{} {filler}", batch * 100 + n)));
        let answer = server.post("/v1/events", &events.collect());
        assert_eq!(answer.status, 201);
    }
    eventually("it owes and lags", || {
        let [stalled] = list(&server, "").try_into().unwrap();
        let bytes = stalled["bytes_pending"].as_u64();
        stalled["lag"].as_u64() > Some(0) && (bytes > Some(0) || cfg!(not(target_os = "linux")))
    });
    assert_eq!(close(&server, &id).status, 204);
    eventually("it is not listed", || list(&server, "").is_empty());
    assert_eq!(server.metric("notification_connections"), 0.0);
    // Its end is an end, although it comes in the middle of something.
    while stalled.read() {}
}

#[test]
fn connections_that_are_none_are_refused_by_name() {
    let server = server(&[]);
    let unknown = "6f3ba4a1-6d2e-4c93-9a3f-0e6a4b1f2c3d";
    assert!(refused(&close(&server, unknown), 404).is_empty());
    for wrong in [
        "x",
        "..",
        "6F3BA4A1-6D2E-4C93-9A3F-0E6A4B1F2C3D",
        "%0A",
        &"0".repeat(1_000),
    ] {
        assert_eq!(
            refused(&close(&server, wrong), 422),
            ["connection_id"],
            "{wrong}"
        );
    }
    let force = format!("{unknown}?force=1");
    assert_eq!(refused(&close(&server, &force), 400), ["force"]);
    let check = |query: &str, fields: &[&str]| {
        let path = format!("/v1/connections?{query}");
        assert_eq!(refused(&server.get(&path), 400), fields);
    };
    check("client_id=a%20b", &["client_id"]);
    check("client_id=a&client_id=b", &["client_id"]);
    check("client=a", &["client"]);
}
