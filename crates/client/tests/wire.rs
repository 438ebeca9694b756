//! The cases that all clients have in common: `spec/`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use notification_client::{
    Client, Error, Item, Refusal, RefusalKind, SseParser, StreamOptions, backoff,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn spec(name: &str) -> Value {
    let path = format!("{}/../../spec/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn cases(name: &str) -> Vec<Value> {
    match spec(name) {
        Value::Array(cases) => cases,
        mut object => object["cases"].as_array_mut().unwrap().clone(),
    }
}

fn strings(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[test]
fn sse() {
    for case in cases("sse") {
        let mut parser = SseParser::default();
        let chunks = strings(&case["chunks"]).into_iter().map(String::into_bytes);
        let chunks = chunks.chain(
            strings(&case["chunks_hex"])
                .into_iter()
                .map(|it| unhex(&it)),
        );
        let mut read = Vec::new();
        for chunk in chunks {
            parser.push(&chunk);
            while let Some(message) = parser.next_message() {
                read.push(String::from_utf8(message.data).unwrap());
            }
        }
        assert_eq!(json!(read), case["messages"], "{}", case["name"]);
        let id = json!(parser.last_event_id());
        assert_eq!(id, case["last_event_id"], "{}", case["name"]);
        let retry = json!(parser.retry().map(|it| it.as_millis() as u64));
        assert_eq!(retry, case["retry"], "{}", case["name"]);
    }
}

#[test]
fn query() {
    for case in cases("query") {
        let of = &case["options"];
        let text = |name: &str| of[name].as_str().map(str::to_owned);
        let flag = |name: &str| of[name].as_bool().unwrap_or_default();
        let options = StreamOptions {
            topics: strings(&of["topics"]),
            types: strings(&of["types"]),
            names: strings(&of["names"]),
            min_priority: of["min_priority"].as_u64().map(|it| it as u8),
            tags: strings(&of["tags"]),
            client_id: text("client_id"),
            durable: flag("durable"),
            ack: text("ack"),
            since: text("since"),
            snapshot: flag("snapshot"),
            max_rate: of["max_rate"].as_f64(),
            last_event_id: None,
        };
        assert_eq!(json!(options.path()), case["path"], "{}", case["name"]);
    }
}

#[test]
fn waits() {
    for case in cases("backoff") {
        let failures = case["failures"].as_u64().unwrap() as u32;
        let retry = case["retry"].as_u64().map(Duration::from_millis);
        let after = case["retry_after"].as_u64().map(Duration::from_secs);
        let wait = backoff(failures, retry, after, case["random"].as_f64().unwrap());
        assert_eq!(json!(wait.as_millis() as u64), case["wait"], "{case}");
    }
}

fn kind(of: RefusalKind) -> &'static str {
    match of {
        RefusalKind::Refused => "refused",
        RefusalKind::Unauthorized => "unauthorized",
        RefusalKind::Unavailable => "unavailable",
    }
}

#[test]
fn problems() {
    for case in cases("problems") {
        let status = case["status"].as_u64().unwrap() as u16;
        let retry_after = case["headers"]["retry-after"].as_str();
        let body = case["body"].as_str().unwrap().as_bytes();
        let is = Refusal::read(status, retry_after, body);
        let fields: Vec<_> = is.fields.iter().map(|it| &it.field).collect();
        let error = json!({
            "kind": kind(is.kind()), "status": is.status, "detail": is.detail, "fields": fields,
            "retry_after": is.retry_after.map(|it| it.as_secs()),
        });
        assert_eq!(error, case["error"], "{}", case["name"]);
    }
}

/// A server that answers one connection after the other as a case says.
struct Script {
    case: Value,
    requests: Mutex<Vec<Value>>,
}

impl Script {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(self.clone().answer(socket));
        }
    }

    async fn answer(self: Arc<Self>, mut socket: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let mut asked = json!({});
        for line in String::from_utf8(head).unwrap().lines() {
            if let Some((name, value)) = line.split_once(": ") {
                match &*name.to_lowercase() {
                    "last-event-id" => asked["last_event_id"] = value.into(),
                    "authorization" => asked["authorization"] = value.into(),
                    _ => {}
                }
            }
        }
        let at = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(asked);
            requests.len() - 1
        };
        let connections = self.case["connections"].as_array().unwrap();
        let other = json!({"body": ":\n\n"});
        let connection = connections.get(at).unwrap_or(&other);
        let status = connection["status"].as_u64().unwrap_or(200);
        let stream = json!({"content-type": "text/event-stream"});
        let headers = connection.get("headers").unwrap_or(&stream);
        let mut answer = format!("HTTP/1.1 {status} It\r\nConnection: close\r\n");
        for (name, value) in headers.as_object().unwrap() {
            answer += &format!("{name}: {}\r\n", value.as_str().unwrap());
        }
        answer += &format!("\r\n{}", connection["body"].as_str().unwrap());
        socket.write_all(answer.as_bytes()).await.unwrap();
        // The last one stays open: a client that wants no more closes it.
        let is_last = at + 1 >= connections.len() && status == 200;
        if is_last && self.case["expect"].get("error").is_none() {
            let _ = socket.read_u8().await;
        }
    }
}

#[tokio::test]
async fn streams() {
    for case in cases("streams") {
        let name = case["name"].as_str().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Script {
            case: case.clone(),
            requests: Mutex::default(),
        });
        let serving = tokio::spawn(script.clone().serve(listener));
        let left = strings(&case["credentials"]);
        let client = match &left[..] {
            [] => Client::new(&server).unwrap(),
            [one] => Client::with_key(&server, one).unwrap(),
            _ => {
                let left = Mutex::new(left.into_iter());
                let next = move || {
                    let next = left.lock().unwrap().next();
                    async move { next.ok_or("there is no other") }
                };
                Client::with_credentials(&server, next).unwrap()
            }
        };
        let mut stream = client.stream(StreamOptions::default());
        let expected = &case["expect"];
        let wanted = strings(&expected["items"]);
        let mut items = Vec::new();
        let error = loop {
            if items.len() == wanted.len() && expected.get("error").is_none() {
                break None;
            }
            match stream.next().await {
                Ok(item @ Item::Event(_)) => items.push(item.text("event_id").to_owned()),
                Ok(item @ Item::Status(_)) => items.push(item.text("status").to_owned()),
                Ok(Item::Unreadable(_)) => items.push("unreadable".to_owned()),
                Ok(Item::Lost { .. }) => stream.hurry(),
                Err(error) => break Some(error),
            }
        };
        assert_eq!(items, wanted, "{name}");
        let requests = Value::Array(script.requests.lock().unwrap().clone());
        assert_eq!(requests, expected["requests"], "{name}");
        let error = error.as_ref().map(Error::kind).map(kind);
        assert_eq!(error, expected["error"].as_str(), "{name}");
        serving.abort();
    }
}
