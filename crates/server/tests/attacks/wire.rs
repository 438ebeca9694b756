//! HTTP as attackers write it, byte by byte, and its answers read strictly.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use notification_testkit::DEADLINE;
use serde_json::Value;

/// Who reads a request of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Whoever looks at what comes first on a connection.
    First,
    /// Hyper: it is not the first request of its connection.
    Hyper,
}

pub(crate) const READERS: [Reader; 2] = [Reader::First, Reader::Hyper];

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.head.contains("content-type: text/event-stream")
    }
}

pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(server).expect("a server that listens");
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    connection.set_nodelay(true).unwrap();
    connection
}

/// What is asked last, to see where the answers to something else end.
const LAST: &str = "/is-there-anything-else";

/// Writes `bytes`, and returns every answer that they got: all that come before
/// that of a last request, or before the server closes. A stream is the last, too.
pub(crate) fn answers(server: SocketAddr, bytes: &[u8], reader: Reader) -> Vec<Answer> {
    let mut writer = connect(server);
    let mut answers = BufReader::new(writer.try_clone().unwrap());
    if reader == Reader::Hyper {
        let first = format!("GET /healthz HTTP/1.1\r\nHost: {server}\r\n\r\n");
        writer.write_all(first.as_bytes()).unwrap();
        let first = read_answer(&mut answers).expect("the first request is right");
        assert_eq!(first.status, 200);
    }
    // It may be refused before all of it is written.
    let _ = writer.write_all(bytes);
    let _ = writer.peek(&mut [0]);
    let last = format!("GET {LAST} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    let _ = writer.write_all(last.as_bytes());
    read_answers(&mut answers)
}

/// The one answer that `bytes` get, of which the server makes one request or none.
pub(crate) fn answer(server: SocketAddr, bytes: &[u8], reader: Reader) -> Answer {
    let mut answers = answers(server, bytes, reader);
    let text = bytes[..bytes.len().min(500)].escape_ascii();
    assert_eq!(answers.len(), 1, "{text} ({reader:?}): {answers:?}");
    answers.remove(0)
}

fn read_answers(connection: &mut impl BufRead) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(answer) = read_answer(connection) {
        if answer.status == 404
            && answer
                .body
                .windows(LAST.len())
                .any(|w| w == LAST.as_bytes())
        {
            break;
        }
        let is_last = answer.is_stream();
        // That a body may come is no answer.
        if answer.status != 100 {
            answers.push(answer);
        }
        if is_last {
            break;
        }
    }
    answers
}

/// The next answer, of a stream its head; none at the end of the connection,
/// however that comes.
pub(crate) fn read_answer(connection: &mut impl BufRead) -> Option<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_until(b'\n', &mut head) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("neither an answer nor an end: {error}"),
        }
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head.strip_prefix("http/1.").expect("an answer")[2..5]
        .parse()
        .unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = Vec::new();
    if head.contains("content-type: text/event-stream") {
        // It does not end.
    } else if head.contains("transfer-encoding: chunked") {
        while let Some(chunk) = read_chunk(connection) {
            body.extend(chunk);
        }
    } else if let Some(length) = length {
        body.resize(length.parse().unwrap(), 0);
        connection.read_exact(&mut body).expect("a whole answer");
    }
    Some(Answer { status, head, body })
}

/// The next chunk of a body; none at its end.
pub(crate) fn read_chunk(connection: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut size = String::new();
    connection.read_line(&mut size).ok()?;
    let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
    let mut chunk = vec![0; size + 2];
    connection.read_exact(&mut chunk).ok()?;
    chunk.truncate(size);
    (size > 0).then_some(chunk)
}
