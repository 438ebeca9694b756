//! The commands that ask a server which runs.

mod explain;
mod publish;
mod run;
mod tail;
mod webhooks;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use notification_server::Api;
use serde_json::Value;

pub(crate) use explain::ExplainArgs;
pub(crate) use publish::PublishArgs;
pub(crate) use run::RunArgs;
pub(crate) use tail::TailArgs;
pub(crate) use webhooks::{WebhooksCommand, run as webhooks};

use crate::key::presented;

/// Which server, as whom, and how it is to be said.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server, such as https://events.example.com
    #[arg(
        long,
        value_name = "URL",
        env = "NOTIFICATION_URL",
        default_value = "http://127.0.0.1:8005"
    )]
    server: String,
    /// A file with a key for it [default: NOTIFICATION_KEY, if that is set]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print JSON, as is done where the output is no terminal
    #[arg(long)]
    json: bool,
}

impl Server {
    fn api(&self) -> anyhow::Result<Api> {
        let key = presented(self.key_file.as_deref())?;
        Ok(Api::new(&self.server, key.as_deref())?)
    }

    fn wants_json(&self) -> bool {
        self.json || !std::io::stdout().is_terminal()
    }

    /// What is printed of an answer.
    fn say(&self, answer: &Value, for_people: impl FnOnce(&Value) -> String) -> String {
        match self.wants_json() {
            true => format!("{answer}\n"),
            false => for_people(answer),
        }
    }
}

/// A name as a part of a path.
fn segment(text: &str) -> String {
    let encoded = text.bytes().map(|b| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(b).to_string()
        }
        b => format!("%{b:02X}"),
    });
    encoded.collect()
}

/// Text without what would move a terminal's cursor or colour it.
fn plain(text: &str) -> String {
    let shown = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c });
    shown.collect()
}

/// A field, as people read it.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
