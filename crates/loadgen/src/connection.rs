use std::io::{Read, Write};
use std::net::TcpStream;

use memchr::memmem;
use serde_json::Value;

use crate::error::LoadError;
use crate::http::{Answer, BadAnswer};
use crate::target::Target;

/// The largest answer: to a batch of publishes it has some 200 bytes for each.
const MAX_ANSWER: usize = 4 << 20;

/// A connection that is kept alive, for one request after the other; a new one
/// for the next where the server says that it closes the last.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    stream: TcpStream,
    /// Whether the server said so.
    closed: bool,
    /// Begins with the last answer.
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(target: &Target) -> Result<Self, LoadError> {
        Ok(Self {
            target: target.clone(),
            stream: target.connect().map_err(LoadError::Connect)?,
            closed: false,
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
        Ok(json(self.publish_for_body(request)?)?)
    }

    /// The same, and returns the answer's body, whatever it is.
    pub fn publish_for_body(&mut self, request: &[u8]) -> Result<&[u8], LoadError> {
        Ok(body(self.ask(request)?)?)
    }

    /// `GET path`, which has to be answered with success and JSON.
    pub fn get(&mut self, path: &str) -> Result<Value, LoadError> {
        let request = format!("GET {path} HTTP/1.1\r\n{}\r\n", self.target.headers());
        Ok(json(self.publish_for_body(request.as_bytes())?)?)
    }

    fn ask(&mut self, request: &[u8]) -> Result<&[u8], LoadError> {
        if self.closed {
            self.stream = self.target.connect().map_err(LoadError::Connect)?;
        }
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
            if let Some(answer) = Answer::parse(&self.buffer[..length])? {
                self.closed = answer.closes;
                return Ok(&self.buffer[..answer.length]);
            }
        }
    }
}

fn body(answer: &[u8]) -> Result<&[u8], BadAnswer> {
    let head_end = memmem::find(answer, b"\r\n\r\n").ok_or(BadAnswer::Head)?;
    Ok(&answer[head_end + 4..])
}

fn json(body: &[u8]) -> Result<Value, BadAnswer> {
    serde_json::from_slice(body).map_err(|_| BadAnswer::Json)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn what_the_server_closes_is_opened_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::loopback(listener.local_addr().unwrap()).unwrap();
        let answers = [
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n2",
        ];
        let server = thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4];
                stream.read_exact(&mut request).unwrap();
                assert_eq!(&request, b"POST");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut connection = Connection::open(&target).unwrap();
        for expected in [1, 2] {
            let answer = connection.publish_for_answer(b"POST").unwrap();
            assert_eq!(answer, expected);
        }
        server.join().unwrap();
    }
}
