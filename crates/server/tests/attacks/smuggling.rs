//! Requests that are one to us and another, or two, to whoever stands before
//! us (RFC 9112, section 11.2). What is smuggled is told by its topic, and by
//! the stream it opens.

use crate::victim::Victim;
use crate::wire::{Answer, READERS, Reader, answer, answers};

/// A request of its own, hidden in another's body.
const SMUGGLED: &str =
    "POST /v1/topics/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nsmuggled";
const SMUGGLED_STREAM: &str = "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn assert_is_refused(bytes: &[u8], answers: &[Answer]) {
    let text = bytes[..bytes.len().min(600)].escape_ascii();
    assert!(answers.len() <= 1, "{text}: {answers:?}");
    for answer in answers {
        let is_refused = (400..=501).contains(&answer.status);
        assert!(is_refused, "{text}: {answer:?}");
    }
}

/// Nothing is made of a request with these header lines, whatever it is for and
/// whatever follows it; nor of what follows.
fn check_refused(victim: &Victim, lines: &[u8]) {
    for start in [
        "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n",
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\n",
        "POST /v1/topics/outer HTTP/1.1\r\nHost: localhost\r\n",
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n",
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n",
    ] {
        for follows in [
            "",
            "0\r\n\r\n",
            &format!("0\r\n\r\n{SMUGGLED}"),
            &format!("0\r\n\r\n{SMUGGLED_STREAM}"),
            &format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len()),
            SMUGGLED,
        ] {
            let bytes = [start.as_bytes(), lines, b"\r\n", follows.as_bytes()].concat();
            for reader in READERS {
                assert_is_refused(&bytes, &answers(victim.address(), &bytes, reader));
            }
        }
    }
}

#[test]
fn a_body_has_one_length() {
    let mut victim = Victim::new();
    for lines in [
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 0, 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length: ５\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "content-length: 5\r\nCONTENT-LENGTH: 6\r\n",
    ] {
        check_refused(&victim, lines.as_bytes());
    }
    victim.is_unharmed();
}

/// Chunks count, and the connection ends with the answer (RFC 9112, section
/// 6.1): whoever went by the length finds nothing where it sees the next request.
#[test]
fn two_framings_are_the_end_of_a_connection() {
    let mut victim = Victim::new();
    for (content_length, body) in [
        (5, format!("0\r\n\r\n{SMUGGLED}")),
        (5 + SMUGGLED.len(), format!("0\r\n\r\n{SMUGGLED}")),
        (0, format!("0\r\n\r\n{SMUGGLED_STREAM}")),
        (
            0,
            format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len()),
        ),
    ] {
        let [length, chunked] = [
            format!("Content-Length: {content_length}\r\n"),
            "Transfer-Encoding: chunked\r\n".to_owned(),
        ];
        for both in [[&*length, &*chunked], [&*chunked, &*length]] {
            let bytes = format!(
                "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}\r\n{body}",
                both.concat()
            );
            for reader in READERS {
                let refusal = answer(victim.address(), bytes.as_bytes(), reader);
                assert_eq!(refusal.status, 400, "{bytes}: {refusal:?}");
                assert!(refusal.head.contains("connection: close"), "{refusal:?}");
            }
        }
    }
    victim.is_unharmed();
}

#[test]
fn chunked_is_written_in_one_way_and_comes_last() {
    let mut victim = Victim::new();
    for lines in [
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunk\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: chun ked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: ,\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding:\r\n\tchunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: \x0cchunked\r\n",
        "Transfer-Encoding: chunked\0\r\n",
        "Transfer-Encoding: \u{a0}chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer_Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    ] {
        check_refused(&victim, lines.as_bytes());
    }
    victim.is_unharmed();
}

