//! What the tests of the running server share.

use notification_testkit::ServerProcess;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_notification-server");

/// The server, with a data directory of its own.
#[allow(dead_code, reason = "not every test goes without settings")]
pub(crate) fn server(arguments: &[&str]) -> ServerProcess {
    ServerProcess::start(BINARY, arguments)
}

/// The server, with these settings.
#[allow(dead_code, reason = "not every test has settings")]
pub(crate) fn server_with(settings: &str) -> ServerProcess {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, settings.as_bytes()).unwrap();
    server(&["--config", file.path().to_str().unwrap()])
}

/// A notification, as publishers write it.
#[allow(dead_code, reason = "not every test publishes")]
pub(crate) fn notification(message: &str) -> serde_json::Value {
    serde_json::json!({"type": "notification", "message": message})
}

/// The fields that a refusal with this status names.
#[allow(dead_code, reason = "not every test is refused something")]
pub(crate) fn refused(answer: &notification_testkit::Response, status: u16) -> Vec<String> {
    assert_eq!(answer.status, status, "{answer:?}");
    let media_type = answer.header("content-type");
    assert_eq!(media_type, Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    let errors = problem["errors"].as_array().into_iter().flatten();
    errors
        .map(|error| error["field"].as_str().unwrap().to_owned())
        .collect()
}
