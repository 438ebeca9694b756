//! Compares what `head.rs` makes of bytes with what hyper makes of them. For
//! tests, and for the fuzz target of the same name.

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use crate::head::{Head, LOOK, read};
use crate::serve::protocol;

/// Panics if [`read`] takes for a plain request what hyper serves in another way,
/// or what it should not have waited for. Returns whether it takes `bytes` for one.
pub(crate) fn check_head(bytes: &[u8]) -> bool {
    let Head::Plain(ours) = read(bytes) else {
        return false;
    };
    let (ours, our_body) = ours.into_parts();
    let (hypers, its_body) = served_by_hyper(bytes);
    assert_eq!(our_body, its_body);
    assert_eq!(ours.method, hypers.method);
    assert_eq!(ours.version, hypers.version);
    // Not only equal, which addresses are in whatever case.
    assert_eq!(ours.uri.to_string(), hypers.uri.to_string());
    assert_eq!(ours.uri.path_and_query(), hypers.uri.path_and_query());
    assert_eq!(lines(&ours), lines(&hypers));
    assert!(ours.extensions.is_empty() && hypers.extensions.is_empty());

    for length in [0, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(read(&bytes[..length]), Head::Partial), "{length}");
    }
    assert!(matches!(read(&[bytes, b"\n"].concat()), Head::Other));
    true
}

/// The headers in the order in which they are found.
fn lines(request: &Parts) -> Vec<(&HeaderName, &HeaderValue)> {
    request.headers.iter().collect()
}

