use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, bail};
use memchr::memmem;
use serde_json::Value;

use crate::http::{BadAnswer, whole_answer};
use crate::server::Loopback;

/// The largest answer: to a batch of publishes it has some 200 bytes for each.
const MAX_ANSWER: usize = 4 << 20;

/// A connection that is kept alive, for one request after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    server: Loopback,
    stream: TcpStream,
    /// Begins with the last answer.
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(server: Loopback) -> anyhow::Result<Self> {
        Ok(Self {
            server,
            stream: server.connect().context("cannot connect")?,
            buffer: vec![0; 4096],
        })
    }

    /// Publishes, and waits until that is answered with 201.
    pub(crate) fn publish(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.ask(request, 201).context("cannot publish")?;
        Ok(())
    }

    /// Publishes, and returns the answer.
    pub(crate) fn publish_for_answer(&mut self, request: &[u8]) -> anyhow::Result<Value> {
        let answer = self.ask(request, 201).context("cannot publish")?;
        Ok(json(answer)?)
    }

    /// `GET path`, which has to be answered with 200 and JSON.
    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.server);
        let answer = self
            .ask(request.as_bytes(), 200)
            .and_then(|answer| Ok(json(answer)?));
        answer.with_context(|| format!("GET {path}"))
    }

    fn ask(&mut self, request: &[u8], status: u16) -> anyhow::Result<&[u8]> {
        self.stream.write_all(request)?;
        let mut length = 0;
        loop {
            if length == self.buffer.len() {
                if length >= MAX_ANSWER {
                    bail!("the answer is larger than {MAX_ANSWER} bytes");
                }
                self.buffer.resize(2 * length, 0);
            }
            match self.stream.read(&mut self.buffer[length..])? {
                0 => bail!("the server closed the connection"),
                more => length += more,
            }
            if let Some(whole) = whole_answer(&self.buffer[..length], status)? {
                return Ok(&self.buffer[..whole]);
            }
        }
    }
}

/// The body of an answer.
fn json(answer: &[u8]) -> Result<Value, BadAnswer> {
    let head_end = memmem::find(answer, b"\r\n\r\n").ok_or(BadAnswer::Head)?;
    serde_json::from_slice(&answer[head_end + 4..]).map_err(|_| BadAnswer::Json)
}
