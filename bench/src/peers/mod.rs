//! What the server is compared with. A peer is a file here, a variant of
//! [`Peer`], and its name in the rows that it makes sense for.

mod nchan;
mod ours;
mod reference;

use anyhow::{Context, bail};
use clap::ValueEnum;
use notification_loadgen::Target;
use serde::Serialize;

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
    fn publish_path(&self) -> &str {
        "/v1/events"
    }

    /// The member of the answer to publishing that is the message's `id:`.
    fn id_member(&self) -> &str {
        "cursor"
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
        }
    }

    fn version(self, setup: &Setup) -> anyhow::Result<String> {
        match self {
            Self::Ours => setup.binary.version(),
            Self::Reference => Ok("one write per delivery".to_owned()),
            Self::Nchan => nchan::version(),
        }
    }

    /// Starts a fresh one.
    pub(crate) fn start(self, setup: &Setup) -> anyhow::Result<Box<dyn Running>> {
        Ok(match self {
            Self::Ours => Box::new(ours::start(setup)?),
            Self::Reference => Box::new(reference::Reference::start()?),
            Self::Nchan => Box::new(nchan::Nchan::start(setup)?),
        })
    }
}
