use std::mem::MaybeUninit;

use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use bytes::Bytes;

/// How much of a connection is looked at, in bytes: whoever reads the head of a
/// request here peeks with a buffer of this size, and what fills it is hyper's.
///
/// Browsers send 500 to 1,000 bytes, curl 100. What makes a head larger is
/// cookies, which other servers on the same host may have set. Such a head costs
/// a stream nothing but the way through hyper, whereas this much is held for
/// every connection that is slow to say what it wants.
pub(crate) const LOOK: usize = 4 << 10;

/// Hyper's limit.
const MAX_HEADERS: usize = 100;

/// What they begin with: method, space, and a target that is a path.
const GET: &[u8] = b"GET /";

/// Or that of the endpoint at which a stream is asked for in a body.
const POST: &[u8] = b"POST /mcp ";

/// What such a request says that it asks for (MCP revision 2026-07-28, Streamable
/// HTTP, "Standard Headers").
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const STREAM: &[u8] = b"events/stream";

/// What the first bytes of a connection are to a server that looks for event
/// streams.
#[derive(Debug)]
pub(crate) enum Head {
    /// They may become [`Head::Plain`] with more bytes.
    Partial,
    /// One whole request that asks for nothing but an answer, and nothing behind
    /// it: its length is that of the input. It is a `GET` without a body, or a `POST`
    /// that asks for a stream and has all of its body, and wants nothing of the
    /// connection. Hyper would make the same request of these bytes.
    Plain(Box<Request<Bytes>>),
    /// Anything else, right or wrong. Hyper knows.
    Other,
}

/// Looks at all that a client has sent so far, and takes only what leaves no
/// question. To say [`Head::Other`] is never wrong, so that is what everything
/// unusual is, be it legal or not: lines that end without a carriage return,
/// headers that are about the connection or a body, further requests.
pub(crate) fn read(bytes: &[u8]) -> Head {
    let begins = |start: &[u8]| {
        let length = bytes.len().min(start.len());
        bytes[..length] == start[..length]
    };
    if bytes.len() >= LOOK || !(begins(GET) || begins(POST)) {
        return Head::Other;
    }
    // One copy, which the request's target and values share.
    let bytes = Bytes::copy_from_slice(bytes);
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    // With the options that hyper gives it, which are none.
    match parsed.parse_with_uninit_headers(&bytes, &mut headers) {
        Ok(httparse::Status::Partial) => Head::Partial,
        Ok(httparse::Status::Complete(length)) => {
            let (head, body) = (bytes.slice(..length), bytes.slice(length..));
            match body_length(&parsed) {
                Some(expected) if body.len() < expected => Head::Partial,
                Some(expected) if body.len() == expected => {
                    plain(&head, &parsed, body).map_or(Head::Other, Head::Plain)
                }
                _ => Head::Other,
            }
        }
        Err(_) => Head::Other,
    }
}

/// How long the body is that follows a head; none if that is for hyper to find out.
fn body_length(parsed: &httparse::Request<'_, '_>) -> Option<usize> {
    if parsed.method == Some("GET") {
        return Some(0);
    }
    let mut lines = parsed.headers.iter();
    let asks =
        lines.any(|line| line.name.eq_ignore_ascii_case(METHOD.as_str()) && line.value == STREAM);
    let lengths = parsed.headers.iter();
    let mut lengths = lengths.filter(|line| line.name.eq_ignore_ascii_case("content-length"));
    let length = lengths.next().filter(|_| asks)?.value;
    // Written as everybody does; a length of its own that is larger than the look is.
    let is_plain = (1..=4).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(length).ok()?.parse().ok();
    length.filter(|_| is_plain && lengths.next().is_none())
}

/// The request that `bytes` are, if it is a plain one. `parsed` is what they say.
fn plain(
    bytes: &Bytes,
    parsed: &httparse::Request<'_, '_>,
    body: Bytes,
) -> Option<Box<Request<Bytes>>> {
    const HTTP_1_1: u8 = 1;
    if parsed.version != Some(HTTP_1_1) || !lines_end_with_crlf(bytes) {
        return None;
    }
    // A new one is a GET of HTTP/1.1.
    let mut request = Box::new(Request::new(body));
    let has_body = parsed.method == Some("POST");
    if has_body {
        *request.method_mut() = Method::POST;
    }
    let target = bytes.slice_ref(parsed.path?.as_bytes());
    *request.uri_mut() = Uri::from_maybe_shared(target).ok()?;
    let headers = request.headers_mut();
    headers.reserve(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        let is_length = has_body && name == header::CONTENT_LENGTH;
        if !is_length && !is_plain(&name, line.value) {
            return None;
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value)).ok()?;
        headers.append(name, value);
    }
    Some(request)
}

