//! Encrypted connections: certificates, HTTP/2, and that nothing is lost over them.

mod common;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{notification, server, server_with};
use notification_testkit::{ServerProcess, TlsConnection, curl, eventually, tls_client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

const STREAM: &str = "/v1/stream?client_id=alice&durable=true";

/// A certificate and its key.
struct Pair {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Pair {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["localhost", "127.0.0.1"].map(String::from);
        let params = rcgen::CertificateParams::new(names).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key }
    }
}

/// The files that a server takes its certificate from.
struct Files(TempDir);

impl Files {
    fn new(pair: &Pair) -> Self {
        let files = Self(TempDir::new().unwrap());
        files.write(pair);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// One file after the other, as people do.
    fn write(&self, pair: &Pair) {
        std::fs::write(self.path("cert.pem"), pair.certificate.pem()).unwrap();
        std::fs::write(self.path("key.pem"), pair.key.serialize_pem()).unwrap();
    }

    fn settings(&self) -> String {
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| self.path(name));
        format!("[tls]\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n")
    }

    fn server(&self) -> ServerProcess {
        server_with(&self.settings())
    }
}

fn publish(server: &ServerProcess, message: &str) -> String {
    let answer = server.post("/v1/events", &notification(message));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["cursor"].as_str().unwrap().to_owned()
}

/// How far the server knows that the durable client has got.
fn place(server: &ServerProcess) -> u64 {
    let status = server.get("/v1/clients/alice").json();
    position(status["cursor"].as_str().unwrap())
}

/// Cursors are opaque to clients; these tests look inside to know their order.
fn position(cursor: &str) -> u64 {
    cursor.split_once('-').unwrap().1.parse().unwrap()
}

fn reached(server: &ServerProcess, cursor: &str) {
    eventually("the client's place follows", || {
        place(server) >= position(cursor)
    });
}

fn message(event: &Value) -> &str {
    event["message"].as_str().unwrap()
}

