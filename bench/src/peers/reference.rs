use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use notification_loadgen::Target;

use crate::cli::WRITER;
use crate::peers::Running;
use crate::process::Processes;

/// This program again, as the [writer](crate::writer).
pub(super) struct Reference {
    child: Child,
    target: Target,
}

impl Reference {
    pub(super) fn start() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(own)
            .arg(WRITER)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the reference")?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let address = read.ok().and_then(|_| line.trim().parse().ok());
        let target = address
            .context("the reference does not say where it listens")
            .and_then(|address| Ok(Target::loopback(address)?));
        match target {
            Ok(target) => Ok(Self { child, target }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

impl Running for Reference {
    fn target(&self) -> &Target {
        &self.target
    }

    fn processes(&self) -> anyhow::Result<Processes> {
        Ok(Processes::of(&[self.child.id()]))
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