/// Whether all of a head's lines do. Only CRLF and LF end a line for httparse,
/// which allows a CR nowhere else.
fn lines_end_with_crlf(head: &[u8]) -> bool {
    let count = |byte| head.iter().filter(|b| **b == byte).count();
    count(b'\r') == count(b'\n')
}

/// Whether a header is about nothing but the answer: not about a body, the
/// connection, or what may follow (RFC 9110, sections 7.6, 7.8, 8.6 and 10.1;
/// RFC 9112, sections 6.1 and 6.2).
fn is_plain(name: &HeaderName, value: &[u8]) -> bool {
    match *name {
        header::CONNECTION => value
            .split(|b| *b == b',')
            .all(|option| option.trim_ascii().eq_ignore_ascii_case(b"keep-alive")),
        header::CONTENT_LENGTH
        | header::TRANSFER_ENCODING
        | header::EXPECT
        | header::UPGRADE
        | header::TE
        | header::TRAILER => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROWSER: &str = "GET /v1/stream?topic=builds/%2B&since=10m HTTP/1.1\r\n\
        Host: localhost:8005\r\n\
        Connection: keep-alive\r\n\
        sec-ch-ua-platform: \"Linux\"\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36\r\n\
        Accept: text/event-stream\r\n\
        Cache-Control: no-cache\r\n\
        sec-ch-ua: \"Chromium\";v=\"143\", \"Not A(Brand\";v=\"24\"\r\n\
        Last-Event-ID: 7k2m9qxv-1234\r\n\
        sec-ch-ua-mobile: ?0\r\n\
        Sec-Fetch-Site: same-origin\r\n\
        Sec-Fetch-Mode: cors\r\n\
        Sec-Fetch-Dest: empty\r\n\
        Referer: http://localhost:8005/\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\n\
        Accept-Language: en-GB,en;q=0.9\r\n\r\n";

    fn kind(bytes: &[u8]) -> &'static str {
        match read(bytes) {
            Head::Partial => "partial",
            Head::Plain(_) => "plain",
            Head::Other => "other",
        }
    }

    fn check(head: impl AsRef<[u8]>, expected: &str) {
        let head = head.as_ref();
        assert_eq!(kind(head), expected, "{}", head.escape_ascii());
    }

    /// What a request with this header is.
    fn check_header(line: &str, expected: &str) {
        check(
            format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"),
            expected,
        );
    }

    #[test]
    fn what_browsers_and_curl_send_is_plain() {
        check(BROWSER, "plain");
        check(
            "GET /v1/stream HTTP/1.1\r\nHost: localhost:8005\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n",
            "plain",
        );
        check("GET / HTTP/1.1\r\n\r\n", "plain");
    }

    #[test]
    fn a_request_is_what_its_head_says() {
        let Head::Plain(request) = read(BROWSER.as_bytes()) else {
            panic!("a browser's head is plain");
        };
        assert_eq!(request.method(), "GET");
        assert_eq!(request.version(), axum::http::Version::HTTP_11);
        assert_eq!(request.uri(), "/v1/stream?topic=builds/%2B&since=10m");
        assert_eq!(request.headers().len(), 15);
        assert_eq!(request.headers()["last-event-id"], "7k2m9qxv-1234");
    }

    #[test]
    fn every_line_of_a_header_counts_in_its_order() {
        let head = "GET / HTTP/1.1\r\nTags: b\r\nHost: h\r\ntags: a\r\nTAGS:\r\n\r\n";
        let Head::Plain(request) = read(head.as_bytes()) else {
            panic!("{head} is plain");
        };
        let tags: Vec<_> = request.headers().get_all("tags").iter().collect();
        assert_eq!(tags, ["b", "a", ""]);
    }

    #[test]
    fn more_is_awaited_only_if_it_may_become_a_plain_request() {
        for length in 0..BROWSER.len() {
            check(&BROWSER[..length], "partial");
        }
        for start in [
            "PU",
            "POST /v",
            "POST /mcp?",
            "GE ",
            "get",
            "GET *",
            "GET h",
            "\r\n",
            "\0",
            "PRI * HTTP/2",
        ] {
            check(start, "other");
        }
    }

    #[test]
    fn nothing_may_follow() {
        for more in ["\r\n", "x", "\0", BROWSER] {
            check(format!("{BROWSER}{more}"), "other");
        }
    }

    #[test]
    fn only_a_get_of_a_path_in_http_1_1_is_plain() {
        check("POST / HTTP/1.1\r\n\r\n", "other");
        check("HEAD / HTTP/1.1\r\n\r\n", "other");
        check("GETS / HTTP/1.1\r\n\r\n", "other");
        check("GET http://a/ HTTP/1.1\r\n\r\n", "other");
        check("GET * HTTP/1.1\r\n\r\n", "other");
        check("GET / HTTP/1.0\r\n\r\n", "other");
        check("GET / HTTP/2.0\r\n\r\n", "other");
        check("GET /\r\n\r\n", "other");
    }

    /// What asks for a stream in a body, with this header and body.
    fn asking(line: &str, body: &str) -> String {
        let method = "Mcp-Method: events/stream";
        format!("POST /mcp HTTP/1.1\r\nHost: a\r\n{method}\r\n{line}\r\n\r\n{body}")
    }

    #[test]
    fn a_stream_may_be_asked_for_in_a_body() {
        let whole = asking("Content-Length: 2", "{}");
        let Head::Plain(request) = read(whole.as_bytes()) else {
            panic!("{whole} is plain");
        };
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::POST, "/mcp")
        );
        assert_eq!(&request.body()[..], b"{}");
        assert_eq!(request.headers()["content-length"], "2");
        for length in 0..whole.len() {
            check(&whole[..length], "partial");
        }
        check(format!("{whole} "), "other");
        check(asking("Content-Length: 0", ""), "plain");
        check(asking("Content-Length: 9999", "{}"), "partial");
        for line in [
            "Content-Length: 10000",
            "Content-Length: +2",
            "Content-Length: 2, 2",
            "Content-Length: 2\r\nContent-Length: 2",
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            "Content-Length: 2\r\nExpect: 100-continue",
            "Content-Length: 2\r\nConnection: close",
            "Content-Length:",
            "Accept: */*",
        ] {
            check(asking(line, "{}"), "other");
        }
        for method in ["tools/call", "events/poll", "events/stream/"] {
            let other = whole.replace("events/stream", method);
            check(other, "other");
        }
        check(whole.replace("/mcp", "/mcp/"), "other");
        check(whole.replace("/mcp", "/v1/events"), "other");
    }

    #[test]
    fn what_is_about_the_connection_or_a_body_is_not_plain() {
        check_header("Content-Length: 0", "other");
        check_header("content-length: 1", "other");
        check_header("Transfer-Encoding: chunked", "other");
        check_header("Expect: 100-continue", "other");
        check_header("Upgrade: h2c", "other");
        check_header("TE: trailers", "other");
        check_header("Trailer: x", "other");
        check_header("Connection: close", "other");
        check_header("Connection: keep-alive, Upgrade", "other");
        check_header("Connection: keep-alive\r\nConnection: close", "other");
        check_header("Connection:", "other");
        check_header("Connection: keep-alive,", "other");
        check_header("Connection: Keep-Alive", "plain");
        check_header("connection:keep-alive , KEEP-ALIVE", "plain");
    }

    #[test]
    fn lines_are_as_they_should_be() {
        check("\r\nGET / HTTP/1.1\r\n\r\n", "other");
        check("GET / HTTP/1.1\n\n", "other");
        check("GET / HTTP/1.1\r\n\n", "other");
        check("GET / HTTP/1.1\n\r\n", "other");
        check("GET / HTTP/1.1\r\nHost: a\n\r\n", "other");
        check("GET  / HTTP/1.1\r\n\r\n", "other");
        check("GET /  HTTP/1.1\r\n\r\n", "other");
        check("GET / HTTP/1.1 \r\n\r\n", "other");
        check("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "other");
        check_header("Host : a", "other");
        check_header("Tags: a\r\n b", "other");
        check_header("Tags: a\rb", "other");
        check_header("Tags: a\0b", "other");
        check_header(": a", "other");
        check_header("Tags", "other");
        check_header("Tags: \t a b \t", "plain");
        check_header("Tags: é", "plain");
    }

    #[test]
    fn there_are_limits() {
        let with_headers = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        check(with_headers(MAX_HEADERS), "plain");
        check(with_headers(MAX_HEADERS + 1), "other");

        let line = "GET / HTTP/1.1\r\nHost: ";
        let of_size = |size| format!("{line}{}\r\n\r\n", "a".repeat(size - line.len() - 4));
        check(of_size(LOOK - 1), "plain");
        check(of_size(LOOK), "other");
        check(&of_size(LOOK + 1)[..LOOK - 1], "partial");
        check(&of_size(LOOK + 1)[..LOOK], "other");
    }
}