/// A curl that reads a stream; ends with this value.
struct Watching {
    curl: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Watching {
    fn new(arguments: &[&str]) -> Self {
        let mut curl = Command::new("curl")
            .args(["--silent", "--no-buffer", "--max-time", "60"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl can be run");
        let lines = BufReader::new(curl.stdout.take().unwrap());
        Self { curl, lines }
    }

    fn until(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let length = self.lines.read_line(&mut line).unwrap();
            assert!(length > 0, "the stream ended before {part:?}");
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

#[test]
fn curl_streams_and_publishes_over_both_protocols() {
    let server = server(&["--tls-self-signed"]);
    let stream = server.url("/v1/stream");
    let topic = server.url("/v1/topics/a");
    for (protocol, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut watching = Watching::new(&["--insecure", protocol, &stream]);
        watching.until("connected");
        let data = format!("over {version}");
        let printed = "%{http_version} %{http_code}";
        let sent = [
            "--insecure",
            protocol,
            "--data",
            &data,
            "--output",
            "/dev/null",
            "--write-out",
            printed,
            &topic,
        ];
        assert_eq!(curl(&sent), format!("{version} 201"));
        watching.until(&data);
    }
    let welcome = server.get("/").body;
    assert!(welcome.contains(&server.url("/v1/stream")), "{welcome}");
}

#[test]
fn mcp_is_spoken_over_http_2() {
    let server = server(&["--tls-self-signed"]);
    let call = r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "connection_status", "arguments": {}}}"#;
    let url = server.url("/mcp");
    let json = "content-type: application/json";
    let answer = curl(&[
        "--insecure",
        "--http2",
        "--header",
        json,
        "--data",
        call,
        &url,
    ]);
    assert!(answer.contains("https://"), "{answer}");
}

#[test]
fn a_certificate_is_trusted_by_its_file_and_only_then_insisted_on() {
    let files = Files::new(&Pair::new());
    let server = files.server();
    let trusted = files.path("cert.pem");
    let url = format!("https://localhost:{}/healthz", server.address().port());
    curl(&["--cacert", trusted.to_str().unwrap(), &url]);

    let insisting = "strict-transport-security";
    let answer = server.get("/healthz");
    assert_eq!(answer.header(insisting), Some("max-age=31536000"));
    let refused = server.request("GET", "/healthz", &[("Host", "evil.test")], "");
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header(insisting), Some("max-age=31536000"));
    let stream = TlsConnection::open(server.address()).stream("/v1/stream", &[]);
    assert_eq!(stream.header(insisting), Some("max-age=31536000"));

    let own = common::server(&["--tls-self-signed"]);
    assert_eq!(own.get("/healthz").header(insisting), None);
    let plain = common::server(&[]);
    assert_eq!(plain.get("/healthz").header(insisting), None);
}

#[test]
fn every_answer_says_that_it_is_not_to_be_sniffed_or_framed() {
    let server = server(&[]);
    let expected = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    let evil = [("Host", "evil.test")];
    let origin = ("Origin", "http://localhost:3000");
    let method = ("Access-Control-Request-Method", "POST");
    let preflight = [origin, method];
    for (method, path, headers, status) in [
        ("GET", "/", &[][..], 200),
        ("GET", "/nowhere", &[], 404),
        ("PUT", "/v1/events", &[], 405),
        ("GET", "/v1/events", &evil, 403),
        ("POST", "/mcp", &[], 415),
        ("OPTIONS", "/v1/events", &preflight, 200),
    ] {
        let answer = server.request(method, path, headers, "");
        assert_eq!(answer.status, status, "{method} {path}");
        for (name, value) in expected {
            assert_eq!(answer.header(name), Some(value), "{method} {path}");
        }
    }
    let answer = server.request("GET", "/v1/events", &[origin], "");
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!(allowed, Some("http://localhost:3000"));
    // This one is carried without hyper.
    let stream = notification_testkit::EventStream::open(server.address(), "/v1/stream", &[]);
    for (name, value) in expected {
        assert_eq!(stream.header(name), Some(value));
    }
}

#[test]
fn a_new_certificate_is_for_new_connections_and_a_broken_one_for_none() {
    let (old, new, last) = (Pair::new(), Pair::new(), Pair::new());
    let files = Files::new(&old);
    let server = files.server();
    let shown = || TlsConnection::open(server.address()).certificate();
    let failures = || server.metric("notification_tls_reload_failures_total");
    assert_eq!(shown(), old.certificate.der().to_vec());
    let mut stream = TlsConnection::open(server.address()).stream("/v1/stream", &[]);

    files.write(&new);
    eventually("the new certificate is shown", || {
        shown() == new.certificate.der().to_vec()
    });
    publish(&server, "after the change");
    assert_eq!(message(&stream.take(1)[0]), "after the change");

    std::fs::write(files.path("key.pem"), old.key.serialize_pem()).unwrap();
    eventually("the wrong key is noticed", || failures() > 0.0);
    assert_eq!(shown(), new.certificate.der().to_vec());
    std::fs::remove_file(files.path("cert.pem")).unwrap();
    eventually("the missing certificate is noticed", || failures() > 1.0);
    assert_eq!(shown(), new.certificate.der().to_vec());

    files.write(&last);
    eventually("the last certificate is shown", || {
        shown() == last.certificate.der().to_vec()
    });
    // Each change was tried once.
    assert_eq!(failures(), 2.0);
    publish(&server, "still there");
    assert_eq!(message(&stream.take(1)[0]), "still there");
    let ends = server.metric("notification_tls_certificate_expiry_timestamp_seconds");
    assert!(ends > 0.0);
}

#[test]
fn without_a_certificate_that_can_be_used_nothing_is_started() {
    let check = |settings: &str, parts: &[&str]| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(settings.as_bytes()).unwrap();
        let output = Command::new(common::BINARY)
            .args(["--bind", "127.0.0.1:0", "--data-dir", ":memory:"])
            .arg("--config")
            .arg(file.path())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        for part in parts {
            assert!(said.contains(part), "{said:?} does not say {part:?}");
        }
    };
    let files = Files::new(&Pair::new());
    let other = Pair::new().key.serialize_pem();
    std::fs::write(files.path("key.pem"), other).unwrap();
    check(
        &files.settings(),
        &["tls.key_file", "key.pem", "not the key of the certificate"],
    );
    std::fs::write(files.path("cert.pem"), "nothing").unwrap();
    check(
        &files.settings(),
        &["tls.certificate_file", "cert.pem", "no certificate in it"],
    );
    std::fs::remove_file(files.path("cert.pem")).unwrap();
    check(
        &files.settings(),
        &["tls.certificate_file", "cert.pem", "No such file"],
    );
    check(
        "[tls]\nkey_file = \"key.pem\"",
        &["tls.certificate_file", "expected"],
    );
}

/// Says this, and returns all that is answered until the connection ends, in
/// whatever way.
fn say(server: SocketAddr, bytes: &[u8]) -> String {
    let mut connection = TcpStream::connect(server).unwrap();
    let limit = Some(notification_testkit::DEADLINE);
    connection.set_read_timeout(limit).unwrap();
    connection.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    match connection.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(answer).unwrap(),
    }
}

