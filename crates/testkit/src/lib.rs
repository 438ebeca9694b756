//! What tests of the whole server share: the real thing, over real sockets.
//!
//! - [`ServerProcess`]: the server's binary on a free port, with a directory of its own.
//! - [`EventStream`]: an open stream and what arrives on it.
//! - [`request`] and [`post_json`]: one HTTP exchange each; [`curl`]: the real one.
//! - [`Receiver`]: one of webhooks, which keeps what it is sent.
//! - [`TlsConnection`]: one that speaks TLS, for a request or a stream.
//! - [`signal`] and its like (`system.rs`): what is done to processes and sockets.
//! - [`eventually`]: waits for something to become true, and fails if it does not.
//!
//! Everything blocks, with a deadline that only a broken server reaches.

mod http;
mod receiver;
mod server;
mod stream;
mod system;
mod tls;

use std::process::Command;
use std::time::{Duration, Instant};

pub use http::{Response, post_json, request};
pub use receiver::{Received, Receiver, response};
pub use server::ServerProcess;
pub use stream::{EventStream, StreamEvent};
#[cfg(target_os = "linux")]
pub use system::{deafen, limit_file_size, open_files, vanish};
pub use system::{resident_bytes, signal};
pub use tls::{TlsConnection, tls_client};

/// How long to wait for something that a working server does at once, on a
/// machine that is busy with other things.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` is true.
///
/// # Panics
///
/// If it does not become true before the [`DEADLINE`].
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "this did not happen: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs the real curl, silently, and returns what it printed.
///
/// # Panics
///
/// If curl is not there or fails.
pub fn curl(arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments);
    let output = command.output().expect("curl can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {stderr}");
    String::from_utf8(output.stdout).expect("curl printed UTF-8")
}
