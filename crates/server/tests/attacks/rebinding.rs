//! DNS rebinding: the page of another site whose name now leads to this machine.
//! To the browser it talks to its own server.

use crate::victim::Victim;
use crate::wire::{READERS, answer, answers};

/// Names under which nobody reaches this server.
const NAMES: [&str; 12] = [
    "evil.test",
    "evil.test:80",
    "localhost.evil.test",
    "127.0.0.1.evil.test",
    "localhost.",
    "xn--localhost-.test",
    "evil.test#localhost",
    "localhost@evil.test",
    "localhost, evil.test",
    "192.0.2.1",
    "[::ffff:192.0.2.1]",
    "0.0.0.0",
];

/// One request for each door, with its body.
const REQUESTS: [(&str, &str); 9] = [
    ("GET /v1/stream", ""),
    ("GET /mcp", ""),
    ("GET /v1/events?since=all", ""),
    (
        "POST /v1/events",
        r#"{"type":"notification","message":"m"}"#,
    ),
    ("POST /v1/topics/ops", "m"),
    ("PUT /v1/tasks/t", r#"{"task_name":"T"}"#),
    ("PUT /v1/groups/ops/clients/eve", ""),
    (
        "POST /mcp",
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_notification","arguments":{"message":"m"}}}"#,
    ),
    ("OPTIONS /v1/events", ""),
];

/// A request that would be right but for its `host` lines.
fn request(line: &str, host: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The same without what makes a stream's request one that hyper has to read.
fn plain(line: &str, host: &str, body: &str) -> Vec<u8> {
    match body {
        "" => format!("{line} HTTP/1.1\r\n{host}\r\n").into_bytes(),
        _ => request(line, host, body),
    }
}

#[test]
fn a_name_that_was_rebound_opens_no_door() {
    let mut victim = Victim::new();
    for name in NAMES {
        for (line, body) in REQUESTS {
            for origin in [
                String::new(),
                format!("Origin: http://{name}\r\n"),
                "Origin: http://localhost\r\n".to_owned(),
            ] {
                let host = format!("Host: {name}\r\n{origin}");
                for reader in READERS {
                    let refusal = answer(victim.address(), &plain(line, &host, body), reader);
                    assert!(
                        [400, 403].contains(&refusal.status),
                        "{line} {host}: {refusal:?}"
                    );
                    let head = refusal.head;
                    assert!(!head.contains("access-control-allow-origin"), "{head}");
                }
            }
        }
    }
    victim.is_unharmed();
}

/// The target's authority is the request's host (RFC 9112, section 3.2.2).
#[test]
fn a_rebound_name_in_the_target_is_one_all_the_same() {
    let mut victim = Victim::new();
    for (line, body) in REQUESTS {
        let (method, path) = line.split_once(' ').unwrap();
        for scheme in ["http", "https", "HTTP"] {
            for host in ["evil.test", "evil.test:80", "user@localhost"] {
                let line = format!("{method} {scheme}://{host}{path}");
                let right = "Host: localhost\r\n";
                for reader in READERS {
                    let refusal = answer(victim.address(), &plain(&line, right, body), reader);
                    assert!([400, 403].contains(&refusal.status), "{line}: {refusal:?}");
                }
            }
        }
    }
    for line in ["CONNECT evil.test:80", "CONNECT localhost:80", "OPTIONS *"] {
        for refusal in answers(
            victim.address(),
            &plain(line, "Host: evil.test\r\n", ""),
            READERS[0],
        ) {
            assert!((400..500).contains(&refusal.status), "{line}: {refusal:?}");
        }
    }
    victim.is_unharmed();
}

#[test]
fn what_proxies_say_of_the_host_does_not_count() {
    let mut victim = Victim::new();
    let lies = "X-Forwarded-Host: localhost\r\nX-Host: localhost\r\nX-Original-Host: localhost\r\n\
                X-Forwarded-Server: localhost\r\nForwarded: host=localhost\r\n\
                X-HTTP-Host-Override: localhost\r\nX-Original-URL: http://localhost/\r\n\
                X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n";
    for (line, body) in REQUESTS {
        for reader in READERS {
            let host = format!("Host: evil.test\r\n{lies}");
            let refusal = answer(victim.address(), &plain(line, &host, body), reader);
            assert_eq!(refusal.status, 403, "{line}: {refusal:?}");
        }
    }
    victim.is_unharmed();
}

#[test]
fn there_is_one_host_and_it_is_said_once() {
    let mut victim = Victim::new();
    for hosts in [
        "",
        "Host:\r\n",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nHost: evil.test\r\n",
        "Host: evil.test\r\nHost: localhost\r\n",
        "Host: localhost\r\nhost: evil.test\r\n",
        "Host : localhost\r\n",
        "Host: evil.test\r\n\tlocalhost\r\n",
        "Host: localhost\0evil.test\r\n",
        "Host: localhost/evil.test\r\n",
        "Host: http://localhost\r\n",
        "Host: local host\r\n",
        "Host: lоcalhost\r\n",
        "Host: ①②⑦.⓪.⓪.①\r\n",
    ] {
        for (line, body) in REQUESTS {
            for reader in READERS {
                let refusal = answer(victim.address(), &plain(line, hosts, body), reader);
                assert_eq!(refusal.status, 400, "{line} {hosts:?}: {refusal:?}");
            }
        }
    }
    victim.is_unharmed();
}