#[test]
fn plain_http_is_told_to_come_by_tls() {
    let server = server(&["--tls-self-signed"]);
    let answer = say(
        server.address(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("https://"), "{answer}");
    let failures = "notification_tls_handshake_failures_total{reason=\"plain\"}";
    assert_eq!(server.metric(failures), 1.0);
    // Whoever says nothing only wanted to know whether somebody listens.
    drop(TcpStream::connect(server.address()).unwrap());
    assert_eq!(server.metric(failures), 1.0);
}

#[test]
fn tls_is_not_answered_where_plain_http_is_spoken() {
    let server = server(&[]);
    assert_eq!(say(server.address(), b"\x16\x03\x01\x02\x00\x01\x00"), "");
}

#[test]
fn a_handshake_that_takes_too_long_is_given_up() {
    let server = server(&["--tls-self-signed"]);
    let address = server.address();
    let silent = std::thread::spawn(move || say(address, b""));
    assert_eq!(say(address, b"\x16\x03\x01"), "");
    assert_eq!(silent.join().unwrap(), "");
    let failures = "notification_tls_handshake_failures_total{reason=\"timeout\"}";
    eventually("both are counted", || server.metric(failures) == 2.0);
}

/// What was written to a connection whose other end has lost its network never arrived.
#[cfg(target_os = "linux")]
#[test]
fn what_was_encrypted_and_not_confirmed_comes_again() {
    let settings = "[tls]\nself_signed = true\n\
        [stream]\nheartbeat_seconds = 1\npeer_timeout_seconds = 1";
    let server = server_with(settings);
    let connect = || TlsConnection::open(server.address()).stream(STREAM, &[]);
    let mut stream = connect();
    let one = publish(&server, "one");
    assert_eq!(message(&stream.take(1)[0]), "one");
    reached(&server, &one);
    let connection = stream.into_connection();
    notification_testkit::deafen(&connection);
    publish(&server, "two");
    eventually("the connection is given up", || {
        server.metric("notification_connections") == 0.0
    });
    let mut again = connect();
    assert_eq!(message(&again.take(1)[0]), "two");
}

/// A client of HTTP/2 that reads a stream, and opens its window only when it is told to.
struct Http2Stream {
    sender: h2::client::SendRequest<&'static [u8]>,
    body: h2::RecvStream,
    text: String,
    /// What the client has not said to have read.
    held: usize,
    connection: tokio::task::JoinHandle<()>,
}

impl Http2Stream {
    async fn open(server: &ServerProcess, window: u32) -> Self {
        let socket = tokio::net::TcpStream::connect(server.address());
        let connector = TlsConnector::from(tls_client(&[b"h2"]));
        let name = ServerName::from(server.address().ip());
        let secured = connector.connect(name, socket.await.unwrap()).await;
        let client = h2::client::Builder::new()
            .initial_window_size(window)
            .handshake(secured.unwrap())
            .await;
        let (mut sender, connection) = client.unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        let response = request(&mut sender, &server.url(STREAM)).await;
        assert_eq!(response.status(), 200);
        Self {
            sender,
            body: response.into_body(),
            text: String::new(),
            held: 0,
            connection,
        }
    }

    /// Reads on, without opening the window again.
    async fn read(&mut self) {
        let limit = notification_testkit::DEADLINE;
        let chunk = tokio::time::timeout(limit, self.body.data());
        let chunk = chunk.await.expect("in time").expect("more").unwrap();
        self.held += chunk.len();
        self.text += std::str::from_utf8(&chunk).unwrap();
    }

    async fn until(&mut self, part: &str) {
        while !self.text.contains(part) {
            self.read().await;
            self.release();
        }
    }

    /// Opens the window as far as it was.
    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.body.flow_control().release_capacity(held).unwrap();
    }
}

