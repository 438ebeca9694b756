use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::eventually;

/// A receiver of webhooks on a free port, which keeps what it is sent.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    received: Vec<Received>,
    answer: Answer,
    /// Those that were accepted, so that they can be cut.
    connections: Vec<TcpStream>,
    is_stopped: bool,
}

type Answer = Box<dyn FnMut(&Received) -> Vec<u8> + Send>;

/// One request that a receiver was sent.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its method.
    pub method: String,
    /// Its path, with the query.
    pub path: String,
    headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self
            .headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// Its body, which is JSON.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// Whether it is a message of this type rather than an event.
    pub fn is_control(&self, kind: &str) -> bool {
        self.header("webhook-id")
            .is_some_and(|id| id.starts_with(&format!("msg_{kind}_")))
    }
}

impl Receiver {
    /// Takes everything, and repeats challenges.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let receiver = Self {
            address: listener.local_addr().expect("it has an address"),
            state: Arc::new(Mutex::new(State {
                received: Vec::new(),
                answer: Box::new(taking),
                connections: Vec::new(),
                is_stopped: false,
            })),
        };
        let state = receiver.state.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else {
                    return;
                };
                let mut locked = state.lock().expect("no holder panics");
                if locked.is_stopped {
                    return;
                }
                let clone = connection.try_clone().expect("a descriptor is free");
                locked.connections.push(clone);
                drop(locked);
                let state = state.clone();
                std::thread::spawn(move || serve(&connection, &state));
            }
        });
        receiver
    }

    /// Where it is, with this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers with what `answer` makes: bytes of HTTP/1.1, or none to say nothing.
    pub fn answer(&self, answer: impl FnMut(&Received) -> Vec<u8> + Send + 'static) {
        self.lock().answer = Box::new(answer);
    }

    /// Answers with this status from now on, but repeats challenges.
    pub fn answer_with(&self, status: u16) {
        self.answer(move |received| match received.is_control("verification") {
            true => taking(received),
            false => response(status, &[], ""),
        });
    }

    /// Takes everything again.
    pub fn take(&self) {
        self.answer(taking);
    }

    /// What it was sent until now.
    pub fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// The events among that, by their ids.
    pub fn events(&self) -> Vec<String> {
        let received = self.received();
        let ids = received.iter().filter_map(|it| it.header("webhook-id"));
        let ids = ids.filter(|id| !id.starts_with("msg_"));
        ids.map(str::to_owned).collect()
    }

    /// Waits until it was sent so many requests that are `what`; returns them.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn wait_for(
        &self,
        what: &str,
        count: usize,
        is_it: impl Fn(&Received) -> bool,
    ) -> Vec<Received> {
        let of = |received: Vec<Received>| received.into_iter().filter(&is_it).collect::<Vec<_>>();
        eventually(what, || of(self.received()).len() >= count);
        of(self.received())
    }

    /// Cuts every connection, and takes none any more.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        drop(state);
        // Whoever waits for the next one.
        let _ = TcpStream::connect(self.address);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// An answer in HTTP/1.1.
pub fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    format!("{text}\r\n{body}").into_bytes()
}

fn taking(received: &Received) -> Vec<u8> {
    match received.is_control("verification") {
        true => {
            let challenge = &received.json()["challenge"];
            response(200, &[], &json!({"challenge": challenge}).to_string())
        }
        false => response(200, &[], ""),
    }
}

fn serve(connection: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(connection);
    while let Some(received) = read(&mut reader) {
        let answer = {
            let mut state = state.lock().expect("no holder panics");
            let answer = (state.answer)(&received);
            state.received.push(received);
            answer
        };
        let mut writer = connection;
        if writer.write_all(&answer).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut received = Received {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    let length = received.header("content-length").map(str::parse);
    received.body = vec![0; length.and_then(Result::ok).unwrap_or_default()];
    reader.read_exact(&mut received.body).ok()?;
    Some(received)
}