#[test]
fn a_header_is_one_line_of_text() {
    let mut victim = Victim::new();
    for lines in [
        "X-A: b\r\n Content-Length: 5\r\n",
        "X-A: b\r\n\tc\r\n",
        "X-A: b\0c\r\n",
        "X-A\0: b\r\n",
        "X-A: b\rContent-Length: 5\r\n",
        "X-A: b\r\r\n",
        "X-A\r\n",
        ": b\r\n",
        "X A: b\r\n",
        "X-A : b\r\n",
        "X-Ä: b\r\n",
        "X-A: \x01\r\n",
        "X-A: \x7f\r\n",
        "X(A): b\r\n",
        "X-A: b\x0b\r\n",
    ] {
        check_refused(&victim, lines.as_bytes());
    }
    victim.is_unharmed();
}

/// A line may end with LF alone (RFC 9112, section 2.2). It ends there for
/// every header, so nobody is told two requests.
#[test]
fn a_bare_lf_ends_a_line_and_hides_none() {
    let mut victim = Victim::new();
    let length = SMUGGLED.len();
    for head in [
        "POST /v1/events HTTP/1.1\nHost: evil.test\nContent-Length: {}\n\n",
        "POST /v1/events HTTP/1.1\r\nHost: evil.test\nContent-Length: {}\n\r\n",
        "POST /v1/events HTTP/1.1\r\nX-A: b\nHost: evil.test\r\nContent-Length: {}\r\n\r\n",
        "POST /v1/events HTTP/1.1\r\nHost: evil.test\r\nX-A: b\nContent-Length: {}\r\n\r\n",
        "GET /v1/stream HTTP/1.1\nHost: evil.test\nContent-Length: {}\n\n",
    ] {
        let bytes = head.replace("{}", &length.to_string()) + SMUGGLED;
        for reader in READERS {
            let refusal = answer(victim.address(), bytes.as_bytes(), reader);
            assert_eq!(refusal.status, 403, "{bytes}: {refusal:?}");
        }
    }
    victim.is_unharmed();
}

/// Whatever a request is refused for, its body is not the next request.
#[test]
fn the_body_of_a_refused_request_is_no_request() {
    let mut victim = Victim::new();
    for smuggled in [SMUGGLED, SMUGGLED_STREAM] {
        let chunked = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
        let length = format!("Content-Length: {}\r\n", smuggled.len());
        for (start, status) in [
            ("POST /v1/events HTTP/1.1\r\nHost: evil.test\r\n", 403),
            (
                "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n",
                403,
            ),
            (
                "POST /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.test\r\n",
                403,
            ),
            (
                "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n",
                415,
            ),
            ("POST /mcp HTTP/1.1\r\nHost: localhost\r\n", 415),
            ("POST /v1/events?x=y HTTP/1.1\r\nHost: localhost\r\n", 400),
            ("POST /nowhere HTTP/1.1\r\nHost: localhost\r\n", 404),
            ("DELETE /v1/events HTTP/1.1\r\nHost: localhost\r\n", 405),
            ("PUT /mcp HTTP/1.1\r\nHost: localhost\r\n", 405),
            ("GET /v1/stream?x=y HTTP/1.1\r\nHost: localhost\r\n", 400),
            ("GET /mcp HTTP/1.1\r\nHost: evil.test\r\n", 403),
            ("GET /v1/events HTTP/1.1\r\nHost: evil.test\r\n", 403),
            ("OPTIONS /v1/events HTTP/1.1\r\nHost: evil.test\r\n", 403),
            (
                "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n",
                400,
            ),
        ] {
            for more in ["", "Expect: 100-continue\r\n"] {
                for (framing, body) in [
                    (length.as_str(), smuggled),
                    ("Transfer-Encoding: chunked\r\n", &chunked),
                    ("Transfer-Encoding:\tchunked \r\n", &chunked),
                    ("TRANSFER-ENCODING: Chunked\r\n", &chunked),
                ] {
                    let bytes = format!("{start}{more}{framing}\r\n{body}");
                    for reader in READERS {
                        let refusal = answer(victim.address(), bytes.as_bytes(), reader);
                        assert_eq!(refusal.status, status, "{bytes}: {refusal:?}");
                    }
                }
            }
        }
    }
    victim.is_unharmed();
}

