//! MCP clients that come in numbers, hang up, or see their server killed: nothing
//! of them stays behind, and nothing that they may have is lost.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/modern.rs"]
mod modern;
#[path = "common/session.rs"]
mod session;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use common::{notification, server, server_with};
use modern::Modern;
use notification_testkit::{
    DEADLINE, EventStream, ServerProcess, eventually, resident_bytes, signal,
};
use serde_json::{Value, json};
use session::{BOTH, Client};

const SESSIONS: usize = 100;
const CALLS: usize = 100;

/// A call that takes a minute.
fn long_call(id: usize) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": "simulate_progress",
        "arguments": {"task_name": "T", "duration_seconds": 60, "step_count": 1}}})
}

/// Begins as many calls as a session may run, and hangs up on each of them.
fn call_and_hang_up(client: &Client<'_>) {
    let send = |id| {
        let body = long_call(id).to_string();
        let mut text = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\n",
            client.server.address()
        );
        for (name, value) in [client.headers(), vec![BOTH]].concat() {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let mut connection = TcpStream::connect(client.server.address()).unwrap();
        connection.set_read_timeout(Some(DEADLINE)).unwrap();
        connection.write_all(text.as_bytes()).unwrap();
        connection
    };
    let open: Vec<_> = (0..CALLS).map(send).collect();
    for mut connection in open {
        let mut status = [0; 12];
        connection.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
}

/// Sessions whose calls all run at once, and end with them. How much memory the
/// server has meanwhile.
fn storm(server: &ServerProcess) -> u64 {
    let clients: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let clients = (0..SESSIONS / 4).map(|_| {
                        let client = Client::connect(server, "2025-11-25");
                        call_and_hang_up(&client);
                        client
                    });
                    clients.collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    for client in &clients {
        // All of them run: there is no room for another.
        assert_eq!(client.post(&long_call(CALLS)).status, 429);
    }
    let memory = resident_bytes(server.pid());
    for client in &clients {
        assert_eq!(client.delete(), 204);
    }
    memory
}

#[test]
fn ten_thousand_calls_leave_nothing_behind() {
    let server = server_with("[tasks]\nforget_after_seconds = 1\n");
    let before = resident_bytes(server.pid());
    for round in 1..=2 {
        let busy = storm(&server) - before;
        let ended = (round * SESSIONS * CALLS) as f64;
        eventually("each of them says that it was cancelled", || {
            server.metric("notification_events_published_total{type=\"progress\"}") == ended
        });
        eventually("no session is left", || {
            server.metric("notification_mcp_sessions") == 0.0
        });
        eventually("no task is left", || {
            server.get("/v1/tasks").json()["tasks"] == json!([])
        });
        eventually("the memory is given back", || {
            let more = resident_bytes(server.pid()).saturating_sub(before);
            more < busy / 4
        });
    }
}

#[test]
fn who_hangs_up_in_numbers_leaves_nothing_behind() {
    const EACH: usize = 300;
    let server = server(&[]);
    let wanted = json!({"notifications": {"resourcesListChanged": true}});
    let listen = Modern::new("subscriptions/listen", wanted);
    let arguments = json!({"task_name": "T", "duration_seconds": 60, "step_count": 1});
    let call = Modern::call("simulate_progress", &arguments).with_progress();
    let mut open = Vec::new();
    for _ in 0..EACH {
        let mut stream = EventStream::answered_on(listen.send(&server));
        stream.next().unwrap();
        open.push(stream.into_connection());
        open.push(call.send(&server));
    }
    eventually("all of them are listening", || {
        server.metric("notification_mcp_subscriptions") == EACH as f64
    });
    drop(open);
    eventually("none of them is", || {
        server.metric("notification_mcp_subscriptions") == 0.0
    });
    eventually("every call was cancelled", || {
        server.metric("notification_events_published_total{type=\"progress\"}") == EACH as f64
    });
}

/// Whoever has a session when the server is killed begins another, and goes on
/// where it was: what was published in between and all that it had not read.
#[test]
fn a_server_that_is_killed_loses_nothing_for_its_sessions() {
    const CLIENTS: usize = 20;
    let mut server = server(&[]);
    let publish = |server: &ServerProcess, range: std::ops::Range<usize>| {
        for number in range {
            let answer = server.post("/v1/events", &notification(&number.to_string()));
            assert_eq!(answer.status, 201);
        }
    };
    let next = |stream: &mut EventStream| loop {
        let event = stream.next().unwrap();
        if event.data["method"] == "notifications/message" {
            let number = &event.data["params"]["data"]["message"];
            let number = number.as_str().unwrap().parse::<usize>().unwrap();
            return (number, event.id.unwrap());
        }
    };
    let cursors: Vec<_> = {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| Client::connect(&server, "2025-11-25"))
            .collect();
        let mut streams: Vec<_> = clients.iter().map(Client::stream).collect();
        publish(&server, 0..100);
        // Each has read another part when it happens.
        let read = streams.iter_mut().zip(1..).map(|(stream, count)| {
            let heard: Vec<_> = (0..count).map(|_| next(stream)).collect();
            let (number, cursor) = heard.last().cloned().unwrap();
            assert_eq!(number, count - 1);
            (cursor, count)
        });
        let read = read.collect();
        signal(server.pid(), libc::SIGKILL);
        read
    };
    server.wait();
    server.restart();
    publish(&server, 100..110);
    let lost = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    for (cursor, read) in cursors {
        let mut client = Client::connect(&server, "2025-11-25");
        let mut stream = client.resume(&cursor);
        for number in read..110 {
            assert_eq!(next(&mut stream).0, number);
        }
        // The former session is not there any more, and it says so.
        client.id = "5e55104a-0000-4000-8000-000000000000".to_owned();
        assert_eq!(client.post(&lost).status, 404);
    }
}
