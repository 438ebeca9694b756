use std::io::IsTerminal;

use notification_server::{LogFormat, Logging};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Sends this process's log to standard error.
pub(crate) fn start(logging: &Logging) {
    // rmcp warns of every mistake that a client makes; clients are told, and
    // must not be able to fill our log.
    let filter = format!("{},rmcp=off", logging.level);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr);
    match logging.format {
        LogFormat::Text => subscriber
            .with_ansi(std::io::stderr().is_terminal())
            .finish()
            .init(),
        LogFormat::Json => subscriber.json().finish().init(),
    }
}
