//! What the tests of the running server share.

use notification_testkit::ServerProcess;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_notification-server");

/// The server, with a data directory of its own.
pub(crate) fn server(arguments: &[&str]) -> ServerProcess {
    ServerProcess::start(BINARY, arguments)
}

/// A notification, as publishers write it.
#[allow(dead_code, reason = "not every test publishes")]
pub(crate) fn notification(message: &str) -> serde_json::Value {
    serde_json::json!({"type": "notification", "message": message})
}
