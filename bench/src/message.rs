use std::io::Write;

use crate::server::Loopback;

/// Writes the requests that publish numbered messages of one size.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Everything before the body.
    head: Vec<u8>,
    size: usize,
}

impl Message {
    /// Messages whose JSON is `size` bytes (at least 128) when it is published;
    /// the event that is delivered has the server's own fields besides.
    pub(crate) fn new(server: Loopback, size: usize) -> Self {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\n\
             Content-Length: {size}\r\n\r\n"
        );
        Self {
            head: head.into(),
            size,
        }
    }

    /// Replaces what is in `request` by the request that publishes message
    /// number `seq`, which was due at `sent`, in microseconds.
    pub(crate) fn write(&self, request: &mut Vec<u8>, seq: u64, sent: u64) {
        request.clear();
        request.extend_from_slice(&self.head);
        write!(
            request,
            r#"{{"type":"notification","message":"Benchmark","data":{{"seq":{seq},"sent":{sent},"fill":""#
        )
        .expect("a Vec takes whatever is written");
        let end = br#""}}"#;
        request.resize(self.head.len() + self.size - end.len(), b'x');
        request.extend_from_slice(end);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_message_has_its_size_whatever_its_number() {
        let server = Loopback::new("127.0.0.1:8005".parse().unwrap()).unwrap();
        let mut request = Vec::new();
        for (size, seq, sent) in [
            (128, 0, 0),
            (200, 7, 123_456),
            (128, 100_000_000, 600_000_000),
        ] {
            Message::new(server, size).write(&mut request, seq, sent);
            let text = std::str::from_utf8(&request).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {size}")));
            assert_eq!(body.len(), size);
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["data"]["seq"], seq);
            assert_eq!(body["data"]["sent"], sent);
        }
    }
}