/// More than is ever read of a body that is refused.
#[test]
fn the_rest_of_a_body_that_is_too_large_is_no_request() {
    let mut victim = Victim::new();
    let filler = "x".repeat((1 << 20) - 100);
    let requests = SMUGGLED.repeat(200);
    let body = filler + &requests;
    for path in [
        "/v1/topics/outer",
        "/v1/events",
        "/mcp",
        "/v1/clients/c/acks",
    ] {
        let start = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        );
        let declared = format!("{start}Content-Length: {}\r\n\r\n{body}", body.len());
        let chunked = format!(
            "{start}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        for bytes in [declared, chunked] {
            let answers = answers(victim.address(), bytes.as_bytes(), Reader::Hyper);
            // The connection may be gone before the answer is read.
            assert!(answers.len() <= 1, "{answers:?}");
            assert!(answers.iter().all(|a| a.status == 413), "{answers:?}");
        }
    }
    victim.is_unharmed();
}

#[test]
fn chunks_are_what_they_say_and_not_endless() {
    let mut victim = Victim::new();
    let start =
        "POST /v1/topics/outer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "x".repeat(64 << 10);
    for body in [
        &format!("1;{long}\r\nm\r\n0\r\n\r\n"),
        &"1;x=y\r\nm\r\n".repeat(20_000),
        &format!("1\r\nm\r\n0\r\nX-Trailer: {long}\r\n\r\n"),
        &format!("1\r\nm\r\n0\r\n{}\r\n", "X-A: b\r\n".repeat(5_000)),
        &format!("0;\n{SMUGGLED}\r\n\r\n"),
        "-1\r\nm\r\n0\r\n\r\n",
        "+1\r\nm\r\n0\r\n\r\n",
        "0x1\r\nm\r\n0\r\n\r\n",
        " 1\r\nm\r\n0\r\n\r\n",
        "1 2\r\nm\r\n0\r\n\r\n",
        "g\r\nm\r\n0\r\n\r\n",
        "\r\nm\r\n0\r\n\r\n",
        "1\nm\n0\n\n",
        "1\rm\r0\r\r",
        "1\r\nmm\r\n0\r\n\r\n",
        "2\r\nm\r\n0\r\n\r\n",
        "1;\nx\r\nm\r\n0\r\n\r\n",
        "10000000000000001\r\nm\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nm\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nm\r\n0\r\n\r\n",
    ] {
        let bytes = format!("{start}{body}");
        for reader in READERS {
            assert_is_refused(
                bytes.as_bytes(),
                &answers(victim.address(), bytes.as_bytes(), reader),
            );
        }
    }
    victim.is_unharmed();
}

/// The first reader takes a request for a stream only if it is all there is.
#[test]
fn a_stream_is_the_last_request_of_its_connection() {
    let mut victim = Victim::new();
    for path in ["/v1/stream", "/mcp"] {
        for lines in [
            String::new(),
            format!("Content-Length: {}\r\n", SMUGGLED.len()),
            "Transfer-Encoding: chunked\r\n".to_owned(),
        ] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
            let bytes = format!("{head}{SMUGGLED}");
            for reader in READERS {
                let stream = answer(victim.address(), bytes.as_bytes(), reader);
                assert!(stream.is_stream(), "{bytes}: {stream:?}");
            }
        }
    }
    victim.is_unharmed();
}

#[test]
fn other_protocols_are_not_spoken() {
    let mut victim = Victim::new();
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
        b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"GET /v1/stream\r\n\r\n",
        b"GET /v1/stream HTTP/0.9\r\n\r\n",
        b"GET /v1/stream HTTP/1.0\r\n\r\n",
        b"GET /v1/stream HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET /v1/stream HTTP/1.1\r\nHost: evil.test\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\0\0\0\0",
        b"\r\n\r\n\r\n",
        b"EHLO evil.test\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ] {
        for reader in READERS {
            for answer in answers(victim.address(), bytes, reader) {
                assert_ne!(answer.status, 101, "{}: {answer:?}", bytes.escape_ascii());
                let is_refused = answer.status >= 400 || answer.is_stream();
                assert!(is_refused, "{}: {answer:?}", bytes.escape_ascii());
            }
        }
    }
    victim.is_unharmed();
}
