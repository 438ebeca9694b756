//! That the check finds what is wrong, and nothing else: a server that does to
//! each message what a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use notification_loadgen::{Delivered, Message, Pace, Receivers, SIZE, Tally, Target};

/// What is written to every stream in place of a message: the messages that were
/// published so far are given, the new one last. None ends the streams.
type Fault = fn(&[String]) -> Option<Vec<String>>;

#[derive(Default)]
struct State {
    streams: Vec<TcpStream>,
    published: Vec<String>,
}

/// Serves until the test's process ends.
fn server(fault: Fault) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::loopback(listener.local_addr().unwrap()).unwrap();
    let state = Arc::new(Mutex::new(State::default()));
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (connection, state) = (connection.unwrap(), Arc::clone(&state));
            thread::spawn(move || serve(connection, &state, fault));
        }
    });
    target
}

fn serve(mut connection: TcpStream, state: &Mutex<State>, fault: Fault) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    while let Some((is_stream, length)) = head(&mut reader) {
        if is_stream {
            let head = "HTTP/1.1 200 OK\r\n\r\ndata: {\"status\":\"connected\"}\n\n";
            // Whoever knows that the stream is open gets what is published then.
            let mut state = state.lock().unwrap();
            connection.write_all(head.as_bytes()).unwrap();
            state.streams.push(connection);
            return;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut state = state.lock().unwrap();
        state.published.push(String::from_utf8(body).unwrap());
        match fault(&state.published) {
            Some(messages) => {
                let text: String = messages.iter().map(|m| format!("data: {m}\n\n")).collect();
                for stream in &mut state.streams {
                    stream.write_all(text.as_bytes()).unwrap();
                }
            }
            None => state.streams.clear(),
        }
        let answer = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        connection.write_all(answer.as_bytes()).unwrap();
    }
}

/// Whether a stream is asked for, and how long the body is.
fn head(reader: &mut impl BufRead) -> Option<(bool, usize)> {
    let mut lines = reader.lines().map_while(Result::ok);
    let is_stream = lines.next()?.starts_with("GET");
    let mut length = 0;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.parse().unwrap();
        }
    }
    Some((is_stream, length))
}

/// Three streams, and 30 messages, the first ten of which are warm-up.
fn run(fault: Fault) -> (Delivered, usize) {
    let target = server(fault);
    let mut receivers = Receivers::open(&target, iter::repeat_n("/v1/stream", 3)).unwrap();
    let pace = Pace {
        rate: 20,
        duration: Duration::from_secs(1),
    };
    let message = Message::new(&target, SIZE);
    let (delivered, begun) = pace
        .run(&target, &message, &mut receivers, || "begun")
        .unwrap();
    assert_eq!(begun, "begun");
    assert_eq!((delivered.published, delivered.planned), (30, 20));
    (delivered, receivers.broken())
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let (delivered, broken) = run(|published| published.last().cloned().map(|new| vec![new]));
    assert!(delivered.tally.is_clean(), "{:?}", delivered.tally);
    assert_eq!(broken, 0);
    assert_eq!(delivered.latencies.count(), 3 * 20);
    // `data: `, the message, and two line ends.
    assert_eq!(delivered.bytes, (6 + SIZE + 2) as f64);
}

#[test]
fn what_comes_twice_or_too_early_is_found() {
    let (delivered, broken) = run(|published| {
        let new = published.last()?.clone();
        Some(match published.len() {
            7 => vec![new.clone(), new],
            20 => vec![],
            21 => vec![new, published[19].clone()],
            _ => vec![new],
        })
    });
    let expected = Tally {
        lost: 0,
        duplicated: 3,
        out_of_order: 3,
    };
    assert_eq!((delivered.tally, broken), (expected, 0));
}

#[test]
fn what_a_broken_stream_does_not_get_is_lost() {
    let (delivered, broken) = run(|published| match published.len() {
        26.. => None,
        _ => published.last().cloned().map(|new| vec![new]),
    });
    assert_eq!((delivered.tally.lost, broken), (3 * 5, 3));
}
