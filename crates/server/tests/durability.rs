//! Success means committed: whatever was answered with 201 is there after the
//! server was killed in the middle of its work, once and in order.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{notification, server};
use notification_testkit::{
    EventStream, ServerProcess, eventually, limit_file_size, request, resident_bytes, signal,
};

/// Publishes until the server is gone; returns each message that was answered
/// with 201, by the cursor it was given.
fn publish_until_the_end(server: &ServerProcess, publisher: usize) -> BTreeMap<u64, String> {
    let address = server.address();
    let mut answered = BTreeMap::new();
    for n in 0.. {
        let message = format!("{publisher}/{n}");
        let body = notification(&message).to_string();
        let answer = std::panic::catch_unwind(|| {
            let json = [("Content-Type", "application/json")];
            request(address, "POST", "/v1/events", &json, &body)
        });
        match answer {
            Ok(answer) if answer.status == 201 => {
                let cursor = answer.json()["cursor"].as_str().unwrap().to_owned();
                answered.insert(position(&cursor), message);
            }
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => break,
        }
    }
    answered
}

/// Cursors are opaque to clients; this test looks inside to know their order.
fn position(cursor: &str) -> u64 {
    cursor.split_once('-').unwrap().1.parse().unwrap()
}

fn killed_under_load(durability: &str) {
    let mut server = server(&["--durability", durability]);
    let hook = std::panic::take_hook();
    // The publishers' last requests fail, as they should.
    std::panic::set_hook(Box::new(|_| {}));
    let answered = thread::scope(|scope| {
        let server = &server;
        let publishers: Vec<_> = (0..8)
            .map(|n| scope.spawn(move || publish_until_the_end(server, n)))
            .collect();
        let mut stream = EventStream::open(server.address(), "/mcp", &[]);
        stream.take(200);
        signal(server.pid(), libc::SIGKILL);
        let answered = publishers
            .into_iter()
            .map(|publisher| publisher.join().unwrap());
        answered.flatten().collect::<BTreeMap<u64, String>>()
    });
    std::panic::set_hook(hook);
    server.wait();
    assert!(
        answered.len() >= 190,
        "only {} were answered",
        answered.len()
    );

    server.restart();
    server.post("/v1/events", &notification("the end"));
    let mut stream = EventStream::open(server.address(), "/mcp?since=all", &[]);
    let mut found = BTreeMap::new();
    let mut before = 0;
    loop {
        let event = stream.next().unwrap();
        let position = position(event.id.as_deref().unwrap());
        assert_eq!(position, before + 1, "in order, each once");
        before = position;
        let message = event.data["message"].as_str().unwrap().to_owned();
        if message == "the end" {
            break;
        }
        found.insert(position, message);
    }
    for (position, message) in &answered {
        assert_eq!(
            found.get(position),
            Some(message),
            "answered with 201, and not there"
        );
    }
    let distinct: std::collections::BTreeSet<_> = found.values().collect();
    assert_eq!(distinct.len(), found.len(), "a message is there twice");
}

#[test]
fn nothing_answered_is_lost_when_the_server_is_killed_with_fsync() {
    killed_under_load("fsync");
}

#[test]
fn nothing_answered_is_lost_when_the_server_is_killed_with_write() {
    killed_under_load("write");
}

#[test]
fn memory_keeps_nothing_and_says_so_to_those_who_come_back() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        vec!["--durability", "memory"],
        vec!["--data-dir", ":memory:"],
    ] {
        let data = dir.path().join("data");
        let mut server = match arguments[0] {
            "--durability" => ServerProcess::start_in(common::BINARY, &data, &arguments),
            _ => ServerProcess::start_in(common::BINARY, std::path::Path::new(":memory:"), &[]),
        };
        let cursor = server.post("/v1/events", &notification("m")).json()["cursor"].clone();
        server.stop();
        server.restart();
        let headers = [("Last-Event-ID", cursor.as_str().unwrap())];
        let mut stream = EventStream::open(server.address(), "/mcp", &headers);
        assert_eq!(stream.next().unwrap().data["reason"], "epoch");
        assert!(!data.exists(), "nothing is written");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_refuses_publishers_keeps_streams_and_recovers() {
    let server = server(&[]);
    let mut stream = EventStream::open(server.address(), "/mcp", &[]);
    let publish = |message: &str| server.post("/v1/events", &notification(message));
    assert_eq!(publish("before").status, 201);

    limit_file_size(server.pid(), Some(0));
    let refused = publish("during");
    assert_eq!(refused.status, 503, "{refused:?}");
    let problem = refused.json();
    assert!(
        problem["detail"].as_str().unwrap().contains("disk"),
        "{problem}"
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["detail"].as_str().unwrap().contains("disk"),
        "{ready:?}"
    );
    assert!(server.metric("notification_publish_failures_total") >= 1.0);
    let reading = server.get("/v1/events").json();
    assert_eq!(reading["events"][0]["message"], "before");

    limit_file_size(server.pid(), None);
    eventually("the server is ready by itself", || {
        server.get("/readyz").status == 200
    });
    assert_eq!(publish("after").status, 201);
    let messages: Vec<_> = stream
        .take(2)
        .iter()
        .map(|e| e["message"].clone())
        .collect();
    assert_eq!(messages, ["before", "after"]);
}

#[test]
fn a_slow_reader_costs_nobody_anything_and_misses_nothing() {
    let server = server(&["--durability", "write"]);
    let slow = EventStream::open(server.address(), "/mcp", &[]);
    let mut fast = EventStream::open(server.address(), "/mcp", &[]);
    let before = resident_bytes(server.pid());
    let filler = "x".repeat(4_000);
    let done = AtomicBool::new(false);
    let count = 20_000;
    thread::scope(|scope| {
        scope.spawn(|| {
            for batch in 0..count / 100 {
                let events: Vec<_> = (0..100)
                    .map(|n| notification(&format!("{} {filler}", batch * 100 + n)))
                    .collect();
                let answer = server.post("/v1/events", &serde_json::Value::Array(events));
                assert_eq!(answer.status, 201, "{answer:?}");
            }
            done.store(true, Ordering::Relaxed);
        });
        for n in 0..count {
            let event = fast.next().unwrap();
            let message = event.data["message"].as_str().unwrap();
            assert!(
                message.starts_with(&format!("{n} ")),
                "{n}: {}",
                &message[..20]
            );
        }
    });
    assert!(done.load(Ordering::Relaxed));
    eventually("the server has noticed", || {
        server.metric("notification_slow_readers") == 1.0
    });
    // 80 MB have passed. The server keeps 8 MiB of them for those who are a
    // little behind, and nothing for the one that does not read.
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes more are resident");
    let mut slow = slow;
    for n in 0..count {
        let event = slow.next().unwrap();
        let message = event.data["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("{n} ")),
            "{n}: {}",
            &message[..20]
        );
    }
    eventually("it has caught up", || {
        server.metric("notification_slow_readers") == 0.0
    });
}
