//! The reference: what delivering costs if all there is to it is one `write` of
//! a ready chunk for each message and stream. No log, no filter, no waiting
//! for slow readers.
//!
//! One thread takes connections and requests. For each core there is one more
//! that owns its share of the streams, is woken once for each message, and
//! writes it to them all.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, bail};
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(0);

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How many messages may wait for a thread that writes. When there are more,
/// who publishes waits, as with a server that keeps up with its streams.
const QUEUE: usize = 16;

/// The largest request.
const MAX_REQUEST: usize = 64 << 10;

/// The first thing on a stream, as our server would say it.
const OPENING: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n\
    2D\r\ndata: {\"type\":\"status\",\"status\":\"connected\"}\n\r\n";

/// By how much our server's JSON is longer than what was published: the event's
/// ids, its times, its topic.
const ADDED: usize = 191;

/// For one of the threads that write.
enum Work {
    Stream(TcpStream),
    Chunk(Arc<[u8]>),
}

/// Serves until the process is ended. Prints the address it listens on.
pub(crate) fn serve() -> anyhow::Result<()> {
    let listener = listen()?;
    println!("{}", listener.local_addr()?);
    let writers = (0..thread::available_parallelism()?.get()).map(|_| {
        let (sender, receiver) = sync_channel(QUEUE);
        thread::spawn(move || write(&receiver));
        sender
    });
    let mut door = Door {
        listener,
        poll: Poll::new()?,
        connections: HashMap::new(),
        next: 1,
        writers: writers.collect(),
        streams: 0,
        messages: 0,
    };
    door.serve()
}

fn listen() -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Writes each chunk once to each stream, in the order in which both came.
fn write(work: &Receiver<Work>) {
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut cut = 0;
    while let Ok(work) = work.recv() {
        match work {
            Work::Stream(stream) => streams.push(stream),
            Work::Chunk(chunk) => streams.retain_mut(|stream| match stream.write(&chunk) {
                Ok(length) if length == chunk.len() => true,
                // Its buffer is full: its reader is too slow for a server that keeps nothing.
                Err(error) if error.kind() != ErrorKind::WouldBlock => false,
                _ => {
                    cut += 1;
                    eprintln!("the reference closed a stream that is too slow ({cut} so far)");
                    false
                }
            }),
        }
    }
}

/// Takes connections, gives streams to the threads that write, and messages to all of them.
struct Door {
    listener: TcpListener,
    poll: Poll,
    /// Those that have not asked for a stream.
    connections: HashMap<Token, Connection>,
    /// The next one's token.
    next: usize,
    writers: Vec<SyncSender<Work>>,
    streams: usize,
    messages: u64,
}

struct Connection {
    stream: TcpStream,
    /// What has arrived of the next request.
    request: Vec<u8>,
}

/// What a whole request asks for.
enum Request {
    Stream,
    /// A message, whose request takes so many bytes, the last of which are the body.
    Publish {
        length: usize,
        body: usize,
    },
}

impl Door {
    fn serve(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        self.poll
            .registry()
            .register(&mut self.listener, LISTENER, Interest::READABLE)?;
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    token => {
                        if let Some(mut connection) = self.connections.remove(&token)
                            && let Some(asked) = self.advance(&mut connection)
                        {
                            match asked {
                                Asked::More => {
                                    self.connections.insert(token, connection);
                                }
                                Asked::Stream => {
                                    self.poll.registry().deregister(&mut connection.stream)?;
                                    self.hand_over(connection.stream)?;
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The request is often there already: then a stream is never registered here.
    fn accept(&mut self) -> anyhow::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot accept"),
            };
            stream.set_nodelay(true)?;
            let mut connection = Connection {
                stream,
                request: Vec::new(),
            };
            match self.advance(&mut connection) {
                None => {}
                Some(Asked::Stream) => self.hand_over(connection.stream)?,
                Some(Asked::More) => {
                    let token = Token(self.next);
                    self.next += 1;
                    let registry = self.poll.registry();
                    registry.register(&mut connection.stream, token, Interest::READABLE)?;
                    self.connections.insert(token, connection);
                }
            }
        }
    }

    fn hand_over(&mut self, stream: TcpStream) -> anyhow::Result<()> {
        let writer = &self.writers[self.streams % self.writers.len()];
        self.streams += 1;
        let sent = writer.send(Work::Stream(stream));
        sent.ok().context("a thread that writes has ended")
    }

    /// Answers what has arrived. None if the connection is over.
    fn advance(&mut self, connection: &mut Connection) -> Option<Asked> {
        let mut buffer = [0; 16 << 10];
        loop {
            match connection.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => connection.request.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Asked::More),
                Err(_) => return None,
            }
            match parse(&connection.request) {
                Ok(None) => {}
                Ok(Some(Request::Stream)) => {
                    let written = connection.stream.write_all(OPENING.as_bytes());
                    return written.is_ok().then_some(Asked::Stream);
                }
                Ok(Some(Request::Publish { length, body })) => {
                    let message = &connection.request[length - body..length];
                    self.messages += 1;
                    let chunk: Arc<[u8]> = chunk(message, self.messages).into();
                    for writer in &self.writers {
                        writer.send(Work::Chunk(Arc::clone(&chunk))).ok()?;
                    }
                    connection.request.drain(..length);
                    connection.stream.write_all(PUBLISHED).ok()?;
                }
                Err(error) => {
                    eprintln!("the reference does not understand a request: {error}");
                    return None;
                }
            }
        }
    }
}

/// What a connection has to say.
enum Asked {
    More,
    Stream,
}

const PUBLISHED: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";

/// Reads the request with which `bytes` begin; none if it is not all there yet.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<Request>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        match bytes.len() < MAX_REQUEST {
            true => return Ok(None),
            false => bail!("it is too long"),
        }
    };
    if bytes.starts_with(b"GET ") {
        return Ok(Some(Request::Stream));
    }
    let head = std::str::from_utf8(&bytes[..end])?;
    let body = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        value.trim().parse::<usize>().ok().filter(|_| is_length)
    });
    let body = body.context("it has no Content-Length")?;
    if body > MAX_REQUEST {
        bail!("it is too long");
    }
    let length = end + 4 + body;
    Ok((bytes.len() >= length).then_some(Request::Publish { length, body }))
}