/// Longer than anything here takes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The one request that a connection of `bytes` is to hyper.
fn served_by_hyper(bytes: &[u8]) -> (Parts, Bytes) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without a thread");
    }
    let requests = RefCell::new(Vec::new());
    let service = service_fn(async |request: hyper::Request<Incoming>| {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("all of it is there");
        requests.borrow_mut().push((parts, body.to_bytes()));
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let (mut client, server) = tokio::io::duplex(2 * LOOK);
    let connection = protocol(HEAD_TIMEOUT).serve_connection(TokioIo::new(server), service);
    // Hangs up only once it has the answer: earlier would be another story.
    let client = async move {
        let mut answer = Vec::new();
        client.write_all(bytes).await?;
        while !answer.ends_with(b"\r\n\r\n") && client.read_buf(&mut answer).await? > 0 {}
        std::io::Result::Ok(answer)
    };
    let both = async { tokio::join!(connection, client) };
    let (served, answer) = RUNTIME.with(|runtime| runtime.block_on(both));
    served.expect("hyper takes it, too");

    // It would have gone on, had there been more.
    let answer = String::from_utf8(answer.unwrap()).expect("the head of an answer is text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.contains("connection:"), "{answer}");

    let mut requests: Vec<_> = requests.into_inner();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    /// Mostly the first, seldom one of the others.
    fn mostly(
        usual: impl Strategy<Value = Vec<u8>> + 'static,
        others: &'static [&'static str],
    ) -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![30 => usual, 1 => text(others)]
    }

    fn text(choices: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        select(choices).prop_map(|text| text.as_bytes().to_vec())
    }

    fn matching(regex: &'static str) -> impl Strategy<Value = Vec<u8>> {
        proptest::string::bytes_regex(regex).unwrap()
    }

    /// Names that mean something to the server, to hyper or to neither.
    const NAMES: &[&str] = &[
        "Host",
        "host",
        "Accept",
        "ACCEPT",
        "Origin",
        "Last-Event-ID",
        "Connection",
        "Cookie",
        "x-a",
        "X-B",
        "Keep-Alive",
        "Proxy-Connection",
    ];
    const UNUSUAL_NAMES: &[&str] = &[
        "",
        "Content-Length",
        "Transfer-Encoding",
        "Expect",
        "Upgrade",
        "TE",
        "Trailer",
        "Content-Type",
        " Host",
        "Host ",
        "Ho st",
        "H\u{f6}st",
        "H\0",
        "Connection\t",
    ];
    const VALUES: &[&str] = &[
        "",
        "a",
        "keep-alive",
        "Keep-Alive, keep-alive",
        "*/*",
        "text/event-stream",
        "localhost:8005",
        "gzip, deflate",
        "caf\u{e9}",
    ];
    const UNUSUAL_VALUES: &[&str] = &[
        "close",
        "upgrade",
        "keep-alive, close",
        "chunked",
        "0",
        "5",
        "100-continue",
        "trailers",
        "a\r\n b",
        "a\r\n\tb",
        "a\rb",
        "a\0",
        "a\u{7f}",
        "a\nb",
    ];
    const UNUSUAL_TARGETS: &[&str] = &[
        "",
        "*",
        "http://a/b",
        "//a/b",
        "/a#b",
        "/#",
        "/?",
        "/\u{fc}",
        "/a b",
        "a",
        "/a\tb",
        "/\"<>`{|}",
        "/%zz",
        "/..//.",
        "/a?b?c#d#e",
    ];

    /// A head as clients make them.
    fn ordinary() -> impl Strategy<Value = Vec<u8>> {
        let target = matching("/[a-zA-Z0-9/._~%+-]{0,30}(\\?[a-z0-9=&%/.*-]{0,30})?");
        let name = prop_oneof![
            select(&["Host", "Accept", "X-Anything", "tags"][..])
                .prop_map(|n| n.as_bytes().to_vec()),
            matching("x[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,10}"),
        ];
        let value = matching("([!-~\u{80}-\u{7ff}]([ -~\t]{0,20}[!-~])?)?");
        let space = text(&["", " ", "\t", "  "]);
        let line =
            (name, space, value).prop_map(|(n, s, v)| [&n[..], b":", &s, &v, b"\r\n"].concat());
        (target, vec(line, 0..12)).prop_map(|(target, lines)| {
            [
                &b"GET "[..],
                &target,
                b" HTTP/1.1\r\n",
                &lines.concat(),
                b"\r\n",
            ]
            .concat()
        })
    }

    /// A request for a stream in a body, as clients make them, or nearly.
    fn asking() -> impl Strategy<Value = Vec<u8>> {
        let methods: &[&str] = &[
            "mcp-method: events/stream\r\n",
            "Mcp-Method: events/poll\r\n",
            "",
        ];
        let method = mostly(text(&["Mcp-Method: events/stream\r\n"]), methods);
        let name = text(&["Content-Length", "content-length", "X-Length"]);
        let line =
            (text(NAMES), text(VALUES)).prop_map(|(n, v)| [&n[..], b":", &v, b"\r\n"].concat());
        let body = matching("[ -~]{0,40}");
        let off = prop_oneof![30 => Just(0_i64), 1 => -2..3_i64];
        (method, name, vec(line, 0..4), body, off).prop_map(|(method, name, lines, body, off)| {
            let length = (body.len() as i64 + off).to_string();
            let length = [&name[..], b": ", length.as_bytes(), b"\r\n"].concat();
            let start = b"POST /mcp HTTP/1.1\r\n";
            [
                &start[..],
                &method,
                &length,
                &lines.concat(),
                b"\r\n",
                &body,
            ]
            .concat()
        })
    }

    /// A head of which some part may be as it should not.
    fn unusual() -> impl Strategy<Value = Vec<u8>> {
        let end = || {
            mostly(
                text(&["\r\n"]),
                &["\n", "\r", "\r\n\r\n", "\r\n ", "", " \r\n"],
            )
        };
        let method = mostly(
            text(&["GET"]),
            &["", "get", "HEAD", "POST", "\r\nGET", " GET", "GET\t"],
        );
        let space = || mostly(text(&[" "]), &["", "  ", "\t"]);
        let target = mostly(matching("/[!-~]{0,20}"), UNUSUAL_TARGETS);
        let version = mostly(
            text(&["HTTP/1.1"]),
            &["HTTP/1.0", "HTTP/1.2", "http/1.1", "HTTP/2.0", ""],
        );
        let start = (method, space(), target, space(), version, end());
        let start = start.prop_map(|(m, a, t, b, v, e)| [m, a, t, b, v, e].concat());
        let name = mostly(
            prop_oneof![text(NAMES), matching("[a-zA-Z-]{1,8}")],
            UNUSUAL_NAMES,
        );
        let colon = mostly(
            text(&[":", ": ", ":\t", ":  "]),
            &["", " :", "::", ":\r\n "],
        );
        let value = mostly(
            prop_oneof![text(VALUES), matching("[ -~\t\u{80}-\u{ff}]{0,20}")],
            UNUSUAL_VALUES,
        );
        let line = (name, colon, value, end()).prop_map(|(n, c, v, e)| [n, c, v, e].concat());
        let rest = mostly(text(&[""]), &["\r\n", "a", "GET / HTTP/1.1\r\n\r\n", "\0"]);
        (start, vec(line, 0..8), end(), rest)
            .prop_map(|(start, lines, end, rest)| [start, lines.concat(), end, rest].concat())
    }

    /// Any of them with a few bytes replaced, put in or taken out.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![select(&b"\r\n \t:,/\0#?"[..]), any::<u8>()];
        let damage = (any::<Index>(), byte, 0..2_usize, 0..2_usize);
        (
            prop_oneof![ordinary(), unusual(), asking()],
            vec(damage, 0..3),
        )
            .prop_map(|(mut head, damages)| {
                for (at, byte, put, taken) in damages {
                    let at = at.index(head.len() + 1);
                    let end = (at + taken).min(head.len());
                    head.splice(at..end, std::iter::repeat_n(byte, put));
                }
                head
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn an_ordinary_head_is_plain_and_the_same_to_hyper(head in ordinary()) {
            prop_assert!(check_head(&head), "{}", head.escape_ascii());
        }

        #[test]
        fn an_unusual_head_is_hypers_or_the_same_to_hyper(head in unusual()) {
            check_head(&head);
        }

        #[test]
        fn a_request_for_a_stream_is_hypers_or_the_same_to_hyper(request in asking()) {
            check_head(&request);
        }

        #[test]
        fn a_damaged_head_is_hypers_or_the_same_to_hyper(head in damaged()) {
            check_head(&head);
        }
    }
}
