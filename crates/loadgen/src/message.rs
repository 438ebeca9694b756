use std::io::Write;
use std::ops::Range;

use crate::target::Target;

/// The size of what is published where nothing else is asked for, in bytes.
pub const SIZE: usize = 200;

/// The most that is published in one run, however fast the server is.
pub const MAX_MESSAGES: u64 = 20_000_000;

/// Writes the requests that publish numbered messages of one size.
#[derive(Clone, Debug)]
pub struct Message {
    /// Everything before the length of the body.
    head: Vec<u8>,
    /// Everything in the message before its numbers.
    start: Vec<u8>,
    size: usize,
    envelope: Option<Envelope>,
}

/// A body of another server's kind, of which a message is part.
#[derive(Clone, Debug)]
struct Envelope {
    before: Vec<u8>,
    escape: Escape,
    after: Vec<u8>,
}

/// How a message is written there.
#[derive(Clone, Copy, Debug)]
enum Escape {
    /// Inside a JSON string.
    Json,
    /// As the value of a form's field.
    Form,
}

impl Message {
    /// Messages whose JSON is `size` bytes (at least 128) when it is published;
    /// the event that is delivered has the server's own fields besides.
    pub fn new(target: &Target, size: usize) -> Self {
        Self::to(target, "/v1/events", size)
    }

    /// The same for another server than ours, which takes them at `path`, and
    /// that has to be asked for an answer in JSON.
    pub fn to(target: &Target, path: &str, size: usize) -> Self {
        let headers = "Content-Type: application/json\r\nAccept: application/json\r\n";
        Self::with(target, path, headers, size)
    }

    fn with(target: &Target, path: &str, headers: &str, size: usize) -> Self {
        let of_target = target.headers();
        let head = format!("POST {path} HTTP/1.1\r\n{of_target}{headers}Content-Length: ");
        Self {
            head: head.into(),
            start: br#"{"type":"notification","message":"Benchmark","#.into(),
            size,
            envelope: None,
        }
    }

    /// Those that are published inside a JSON string, between what is JSON
    /// already. One at a time: batches are not.
    pub fn in_string(mut self, before: &str, after: &str) -> Self {
        self.envelope = Some(Envelope {
            before: before.into(),
            escape: Escape::Json,
            after: after.into(),
        });
        self
    }

    /// Those that are published as the last value of a form, behind `fields`.
    /// One at a time: batches are not.
    pub fn in_form(target: &Target, path: &str, fields: &str, size: usize) -> Self {
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let mut message = Self::with(target, path, headers, size);
        message.envelope = Some(Envelope {
            before: fields.into(),
            escape: Escape::Form,
            after: Vec::new(),
        });
        message
    }

