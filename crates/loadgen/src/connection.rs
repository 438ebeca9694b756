use std::io::{Read, Write};
use std::net::TcpStream;

use memchr::memmem;
use serde_json::Value;

use crate::error::LoadError;
use crate::http::{BadAnswer, whole_answer};
use crate::target::Target;

/// The largest answer: to a batch of publishes it has some 200 bytes for each.
const MAX_ANSWER: usize = 4 << 20;

/// A connection that is kept alive, for one request after the other.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    stream: TcpStream,
    /// Begins with the last answer.
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(target: &Target) -> Result<Self, LoadError> {
        Ok(Self {
            target: target.clone(),
            stream: target.connect().map_err(LoadError::Connect)?,
            buffer: vec![0; 4096],
        })
    }

    /// Sends a whole request, and waits until it is answered with success.
    pub fn publish(&mut self, request: &[u8]) -> Result<(), LoadError> {
        self.ask(request)?;
        Ok(())
    }

    /// The same, and returns the answer's JSON.
    pub fn publish_for_answer(&mut self, request: &[u8]) -> Result<Value, LoadError> {
        Ok(json(self.ask(request)?)?)
    }

    /// `GET path`, which has to be answered with success and JSON.
    pub fn get(&mut self, path: &str) -> Result<Value, LoadError> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.target);
        Ok(json(self.ask(request.as_bytes())?)?)
    }

    fn ask(&mut self, request: &[u8]) -> Result<&[u8], LoadError> {
        self.stream.write_all(request).map_err(LoadError::Broken)?;
        let mut length = 0;
        loop {
            if length == self.buffer.len() {
                if length >= MAX_ANSWER {
                    return Err(BadAnswer::Large.into());
                }
                self.buffer.resize(2 * length, 0);
            }
            let read = self.stream.read(&mut self.buffer[length..]);
            match read.map_err(LoadError::Broken)? {
                0 => return Err(LoadError::Closed),
                more => length += more,
            }
            if let Some(whole) = whole_answer(&self.buffer[..length])? {
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