/// What our server delivers for a published JSON object, as long to the byte: an
/// `id:`, and the members that it adds.
fn chunk(message: &[u8], number: u64) -> Vec<u8> {
    const MEMBER: usize = r#""pad":"","#.len();
    let id = format!("id: {:08}-{number}\n", 0);
    let length = id.len() + "data: ".len() + message.len() + ADDED + "\n\n".len();
    let mut chunk = format!("{length:X}\r\n{id}data: {{\"pad\":\"").into_bytes();
    chunk.resize(chunk.len() + ADDED - MEMBER, b'x');
    chunk.extend_from_slice(b"\",");
    chunk.extend_from_slice(message.strip_prefix(b"{").unwrap_or(message));
    chunk.extend_from_slice(b"\n\n\r\n");
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What our server made of the object below.
    const OURS: &str = "12E\r\nid: xbg1k6wd-1\ndata: {\"type\":\"notification\",\
        \"notification_id\":\"01a20561-2534-7012-9249-f8614187c948\",\"notification_type\":\"info\",\
        \"message\":\"Benchmark\",\"timestamp\":\"2026-11-22T22:29:42.324Z\",\
        \"data\":{\"seq\":1,\"sent\":2,\"fill\":\"xxxxxxx\"},\
        \"event_id\":\"01a20561-2534-7012-9249-f8614187c948\",\"topic\":\"default\"}\n\n\r\n";

    #[test]
    fn a_chunk_is_as_long_as_ours() {
        let message = br#"{"type":"notification","message":"Benchmark","data":{"seq":1,"sent":2,"fill":"xxxxxxx"}}"#;
        let chunk = String::from_utf8(chunk(message, 1)).unwrap();
        assert_eq!(chunk.len(), OURS.len());
        assert_eq!(chunk.split_once('\r').unwrap().0, "12E");
        let (_, json) = chunk.split_once("data: ").unwrap();
        let json: serde_json::Value = serde_json::from_str(json.trim_end()).unwrap();
        assert_eq!(json["data"]["seq"], 1);
    }

    #[test]
    fn the_opening_is_one_chunk() {
        let (_, body) = OPENING.split_once("\r\n\r\n").unwrap();
        let (length, chunk) = body.split_once("\r\n").unwrap();
        let data = chunk.strip_suffix("\r\n").unwrap();
        assert_eq!(usize::from_str_radix(length, 16).unwrap(), data.len());
    }

    #[test]
    fn a_request_is_whole_when_its_last_byte_is_there() {
        let request = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
        for end in 0..request.len() {
            assert!(matches!(parse(&request[..end]), Ok(None)), "{end}");
        }
        assert!(matches!(
            parse(request),
            Ok(Some(Request::Publish { length, body: 2 })) if length == request.len()
        ));
        assert!(matches!(
            parse(b"GET / HTTP/1.1\r\n\r\n"),
            Ok(Some(Request::Stream))
        ));
        assert!(parse(b"POST / HTTP/1.1\r\n\r\n").is_err());
        assert!(parse(&[b'x'; MAX_REQUEST]).is_err());
    }
}
