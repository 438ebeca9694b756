use std::path::PathBuf;

use crate::server::{Binary, Durability, Server};

/// What every row needs to start a server.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) binary: Binary,
    /// Where data directories are made.
    pub(crate) data_parent: PathBuf,
    /// The most connections that any row opens at a time.
    pub(crate) connections: usize,
}

impl Setup {
    /// Starts ours, with `settings`, the text of a configuration file.
    pub(crate) fn server(&self, durability: Durability, settings: &str) -> anyhow::Result<Server> {
        Server::start(&self.binary, &self.data_parent, durability, settings)
    }
}
