use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use notification_loadgen::{PATIENCE, Target};
use notification_testkit::{Response, ServerProcess};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Processes;

/// How long to wait before the server is asked the same again.
const PAUSE: Duration = Duration::from_millis(10);

/// The server that is measured, not running.
#[derive(Debug)]
pub(crate) struct Binary {
    path: PathBuf,
    /// The workspace it was built from, if it was.
    workspace: Option<PathBuf>,
}

impl Binary {
    /// The one that was given, or else the one that cargo builds from the
    /// workspace in which this runs.
    pub(crate) fn find(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = given {
            let path = path.canonicalize();
            return Ok(Self {
                path: path.context("--server: expected the path of the server's binary")?,
                workspace: None,
            });
        }
        let Some(manifest_dir) = std::env::var_os("CARGO_MANIFEST_DIR") else {
            bail!("start this with `cargo run -p notification-bench`, or say --server PATH");
        };
        let workspace = Path::new(&manifest_dir).join("..");
        Ok(Self {
            path: build(&workspace)?,
            workspace: Some(workspace),
        })
    }

    /// What it calls itself, and the commit if that is known.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        let version = output(Command::new(&self.path).arg("--version"))?;
        let git = |arguments: &[&str]| {
            let workspace = self.workspace.as_ref()?;
            output(Command::new("git").arg("-C").arg(workspace).args(arguments)).ok()
        };
        Ok(match git(&["describe", "--always", "--dirty"]) {
            Some(commit) => format!("{version} ({commit})"),
            None => format!("{version} ({})", self.path.display()),
        })
    }
}

fn build(workspace: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let messages = output(
        Command::new(cargo)
            .args([
                "build",
                "--release",
                "--locked",
                "-p",
                "notification-server",
            ])
            .args(["--bin", "notification-server"])
            .arg("--message-format=json-render-diagnostics")
            .current_dir(workspace),
    )?;
    let executable = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "notification-server";
        message["executable"]
            .as_str()
            .filter(|_| is_it)
            .map(PathBuf::from)
    });
    executable.context("cargo did not say where it put the server's binary")
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

/// What a published event survives, as the server's command line calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Fsync,
    Write,
    Memory,
}

impl Durability {
    pub(crate) const ALL: [Self; 3] = [Self::Fsync, Self::Write, Self::Memory];
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fsync => "fsync",
            Self::Write => "write",
            Self::Memory => "memory",
        })
    }
}

/// A running server with directories of its own. All go when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: ServerProcess,
    target: Target,
    _dir: TempDir,
}

/// How the server has appended to its log since it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commits {
    pub(crate) events: f64,
    pub(crate) commits: f64,
}

impl Server {
    /// Starts it with `settings`, the text of a configuration file.
    pub(crate) fn start(
        binary: &Binary,
        data_parent: &Path,
        durability: Durability,
        settings: &str,
    ) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix_in("notification-bench-", data_parent)
            .with_context(|| format!("cannot make a directory in {}", data_parent.display()))?;
        let durability = durability.to_string();
        let mut arguments = vec!["--durability", durability.as_str()];
        let config = dir.path().join("settings.toml");
        if !settings.is_empty() {
            std::fs::write(&config, settings)
                .with_context(|| format!("cannot write {}", config.display()))?;
            let config = config.to_str().context("--data-dir: expected UTF-8")?;
            arguments.extend(["--config", config]);
        }
        let process = ServerProcess::start_in(&binary.path, &dir.path().join("data"), &arguments);
        Ok(Self {
            target: Target::loopback(process.address())?,
            process,
            _dir: dir,
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn processes(&self) -> Processes {
        Processes::of(&[self.process.pid()])
    }

    /// The same, where every request that it gets brings this credential.
    pub(crate) fn with_bearer(self, credential: &str) -> Self {
        Self {
            target: self.target.with_bearer(credential),
            ..self
        }
    }

    /// Waits until no stream is open, as those know who have closed them.
    pub(crate) fn wait_until_nobody_is_there(&self) -> anyhow::Result<()> {
        let is_so = || Ok(self.metrics().metric("notification_connections") == 0.0);
        patiently(is_so).context("closed streams stay open")
    }

    pub(crate) fn commits(&self) -> Commits {
        let metrics = self.metrics();
        Commits {
            events: metrics.metric("notification_commit_events_sum"),
            commits: metrics.metric("notification_commit_events_count"),
        }
    }

    fn metrics(&self) -> Response {
        let bearer = self.target.bearer();
        let bearer = bearer.map(|credential| format!("Bearer {credential}"));
        let headers: Vec<_> = bearer.iter().map(|it| ("Authorization", &**it)).collect();
        self.process.request("GET", "/metrics", &headers, "")
    }
}

/// Waits until `is_so`, though not without bounds.
pub(crate) fn patiently(mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("not within {PATIENCE:?}");
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}
