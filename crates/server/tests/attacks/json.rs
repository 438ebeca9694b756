//! Bodies that are made to exhaust, confuse or break whoever reads them.

use std::fmt::Write;

use notification_testkit::EventStream;
use serde_json::{Value, json};

use crate::victim::Victim;
use crate::wire::{Answer, Reader, answer};

/// The largest body that is read.
const MAX: usize = 1 << 20;

/// Where JSON is taken, and within what: `{}` is where something hostile goes.
const DOORS: [(&str, &str); 5] = [
    (
        "POST /v1/events",
        r#"{"type":"notification","message":"m","data":{"x":{}}}"#,
    ),
    (
        "POST /v1/events",
        r#"[{"type":"event","name":"n","data":{"x":{}}}]"#,
    ),
    ("PUT /v1/tasks/t", r#"{"task_name":"T","data":{"x":{}}}"#),
    ("POST /v1/clients/c/acks", r#"{"event_ids":["e"],"x":{}}"#),
    (
        "POST /mcp",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_notification","arguments":{"message":"m","data":{"x":{}}}}}"#,
    ),
];

fn send(victim: &Victim, line: &str, media_type: &str, body: &[u8]) -> Answer {
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let bytes = [head.as_bytes(), body].concat();
    answer(victim.address(), &bytes, Reader::First)
}

fn send_json(victim: &Victim, line: &str, body: &[u8]) -> Answer {
    send(victim, line, "application/json", body)
}

/// A refusal that is small, in JSON, and repeats little of what was sent.
fn assert_is_refusal(answer: &Answer, of: &str) {
    // MCP answers a call that was read with 200 and an error.
    let is_refused = answer.json()["error"].is_object()
        || answer.json()["result"]["isError"] == true
        || (400..500).contains(&answer.status);
    assert!(is_refused, "{of}: {answer:?}");
    assert!(answer.body.len() < 8_192, "{of}: {}", answer.body.len());
}

fn repeated(text: &str, bytes: usize) -> String {
    text.repeat(bytes / text.len())
}

#[test]
fn depth_exhausts_nobody() {
    let mut victim = Victim::new();
    for deep in [
        repeated("[", MAX),
        repeated("[", 200),
        repeated(r#"{"a":"#, MAX),
        repeated(r#"[{"a":"#, MAX),
        repeated("[", MAX / 2) + &repeated("]", MAX / 2),
        repeated(r#"{"a":"#, MAX / 2) + "1" + &repeated("}", MAX / 12),
    ] {
        let of = &deep[..60];
        for (line, within) in DOORS {
            assert_is_refusal(&send_json(&victim, line, deep.as_bytes()), of);
            let inside = within.replace("{}", &deep[..deep.len().min(MAX - 200)]);
            assert_is_refusal(&send_json(&victim, line, inside.as_bytes()), of);
        }
        let lines = send(
            &victim,
            "POST /v1/events",
            "application/x-ndjson",
            deep.as_bytes(),
        );
        assert_eq!(lines.status, 200);
        assert_eq!(lines.json()["status"], 400, "{of}");
    }
    victim.is_unharmed();
}

/// As deep as it gets, it can be read, stored, replayed and read again.
#[test]
fn what_is_not_too_deep_is_an_event_like_any_other() {
    let mut victim = Victim::new();
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let event = |depth| {
        format!(
            r#"{{"type":"event","name":"deep","data":{{"x":{}}}}}"#,
            nested(depth)
        )
    };
    let is_taken = |victim: &Victim, depth: usize| {
        let answer = send_json(victim, "POST /v1/events", event(depth).as_bytes());
        assert!([201, 422].contains(&answer.status), "{answer:?}");
        answer.status == 201
    };
    let mut depth = 64;
    while is_taken(&victim, depth) {
        assert_eq!(victim.next()["name"], "deep");
        depth += 1;
        assert!(depth < 1_000, "there is a bound");
    }
    let mut replay = EventStream::open(victim.address(), "/v1/stream?since=all", &[]);
    assert_eq!(replay.take(depth - 64).len(), depth - 64);
    replay.close();
    victim.is_unharmed();
}

#[test]
fn size_is_bounded() {
    let mut victim = Victim::new();
    let string = repeated("x", MAX - 200);
    let escapes = repeated(r"\u0041", MAX - 200);
    let spaces = repeated(" ", MAX);
    let keys: String = (0..60_000).fold(String::new(), |mut keys, n| {
        write!(keys, r#""{n:x}":0,"#).unwrap();
        keys
    });
    let objects = repeated("{},", MAX - 2);
    for (large, of) in [
        (format!("\"{string}\""), "a string"),
        (format!("\"{escapes}\""), "escapes"),
        (format!("{{{keys}\"x\":0}}"), "keys"),
        (format!("[{objects}{{}}]"), "objects"),
        (spaces, "spaces"),
        (repeated("1", MAX - 200), "a number"),
        (format!("1e{}", repeated("9", MAX - 200)), "an exponent"),
    ] {
        for (line, within) in DOORS {
            let inside = within.replace("{}", &large);
            assert_is_refusal(&send_json(&victim, line, inside.as_bytes()), of);
        }
    }
    for (line, within) in DOORS {
        let too_large = within.replace("{}", &format!("\"{}\"", repeated("x", 2 * MAX)));
        assert_eq!(send_json(&victim, line, too_large.as_bytes()).status, 413);
    }
    let text = send(
        &victim,
        "POST /v1/topics/t",
        "text/plain",
        string.as_bytes(),
    );
    assert_eq!(text.status, 422);
    victim.is_unharmed();
}

#[test]
fn numbers_beyond_all_bounds_are_refused() {
    let mut victim = Victim::new();
    for number in ["1e999999", "-1e999999", "1e309", "1e99999999999999999999"] {
        for (line, within) in DOORS {
            assert_is_refusal(&send_json(&victim, line, number.as_bytes()), number);
            let inside = within.replace("{}", number);
            assert_is_refusal(&send_json(&victim, line, inside.as_bytes()), number);
        }
    }
    for wrong in [
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        "1.",
        ".5",
        "0x1",
        "1e",
        "--1",
        "1_000",
        "'x'",
        "undefined",
        "// x\n1",
        "/* x */ 1",
        "1,",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "\u{feff}1",
        "\"\t\"",
        "\"\n\"",
        "\"\0\"",
        "\"\\x41\"",
        "\"\\u00\"",
        "\"\\U0041\"",
    ] {
        for (line, within) in DOORS {
            let inside = within.replace("{}", wrong);
            assert_is_refusal(&send_json(&victim, line, inside.as_bytes()), wrong);
        }
    }
    victim.is_unharmed();
}

#[test]
fn text_that_is_none_is_refused() {
    let mut victim = Victim::new();
    for bytes in [
        &b"\"\xff\""[..],
        b"\"\xc0\xae\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf4\x90\x80\x80\"",
        b"\"\xe2\x82\"",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\"\\ud800\\ud800\"",
        b"\"\\udc00\\ud800\"",
        b"\"\\ud800x\"",
        b"{\"\\ud800\": 1}",
    ] {
        let of = bytes.escape_ascii().to_string();
        for (line, within) in DOORS {
            let (before, after) = within.split_once("{}").unwrap();
            let inside = [before.as_bytes(), bytes, after.as_bytes()].concat();
            assert_is_refusal(&send_json(&victim, line, &inside), &of);
        }
    }
    for (line, body) in [
        ("POST /v1/topics/t", &b"\xff\xfe"[..]),
        ("POST /v1/topics/t", b"\xed\xa0\x80"),
        ("POST /v1/topics/%ff", b"m"),
        ("POST /v1/events", b"\xff\xfe{\0}\0"),
        ("POST /mcp", b"\xff\xfe{\0}\0"),
    ] {
        let of = body.escape_ascii().to_string();
        assert_is_refusal(&send_json(&victim, line, body), &of);
    }
    victim.is_unharmed();
}

/// JSON leaves open what a key that comes twice means (RFC 8259, section 4).
/// Here the last counts, for whoever reads it: there is but one event, and its
/// JSON has each key once.
#[test]
fn a_key_that_comes_twice_means_one_thing_to_everybody() {
    let mut victim = Victim::new();
    let event = r#"{"type":"progress","type":"notification","topic":"a","message":"first",
        "data":{"k":1,"k":2},"message":"last","topic":"b","audience":{"clients":["eve"]},"audience":null}"#;
    let answer = send_json(&victim, "POST /v1/events", event.as_bytes());
    if answer.status == 201 {
        let event = victim.next();
        assert_eq!(
            (&event["message"], &event["topic"]),
            (&json!("last"), &json!("b"))
        );
        assert_eq!(event["data"], json!({"k": 2}));
        let log = victim.server().get("/v1/events").body;
        assert!(!log.contains("first"), "{log}");
    } else {
        assert_is_refusal(&answer, event);
    }
    let call = r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list","method":"tools/call","params":{},
        "params":{"name":"get_task","name":"send_notification","arguments":{"message":"first","message":"last"}}}"#;
    let answer = send_json(&victim, "POST /mcp", call.as_bytes()).json();
    assert_eq!(answer["id"], 2, "{answer}");
    assert_eq!(answer["result"]["isError"], Value::Bool(false), "{answer}");
    assert_eq!(victim.next()["message"], "last");
    victim.is_unharmed();
}
