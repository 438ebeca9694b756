//! What the server is compared with. A peer is a file here, a variant of
//! [`Peer`], and its name in the rows that it makes sense for.

mod mercure;
mod nchan;
mod origin;
mod ours;
mod pushpin;
mod reference;

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use notification_loadgen::{Message, PATIENCE, Target};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde_json::Value;

use crate::process::Processes;
use crate::setup::Setup;

/// Something that takes messages and has streams on which they are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Peer {
    /// The server that is measured, as it is shipped, with durability `write`
    Ours,
    /// The bench's own: one `write` per delivery on each core, and nothing else
    Reference,
    /// nginx with the module nchan, which keeps messages in memory
    Nchan,
    /// Mercure, its plain server, which keeps messages in a file
    Mercure,
    /// Pushpin, which keeps none, before an origin of the bench's own
    Pushpin,
}

/// A peer that runs until this is dropped.
pub(crate) trait Running: Sync {
    /// Where it listens.
    fn target(&self) -> &Target;

    /// All its processes.
    fn processes(&self) -> anyhow::Result<Processes>;

    /// Where streams are opened.
    fn stream_path(&self) -> &str {
        "/v1/stream"
    }

    /// Where messages are published, one at a time.
    fn publish_target(&self) -> &Target {
        self.target()
    }

    /// What publishes them there, each of so many bytes.
    fn message(&self, size: usize) -> Message {
        Message::new(self.publish_target(), size)
    }

    /// What the answer to publishing says that the message's `id:` is.
    fn id(&self, answer: &[u8]) -> Option<String> {
        member(answer, "cursor")
    }
}

impl Peer {
    /// Those that were asked for, all of which have to be there; or, if none
    /// was, those that are there. Says on standard error which are not.
    pub(crate) fn find(asked_for: &[Self], setup: &Setup) -> anyhow::Result<Vec<(Self, String)>> {
        let mut found = Vec::new();
        for peer in Self::value_variants() {
            match peer.version(setup) {
                _ if !asked_for.is_empty() && !asked_for.contains(peer) => {}
                Ok(version) => found.push((*peer, version)),
                Err(missing) if asked_for.is_empty() => {
                    eprintln!("{} is left out: {missing:#}", peer.name());
                }
                Err(missing) => return Err(missing).context(peer.name()),
            }
        }
        if found.is_empty() {
            bail!("--peers: there is nothing to measure");
        }
        Ok(found)
    }

    /// As it is called in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Reference => "reference",
            Self::Nchan => "nchan",
            Self::Mercure => "mercure",
            Self::Pushpin => "pushpin",
        }
    }

    fn version(self, setup: &Setup) -> anyhow::Result<String> {
        match self {
            Self::Ours => setup.binary.version(),
            Self::Reference => Ok("one write per delivery".to_owned()),
            Self::Nchan => nchan::version(),
            Self::Mercure => mercure::version(),
            Self::Pushpin => pushpin::version(),
        }
    }

    /// Starts a fresh one.
    pub(crate) fn start(self, setup: &Setup) -> anyhow::Result<Box<dyn Running>> {
        Ok(match self {
            Self::Ours => Box::new(ours::start(setup)?),
            Self::Reference => Box::new(reference::Reference::start()?),
            Self::Nchan => Box::new(nchan::Nchan::start(setup)?),
            Self::Mercure => Box::new(mercure::Mercure::start(setup)?),
            Self::Pushpin => Box::new(pushpin::Pushpin::start()?),
        })
    }
}

/// A loopback port on which nothing listens. Nobody else on this machine is
/// looking for one just now.
fn free_target() -> anyhow::Result<Target> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    Ok(Target::loopback(address)?)
}

/// A member of a JSON object, which is a string.
fn member(json: &[u8], name: &str) -> Option<String> {
    let json: Value = serde_json::from_slice(json).ok()?;
    Some(json[name].as_str()?.to_owned())
}

/// The first line of what a program says on standard output.
fn first_line(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Asks a program to end, as those that it has started end with it only then.
fn end(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + PATIENCE;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}
