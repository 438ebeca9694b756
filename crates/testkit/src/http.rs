use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::DEADLINE;

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, as text.
    pub body: String,
}

impl Response {
    /// A figure from what `/metrics` answered, by its name and labels as they are
    /// printed; 0 if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let mut lines = self.body.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// The first header of that name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The JSON-RPC message that is the body, or the last of it where that is a stream.
    ///
    /// # Panics
    ///
    /// If it is neither.
    pub fn message(&self) -> Value {
        if self.header("content-type") != Some("text/event-stream") {
            return self.json();
        }
        let mut data = self
            .body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        let last = data
            .next_back()
            .unwrap_or_else(|| panic!("no message: {self:?}"));
        serde_json::from_str(last).unwrap_or_else(|_| panic!("no JSON: {last}"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is something else.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// One request on a connection of its own. A `Host` header is added if there is none.
///
/// # Panics
///
/// If there is no whole answer before the deadline.
pub fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    exchange(connect(server), server, method, path, headers, body)
}

/// One request on a connection that ends with it.
pub(crate) fn exchange(
    connection: impl Read + Write,
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    headers.extend([("Content-Length", length.as_str()), ("Connection", "close")]);
    let mut connection = send_on(connection, server, method, path, &headers, body);
    let (status, headers) = read_head(&mut connection);
    let mut body = Vec::new();
    if method != "HEAD" {
        if header(&headers, "transfer-encoding") == Some("chunked") {
            while let Some(chunk) = read_chunk(&mut connection) {
                body.extend(chunk);
            }
        } else {
            connection.read_to_end(&mut body).expect("a whole body");
        }
    }
    Response {
        status,
        headers,
        body: String::from_utf8(body).expect("a body in UTF-8"),
    }
}

/// One `POST` of JSON.
pub fn post_json(server: SocketAddr, path: &str, json: &Value) -> Response {
    let headers = [("Content-Type", "application/json")];
    request(server, "POST", path, &headers, &json.to_string())
}

pub(crate) fn send(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> BufReader<TcpStream> {
    send_on(connect(server), server, method, path, headers, body)
}

pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(server).expect("a server that listens");
    connection
        .set_read_timeout(Some(DEADLINE))
        .expect("a socket");
    connection
}

pub(crate) fn send_on<C: Read + Write>(
    mut connection: C,
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> BufReader<C> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head += &format!("Host: {server}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    // A server may refuse by the head alone, and close before it has the body.
    let _ = connection.write_all(head.as_bytes());
    let _ = connection.write_all(body.as_bytes());
    BufReader::new(connection)
}

pub(crate) fn read_head(connection: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut lines = std::iter::from_fn(|| {
        let mut line = String::new();
        connection
            .read_line(&mut line)
            .expect("the head of an answer");
        let line = line.trim_end().to_owned();
        (!line.is_empty()).then_some(line)
    });
    let status = lines.next().expect("an answer");
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    (status.expect("a status line"), headers.collect())
}

/// Reads one chunk of a chunked body; none at its end, or if it is cut off.
pub(crate) fn read_chunk(connection: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut size = String::new();
    connection.read_line(&mut size).ok()?;
    let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
    let mut chunk = vec![0; size + 2];
    connection.read_exact(&mut chunk).ok()?;
    chunk.truncate(size);
    (size > 0).then_some(chunk)
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}
