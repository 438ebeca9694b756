use std::collections::VecDeque;
use std::io::{BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::Response;
use crate::http::{header, read_chunk, read_head, send};

/// An open `text/event-stream`.
pub struct EventStream {
    connection: BufReader<Box<dyn Read + Send>>,
    /// What it comes over.
    socket: TcpStream,
    /// The headers of the answer, names in lower case.
    headers: Vec<(String, String)>,
    text: Vec<u8>,
    events: VecDeque<StreamEvent>,
    /// What was told as `retry:`.
    retry: Option<u64>,
    /// The newest `id:`, which is where to resume.
    last_id: Option<String>,
    comments: usize,
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamEvent {
    /// Its own `id:`.
    pub id: Option<String>,
    /// Its `event:`, which ours do not have.
    pub name: Option<String>,
    /// Its `data:`.
    pub data: Value,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream")
            .field("socket", &self.socket)
            .field("events", &self.events)
            .field("last_id", &self.last_id)
            .finish_non_exhaustive()
    }
}

impl EventStream {
    /// Opens the stream at `path`, and takes its first event, which says `connected`.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn open(server: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = Self::open_unread(server, path, headers);
        stream.connected();
        stream
    }

    /// Opens the stream at `path`.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn open_unread(server: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_open(server, path, headers).expect("a stream")
    }

    /// Opens the stream at `path`, or says how it was refused.
    ///
    /// # Errors
    ///
    /// The answer, if that is no stream.
    pub fn try_open(
        server: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Response> {
        let connection = send(server, "GET", path, headers, "");
        let socket = connection.get_ref().try_clone().expect("a socket");
        Self::read_from(connection, socket)
    }

    /// The stream that was asked for on this connection, of whose answer nothing
    /// has been read yet.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn answered_on(connection: TcpStream) -> Self {
        let socket = connection.try_clone().expect("a socket");
        Self::read_from(BufReader::new(connection), socket).expect("a stream")
    }

    /// The stream that was asked for on a connection over `socket`.
    pub(crate) fn read_from(
        connection: BufReader<impl Read + Send + 'static>,
        socket: TcpStream,
    ) -> Result<Self, Response> {
        let connection: Box<dyn Read + Send> = Box::new(connection);
        let mut connection = BufReader::new(connection);
        let (status, headers) = read_head(&mut connection);
        if status != 200 {
            let length = header(&headers, "content-length").and_then(|length| length.parse().ok());
            let mut body = vec![0; length.expect("the length of a refusal")];
            connection.read_exact(&mut body).expect("a whole refusal");
            return Err(Response {
                status,
                headers,
                body: String::from_utf8(body).expect("a body in UTF-8"),
            });
        }
        Ok(Self {
            connection,
            socket,
            headers,
            text: Vec::new(),
            events: VecDeque::new(),
            retry: None,
            last_id: None,
            comments: 0,
        })
    }

    /// Takes the first event, which says `connected`.
    pub(crate) fn connected(&mut self) {
        let connected = self.next().expect("a stream begins with an event");
        assert_eq!(connected.data["status"], "connected", "{connected:?}");
        assert_eq!(connected.id, None);
    }

    /// The first header of that name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// What the client was told to wait before it comes back, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The newest `id:`.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Waits for a comment, which is a heartbeat.
    pub fn comment(&mut self) {
        let before = self.comments;
        while self.comments == before {
            assert!(self.read(), "the stream ended");
        }
    }

    /// The next event; none at the end.
    #[expect(
        clippy::should_implement_trait,
        reason = "it blocks, and ends as it pleases"
    )]
    pub fn next(&mut self) -> Option<StreamEvent> {
        while self.events.is_empty() && self.read() {}
        self.events.pop_front()
    }

    /// The `data:` of the next `count` events.
    ///
    /// # Panics
    ///
    /// If the stream ends before.
    pub fn take(&mut self, count: usize) -> Vec<Value> {
        let events = (0..count).map(|_| self.next().expect("another event").data);
        events.collect()
    }

    /// Ends the stream from this side.
    pub fn close(self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// The socket that it comes over, with all that has not been read.
    pub fn into_connection(self) -> TcpStream {
        self.socket
    }

    /// Reads what the server writes next, whatever it is. False at the end.
    pub fn read(&mut self) -> bool {
        let Some(chunk) = read_chunk(&mut self.connection) else {
            return false;
        };
        self.text.extend(chunk);
        while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.text.drain(..end + 2).collect();
            self.block(std::str::from_utf8(&block).expect("UTF-8"));
        }
        true
    }

    fn block(&mut self, block: &str) {
        let (mut id, mut name, mut data) = (None, None, None);
        for line in block.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("id", value) => id = Some(value.to_owned()),
                ("event", value) => name = Some(value.to_owned()),
                ("retry", value) => self.retry = value.parse().ok(),
                ("data", value) => data = Some(serde_json::from_str(value).expect("JSON")),
                // An event without data tells a place, and nothing else.
                ("data:", _) => {}
                _ if line.starts_with(':') => self.comments += 1,
                _ => panic!("no field of an event stream: {line:?}"),
            }
        }
        self.last_id = id.clone().or(self.last_id.take());
        if let Some(data) = data {
            self.events.push_back(StreamEvent { id, name, data });
        }
    }
}
