use notification_loadgen::Target;

use crate::peers::Running;
use crate::process::Processes;
use crate::server::{Durability, Server};
use crate::setup::Setup;

/// The server with its default settings and a log on a disk, whose speed is not
/// what is compared.
pub(super) fn start(setup: &Setup) -> anyhow::Result<Server> {
    setup.server(Durability::Write, "")
}

impl Running for Server {
    fn target(&self) -> &Target {
        self.target()
    }

    fn processes(&self) -> anyhow::Result<Processes> {
        Ok(self.processes())
    }
}
