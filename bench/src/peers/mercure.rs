use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use notification_loadgen::{Message, PATIENCE, Target};
use tempfile::TempDir;

use crate::peers::{Running, end, first_line, free_target};
use crate::process::Processes;
use crate::setup::Setup;

const PROGRAM: &str = "mercure";

/// Where it takes messages and streams.
const PATH: &str = "/.well-known/mercure";

/// What the token is signed with, which is no secret: it runs for a moment, and
/// nobody but this machine can ask it.
const KEY: &str = "measured-on-loopback-and-nowhere-else";

/// `{"mercure":{"publish":["*"]}}`, signed with it (HS256).
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9\
    .eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0\
    .2GIoKqyZnakbRTHoRPVo2OuhYQIEGIgjlKKyb6V4yGQ";

/// Mercure's plain server (not the one built on Caddy) on a free port, with a
/// directory of its own.
pub(super) struct Mercure {
    child: Child,
    target: Target,
    _dir: TempDir,
}

/// What it calls itself.
///
/// # Errors
///
/// If it is not on `PATH`, or is the one built on Caddy, which is started in
/// another way.
pub(super) fn version() -> anyhow::Result<String> {
    let said = first_line(Command::new(PROGRAM).arg("--version"));
    let said = said.context("mercure is not on PATH")?;
    match said.strip_prefix("Mercure.rocks Hub version ") {
        Some(version) => Ok(format!("{version}, plain server")),
        None => bail!("mercure on PATH is not the plain server (its releases call it legacy)"),
    }
}

impl Mercure {
    pub(super) fn start(setup: &Setup) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix_in("notification-bench-mercure-", &setup.data_parent)?;
        let target = free_target()?;
        let log = dir.path().join("mercure.log");
        let child = Command::new(PROGRAM)
            .args(arguments(dir.path(), &target))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start mercure")?;
        let mut mercure = Self {
            child,
            target,
            _dir: dir,
        };
        mercure.wait_until_ready(&log)?;
        Ok(mercure)
    }

    fn wait_until_ready(&mut self, log: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.target.connect().is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(log).unwrap_or_default();
                bail!("mercure did not start: {}", log.trim());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Its defaults, but for what this load needs: messages in a file, of which it
/// keeps as many as nchan does, each synced before its publish is answered, which
/// cannot be turned off; streams without a token; no end to a stream after a
/// minute, and no heartbeats in it; no limit to how long a delivery takes, which
/// costs a goroutine and a timer for each, and ends streams on a busy machine. Its
/// log, a line for each delivery of which it drops 99 in 100, cannot be turned off
/// either, and goes to a file in the directory.
fn arguments(dir: &Path, target: &Target) -> Vec<String> {
    let transport = format!("bolt://{}/updates.db?size=1000", dir.display());
    let arguments = [
        ("--addr", target.to_string()),
        ("--transport-url", transport),
        ("--publisher-jwt-key", KEY.to_owned()),
        ("--allow-anonymous", "true".to_owned()),
        ("--write-timeout", "0s".to_owned()),
        ("--heartbeat-interval", "0s".to_owned()),
        ("--dispatch-timeout", "0s".to_owned()),
    ];
    let arguments = arguments.into_iter();
    arguments
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

impl Running for Mercure {
    fn target(&self) -> &Target {
        &self.target
    }

    fn processes(&self) -> anyhow::Result<Processes> {
        Ok(Processes::of(&[self.child.id()]))
    }

    fn stream_path(&self) -> &str {
        "/.well-known/mercure?topic=bench"
    }

    fn message(&self, size: usize) -> Message {
        let target = self.target.clone().with_bearer(TOKEN);
        Message::in_form(&target, PATH, "topic=bench&data=", size)
    }

    /// The whole answer.
    fn id(&self, answer: &[u8]) -> Option<String> {
        String::from_utf8(answer.to_vec()).ok()
    }
}

impl Drop for Mercure {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_and_writes_into_its_directory() {
        let target = Target::loopback(([127, 0, 0, 1], 8001).into()).unwrap();
        let arguments = arguments(Path::new("/tmp/x"), &target);
        for expected in [
            "--addr=127.0.0.1:8001",
            "--transport-url=bolt:///tmp/x/updates.db?size=1000",
        ] {
            assert!(
                arguments.iter().any(|found| found == expected),
                "{expected}"
            );
        }
    }
}
