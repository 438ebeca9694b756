//! Text that is meant to become a field of a stream, a header or an event of
//! its own. Streams are read as the standard says (WHATWG HTML, section 9.2.6),
//! and whatever this server does not write itself is an error.

use std::fmt::Write as _;
use std::io::{BufReader, Write as _};
use std::net::TcpStream;

use notification_testkit::request;
use serde_json::{Value, json};

use crate::victim::Victim;
use crate::wire::{READERS, Reader, answer, connect, read_answer, read_chunk};

const HOSTILE: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\r",
    "a\n\ndata: {\"type\":\"status\",\"status\":\"closing\"}\n\n",
    "a\r\rdata: {}\r\r",
    "a\nid: 0123abcd-0\n",
    "a\rid:\r",
    "a\nevent: evil",
    "a\nretry: 0\n",
    "a\n: comment\n",
    "data: x",
    "id: 0123abcd-0",
    "event: evil",
    "retry: 0",
    ": comment",
    "data",
    "a\r\nSet-Cookie: evil=1\r\n\r\n<script>alert(1)</script>",
    "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "\0",
    "a\0b",
    "\u{b}\u{c}",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "a\u{2028}data: x\u{2029}\u{2029}",
    "\u{feff}",
    "\u{feff}data: x",
    "\u{202e}",
    "\u{fffe}\u{ffff}",
    "\u{10ffff}",
    "\\n\\u000a\\",
    "\"},{\"",
    "</script>",
    "ä😀",
];

/// A stream of which every byte has to be one that belongs there.
struct Strict {
    connection: BufReader<TcpStream>,
    text: Vec<u8>,
}

impl Strict {
    fn open(victim: &Victim, path: &str, reader: Reader) -> Self {
        let mut writer = connect(victim.address());
        let mut connection = BufReader::new(writer.try_clone().unwrap());
        let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if reader == Reader::Hyper {
            writer.write_all(ask("/healthz").as_bytes()).unwrap();
            assert_eq!(read_answer(&mut connection).unwrap().status, 200);
        }
        writer.write_all(ask(path).as_bytes()).unwrap();
        assert!(read_answer(&mut connection).unwrap().is_stream());
        let text = Vec::new();
        let mut stream = Self { connection, text };
        assert_eq!(stream.next()["status"], "connected");
        stream
    }

    /// The next event's data.
    fn next(&mut self) -> Value {
        loop {
            while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                if let Some(data) = read_block(&block[..=end]) {
                    return data;
                }
            }
            let chunk = read_chunk(&mut self.connection).expect("the stream goes on");
            self.text.extend(chunk);
        }
    }
}

/// The data of an event, if it has any: one line of JSON.
fn read_block(block: &[u8]) -> Option<Value> {
    let block = std::str::from_utf8(block).expect("UTF-8");
    // One would end a line, the other has an id ignored.
    assert!(!block.contains(['\r', '\0']), "{block:?}");
    let mut data = None;
    for line in block.split_terminator('\n') {
        match line.split_once(": ") {
            Some(("data", json)) => {
                assert!(data.is_none(), "{block:?}");
                data = Some(serde_json::from_str(json).expect("one line of JSON"));
            }
            Some(("id", cursor)) => {
                let (epoch, position) = cursor.split_once('-').expect("a cursor");
                assert_eq!(epoch.len(), 8, "{block:?}");
                position.parse::<u64>().expect("a position");
            }
            Some(("retry", ms)) => assert!(ms.parse::<u64>().unwrap() >= 1_000),
            _ => assert_eq!(line, ":", "{block:?}"),
        }
    }
    data
}

/// What every byte is in a query or a path.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02x}").unwrap();
        encoded
    })
}

/// Events with `text` wherever a publisher may write what it likes.
fn events(text: &str) -> [Value; 3] {
    [
        json!({"type": "notification", "message": text, "title": text, "data": {text: [text]}}),
        json!({"type": "event", "name": "n", "title": text, "data": {text: {text: text}}}),
        json!({"type": "progress", "task_id": "t", "task_name": text, "message": text, "data": {text: text}}),
    ]
}

/// That each field of `sent` arrived as it is.
fn assert_arrived(arrived: &Value, sent: &Value) {
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&arrived[name], value, "{sent}");
    }
}

