use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, bail};
use notification_loadgen::{PATIENCE, Target};
use socket2::{Domain, Socket, Type};

/// How much the kernel may take for a stream that nobody reads, in bytes (it
/// doubles that): little, so that it is soon the server that has to.
const RECEIVE_BUFFER: usize = 4 << 10;

/// Streams that are open, and never read again.
#[derive(Debug)]
pub(crate) struct Stalled {
    _streams: Vec<TcpStream>,
}

impl Stalled {
    /// Opens them one by one, and reads each until it is open.
    pub(crate) fn open(target: &Target, path: &str, count: usize) -> anyhow::Result<Self> {
        let streams = (0..count).map(|_| open_one(target, path));
        Ok(Self {
            _streams: streams.collect::<anyhow::Result<_>>()?,
        })
    }
}

fn open_one(target: &Target, path: &str) -> anyhow::Result<TcpStream> {
    let address = target.address();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let headers = target.headers();
    let request = format!("GET {path} HTTP/1.1\r\n{headers}Accept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = [0; 1024];
    let length = stream.read(&mut head).context("a stream did not open")?;
    if !head[..length].starts_with(b"HTTP/1.1 200 ") {
        bail!("a stream was refused");
    }
    Ok(stream)
}
