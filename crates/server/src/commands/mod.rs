//! The commands that ask a server which runs.

mod ack;
mod clients;
mod event_types;
mod explain;
mod groups;
mod login;
mod publish;
mod run;
mod table;
mod tail;
mod tasks;
mod top;
mod watch;
mod webhooks;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use notification_client::Client;
use serde_json::Value;

pub(crate) use ack::AckArgs;
pub(crate) use clients::{ClientsCommand, run as clients};
pub(crate) use event_types::{EventTypesCommand, run as event_types};
pub(crate) use explain::ExplainArgs;
pub(crate) use groups::{GroupsCommand, run as groups};
pub(crate) use login::{LoginArgs, logout};
pub(crate) use publish::PublishArgs;
pub(crate) use run::RunArgs;
pub(crate) use tail::TailArgs;
pub(crate) use tasks::{TasksCommand, run as tasks};
pub(crate) use top::TopArgs;
pub(crate) use watch::WatchArgs;
pub(crate) use webhooks::{WebhooksCommand, run as webhooks};

use crate::key::presented;
use login::Login;

/// Where a server is looked for, if nothing else is said.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8005";

/// Which server, as whom, and how it is to be said.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server [default: that of `login`, or http://127.0.0.1:8005]
    #[arg(long, value_name = "URL", env = "NOTIFICATION_URL")]
    server: Option<String>,
    /// A file with a key for it [default: NOTIFICATION_KEY, or that of `login`]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print JSON, as is done where the output is no terminal
    #[arg(long)]
    json: bool,
}

impl Server {
    fn api(&self) -> anyhow::Result<Client> {
        let login = Login::read()?;
        let key = presented(self.key_file.as_deref())?;
        let server = match (&self.server, &login) {
            (Some(server), _) => server,
            (None, Some(login)) => &login.server,
            (None, None) => DEFAULT_SERVER,
        };
        // A key is for the server that it was given for.
        let known = login.as_ref().filter(|login| login.server == server);
        let key = key.or_else(|| known.and_then(|login| login.key.clone()));
        client(server, key.as_deref())
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

/// Who asks a server, with a key if there is one.
pub(crate) fn client(server: &str, key: Option<&str>) -> anyhow::Result<Client> {
    Ok(match key {
        Some(key) => Client::with_key(server, key)?,
        None => Client::new(server)?,
    })
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

/// The members of a list.
fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}