#[test]
fn an_event_is_one_event_whatever_its_publisher_writes() {
    let mut victim = Victim::new();
    let mut streams = READERS.map(|reader| Strict::open(&victim, "/v1/stream", reader));
    let mut sent = Vec::new();
    for text in HOSTILE.iter().copied() {
        for event in events(text) {
            let answer = victim.server().post("/v1/events", &event);
            assert_eq!(answer.status, 201, "{event}: {answer:?}");
            sent.push(event);
        }
        let arguments = json!({"message": text, "title": text, "data": {text: text}});
        let call = json!({"jsonrpc": "2.0", "id": text, "method": "tools/call",
            "params": {"name": "send_notification", "arguments": arguments}});
        let answer = victim.server().post("/mcp", &call);
        assert_eq!(answer.json()["id"], text);
        assert_eq!(answer.json()["result"]["isError"], false, "{answer:?}");
        sent.push(arguments);
        let task = json!({"task_name": text, "message": text, "data": {text: text}});
        let path = format!("/v1/tasks/{}", sent.len());
        let headers = [("Content-Type", "application/json")];
        let body = task.to_string();
        let answer = request(victim.address(), "PUT", &path, &headers, &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        sent.push(task);
        let answer = request(victim.address(), "POST", "/v1/topics/text", &[], text);
        assert_eq!(answer.status, 201, "{answer:?}");
        sent.push(json!({"topic": "text", "message": text}));
    }
    let replays = READERS.map(|reader| Strict::open(&victim, "/v1/stream?since=all", reader));
    for event in &sent {
        assert_arrived(&victim.next(), event);
    }
    for stream in streams
        .iter_mut()
        .chain(&mut replays.into_iter().collect::<Vec<_>>())
    {
        for event in &sent {
            assert_arrived(&stream.next(), event);
        }
    }
    victim.serves_others();
    for stream in &mut streams {
        assert_eq!(
            stream.next()["topic"],
            "bystander",
            "there was nothing else"
        );
    }
}

#[test]
fn a_header_becomes_a_field_or_nothing() {
    let mut victim = Victim::new();
    let mut stream = Strict::open(&victim, "/v1/stream", Reader::First);
    for text in HOSTILE {
        // Lines of their own are headers of their own.
        let text = text.replace(['\r', '\n'], "|");
        for name in [
            "Title",
            "Tags",
            "Type",
            "Priority",
            "Audience",
            "Last-Event-ID",
        ] {
            let bytes = format!(
                "POST /v1/topics/text HTTP/1.1\r\nHost: localhost\r\n{name}: {text}\r\nContent-Length: 1\r\n\r\nm"
            );
            let answer = answer(victim.address(), bytes.as_bytes(), Reader::First);
            if answer.status == 201 {
                let event = stream.next();
                assert_eq!(event["message"], "m");
                match name {
                    "Title" => assert_eq!(event["title"], text),
                    "Tags" => assert_eq!(event["tags"], json!([text])),
                    _ => assert_eq!(name, "Last-Event-ID", "{text:?}"),
                }
                assert_eq!(victim.next(), event);
            } else {
                assert!([400, 422].contains(&answer.status), "{bytes}: {answer:?}");
            }
        }
    }
    victim.serves_others();
    assert_eq!(
        stream.next()["topic"],
        "bystander",
        "there was nothing else"
    );
}

#[test]
fn a_name_has_no_room_for_more() {
    let mut victim = Victim::new();
    for text in HOSTILE {
        for field in [
            "topic",
            "event_id",
            "collapse_key",
            "notification_type",
            "expires_at",
            text,
        ] {
            let mut event = json!({"type": "notification", "message": "m"});
            event[field] = (*text).into();
            let answer = victim.server().post("/v1/events", &event);
            // A word or two of them are names.
            if answer.status == 201 {
                assert_eq!(victim.next()[field], *text);
                continue;
            }
            assert_eq!(answer.status, 422, "{event}: {answer:?}");
        }
        for (field, value) in [
            ("tags", json!([text])),
            ("audience", json!({"clients": [text]})),
            ("audience", json!({"groups": [text, "ops"]})),
            ("type", json!(text)),
            ("priority", json!(text)),
        ] {
            let mut event = json!({"type": "notification", "message": "m", "topic": "named"});
            event[field] = value;
            let answer = victim.server().post("/v1/events", &event);
            match answer.status {
                201 if field == "tags" => assert_eq!(victim.next()["tags"], json!([text])),
                201 => assert_eq!(*text, "data", "{event}"),
                status => assert_eq!(status, 422, "{event}: {answer:?}"),
            }
        }
        let name = json!({"type": "event", "name": text});
        let task = json!({"type": "progress", "task_id": text, "task_name": "T"});
        if *text != "data" {
            for event in [name, task] {
                assert_eq!(victim.server().post("/v1/events", &event).status, 422);
            }
        }
    }
    victim.serves_others();
}

#[test]
fn what_is_asked_is_not_repeated_as_a_header_or_a_line() {
    let mut victim = Victim::new();
    for text in HOSTILE.iter().filter(|text| **text != "data") {
        let encoded = encoded(text);
        for path in [
            format!("/v1/stream?client_id={encoded}"),
            format!("/v1/stream?topic={encoded}"),
            format!("/v1/stream?tag={encoded}"),
            format!("/v1/stream?name={encoded}"),
            format!("/v1/stream?since={encoded}"),
            format!("/v1/stream?last_event_id={encoded}"),
            format!("/v1/stream?{encoded}=1"),
            format!("/mcp?client_id={encoded}"),
            format!("/v1/events?topic={encoded}"),
            format!("/v1/{encoded}"),
            format!("/{encoded}"),
            format!("/v1/clients/{encoded}"),
            format!("/v1/groups/{encoded}"),
        ] {
            for reader in READERS {
                let bytes = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                let refusal = answer(victim.address(), bytes.as_bytes(), reader);
                let is_refused = [400, 404, 422].contains(&refusal.status);
                assert!(is_refused, "{path}: {refusal:?}");
                assert!(!refusal.head.contains("evil"), "{refusal:?}");
                assert_eq!(refusal.json()["status"], refusal.status, "{refusal:?}");
            }
        }
        if !text.contains(['\r', '\n']) {
            let bytes = format!(
                "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {text}\r\n\r\n"
            );
            for reader in READERS {
                let refusal = answer(victim.address(), bytes.as_bytes(), reader);
                assert_eq!(refusal.status, 400, "{bytes}: {refusal:?}");
            }
        }
    }
    victim.is_unharmed();
}