    /// Those on this topic, whose length `size` has to have room for besides.
    pub fn on(mut self, topic: &str) -> Self {
        self.start.extend(br#""topic":""#);
        self.start.extend(topic.as_bytes());
        self.start.extend(br#"","#);
        self
    }

    /// Replaces what is in `request` by the request that publishes message
    /// number `seq`, which was due at `sent`, in microseconds.
    pub fn write(&self, request: &mut Vec<u8>, seq: u64, sent: u64) {
        match &self.envelope {
            None => {
                self.write_head(request, self.size);
                self.write_message(request, seq, sent);
            }
            Some(envelope) => {
                let mut message = Vec::with_capacity(self.size);
                self.write_message(&mut message, seq, sent);
                let body = envelope.around(&message);
                self.write_head(request, body.len());
                request.extend_from_slice(&body);
            }
        }
    }

    /// Replaces what is in `request` by the request that publishes the messages
    /// of these numbers, in one array.
    pub fn write_batch(&self, request: &mut Vec<u8>, seqs: Range<u64>) {
        let count = (seqs.end - seqs.start) as usize;
        // Brackets, and a comma between two.
        self.write_head(request, count * self.size + count + 1);
        for seq in seqs.clone() {
            request.push(if seq == seqs.start { b'[' } else { b',' });
            self.write_message(request, seq, 0);
        }
        request.push(b']');
    }

    fn write_head(&self, request: &mut Vec<u8>, length: usize) {
        request.clear();
        request.extend_from_slice(&self.head);
        write!(request, "{length}\r\n\r\n").expect("a Vec takes whatever is written");
    }

    fn write_message(&self, request: &mut Vec<u8>, seq: u64, sent: u64) {
        let end = br#""}}"#;
        let whole = request.len() + self.size;
        request.extend_from_slice(&self.start);
        write!(request, r#""data":{{"seq":{seq},"sent":{sent},"fill":""#)
            .expect("a Vec takes whatever is written");
        request.resize(whole - end.len(), b'x');
        request.extend_from_slice(end);
    }
}

impl Envelope {
    fn around(&self, message: &[u8]) -> Vec<u8> {
        let mut body = self.before.clone();
        for &byte in message {
            match (self.escape, byte) {
                // Nothing else in a message has to be escaped.
                (Escape::Json, b'"' | b'\\') => body.extend([b'\\', byte]),
                (Escape::Form, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z') | (Escape::Json, _) => {
                    body.push(byte);
                }
                (Escape::Form, _) => {
                    write!(body, "%{byte:02X}").expect("a Vec takes whatever is written");
                }
            }
        }
        body.extend_from_slice(&self.after);
        body
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn message(size: usize) -> Message {
        let target = Target::loopback("127.0.0.1:8005".parse().unwrap()).unwrap();
        Message::new(&target, size)
    }

    /// The body, of the length that the head says.
    fn body(request: &[u8]) -> &str {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        body
    }

    #[test]
    fn a_message_has_its_size_whatever_its_number() {
        let mut request = Vec::new();
        for (size, seq, sent) in [
            (128, 0, 0),
            (200, 7, 123_456),
            (128, 100_000_000, 600_000_000),
        ] {
            message(size).write(&mut request, seq, sent);
            let body = body(&request);
            assert_eq!(body.len(), size);
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["topic"], Value::Null);
            assert_eq!(body["data"]["seq"], seq);
            assert_eq!(body["data"]["sent"], sent);
        }
    }

    #[test]
    fn a_topic_takes_nothing_from_the_size() {
        let mut request = Vec::new();
        let message = message(SIZE).on("bench/t24999");
        message.write(&mut request, MAX_MESSAGES - 1, 0);
        assert_eq!(body(&request).len(), SIZE);
        let body: Value = serde_json::from_str(body(&request)).unwrap();
        assert_eq!(body["topic"], "bench/t24999");
    }

    #[test]
    fn a_message_in_a_string_is_the_same() {
        let (mut plain, mut inside) = (Vec::new(), Vec::new());
        message(SIZE).write(&mut plain, 7, 8);
        let message = message(SIZE).in_string(r#"{"content":"data: "#, r#"\n\n"}"#);
        message.write(&mut inside, 7, 8);
        let inside: Value = serde_json::from_str(body(&inside)).unwrap();
        assert_eq!(inside["content"], format!("data: {}\n\n", body(&plain)));
    }

    #[test]
    fn a_message_in_a_form_is_the_same() {
        let (mut plain, mut form) = (Vec::new(), Vec::new());
        let message = message(128);
        message.write(&mut plain, 7, 8);
        let target = Target::loopback("127.0.0.1:8005".parse().unwrap()).unwrap();
        let target = target.with_bearer("secret");
        let message = Message::in_form(&target, "/", "topic=a&data=", 128);
        message.write(&mut form, 7, 8);
        assert!(form.starts_with(b"POST / HTTP/1.1\r\nHost: 127.0.0.1:8005\r\n"));
        assert!(memchr::memmem::find(&form, b"\r\nAuthorization: Bearer secret\r\n").is_some());
        let (_, data) = body(&form).split_once("topic=a&data=").unwrap();
        let mut parts = data.split('%');
        let mut decoded = parts.next().unwrap().to_owned();
        for part in parts {
            let (byte, rest) = part.split_at(2);
            decoded.push(u8::from_str_radix(byte, 16).unwrap().into());
            decoded.push_str(rest);
        }
        assert_eq!(decoded, body(&plain));
    }

    #[test]
    fn a_batch_is_an_array_of_messages() {
        let mut request = Vec::new();
        for seqs in [0..1, 3..5, 1_000..2_000] {
            message(SIZE).write_batch(&mut request, seqs.clone());
            let body: Vec<Value> = serde_json::from_str(body(&request)).unwrap();
            let found = body.iter().map(|message| message["data"]["seq"].as_u64());
            assert!(found.eq(seqs.map(Some)));
        }
    }
}