async fn request(
    sender: &mut h2::client::SendRequest<&'static [u8]>,
    url: &str,
) -> http::Response<h2::RecvStream> {
    let request = http::Request::get(url).body(()).unwrap();
    std::future::poll_fn(|cx| sender.poll_ready(cx))
        .await
        .unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    response.await.unwrap()
}

fn block_on(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(story);
}

/// Without heartbeats, which say something after each event by themselves.
const SILENT: &str = "[tls]\nself_signed = true\n[stream]\nheartbeat_seconds = 3600";

#[test]
fn the_place_of_a_client_follows_what_it_gets_over_http_2() {
    let server = server_with(SILENT);
    block_on(async {
        let mut stream = Http2Stream::open(&server, 65_535).await;
        for n in 0..20 {
            let text = format!("number {n}.");
            let cursor = publish(&server, &text);
            stream.until(&text).await;
            reached(&server, &cursor);
        }
        // More than a frame, which is sent in parts.
        let large = "x".repeat(60_000);
        let event = json!({"type": "event", "name": "large", "data": {"text": large}});
        let answer = server.post("/v1/events", &event);
        stream.until(&large).await;
        reached(&server, answer.json()["cursor"].as_str().unwrap());
        stream.connection.abort();
    });
}

/// An event lies in the server, while the connection it belongs to has flushed
/// everything that it may send.
#[test]
fn what_waits_for_a_closed_window_has_not_arrived() {
    const WINDOW: usize = 1_500;
    let server = server_with(SILENT);
    block_on(async {
        let mut stream = Http2Stream::open(&server, WINDOW as u32).await;
        let one = publish(&server, "one");
        while !stream.text.contains("\"one\"") {
            stream.read().await;
        }
        reached(&server, &one);
        let large = format!("large {}.", "x".repeat(2 * WINDOW));
        let cursor = publish(&server, &large);
        publish(&server, "behind it");
        while stream.held < WINDOW {
            stream.read().await;
        }
        // The connection lives, and everything that it sends is confirmed.
        let watched = Instant::now();
        while watched.elapsed() < Duration::from_millis(500) {
            let answer = request(&mut stream.sender, &server.url("/healthz")).await;
            assert_eq!(answer.status(), 200);
            assert!(place(&server) < position(&cursor), "it has not arrived");
        }
        stream.connection.abort();
        drop(stream);
        eventually("the stream is closed", || {
            server.metric("notification_connections") == 0.0
        });
        assert!(place(&server) < position(&cursor), "it has not arrived");
        let mut again = Http2Stream::open(&server, 65_535).await;
        again.until("behind it").await;
        assert!(again.text.contains(&large));
        assert!(!again.text.contains("\"one\""));
    });
}
