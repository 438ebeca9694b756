use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use etcetera::BaseStrategy;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::text;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  notification-server login https://events.example.com
  notification-server login https://events.example.com < key.txt

The key is asked for, or read from standard input, and kept in a file that only you can read. An
empty one is none, for a server that is open.")]
pub(crate) struct LoginArgs {
    /// The server that the commands ask from now on
    server: String,
}

/// Which server the commands ask, and as whom, if nothing else is said.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub(super) server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
}

impl Login {
    pub(super) fn read() -> anyhow::Result<Option<Self>> {
        let path = path()?;
        let read = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        // What is wrong with it is not shown: a key is in it.
        let login = toml::from_str(&read).ok();
        let login = login.with_context(|| {
            let path = path.display();
            format!("{path} is not what `login` writes; log in again, or delete it")
        })?;
        Ok(Some(login))
    }

    fn write(&self) -> anyhow::Result<PathBuf> {
        let path = path()?;
        let context = || format!("cannot write {}", path.display());
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(context)?;
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // Put in place when it is whole.
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut file = options.open(&new).with_context(context)?;
        file.write_all(toml::to_string(self)?.as_bytes())
            .with_context(context)?;
        fs::rename(&new, &path).with_context(context)?;
        Ok(path)
    }
}

impl LoginArgs {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> anyhow::Result<String> {
        let key = match std::io::stdin().is_terminal() {
            true => rpassword::prompt_password("Key (empty for none): ")?,
            false => {
                let mut read = String::new();
                let limited = std::io::stdin().take(1 << 16).read_to_string(&mut read);
                limited.context("cannot read the key from standard input")?;
                read
            }
        };
        let key = Some(key.trim()).filter(|key| !key.is_empty());
        let login = Login {
            server: self.server.clone(),
            key: key.map(str::to_owned),
        };
        let client = super::client(&login.server, key)?;
        let who = client.ask(Method::GET, "/v1/session", None).await?;
        let path = login.write()?;
        let who = super::plain(text(&who, "principal"));
        Ok(format!("Logged in as {who}; kept in {}.\n", path.display()))
    }
}

/// Forgets it.
pub(crate) fn logout() -> anyhow::Result<String> {
    let path = path()?;
    match fs::remove_file(&path) {
        Ok(()) => Ok("Logged out. The key is good until it is revoked.\n".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("nobody is logged in"),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

/// Where the platform keeps settings of programs.
fn path() -> anyhow::Result<PathBuf> {
    let places = etcetera::choose_base_strategy();
    let places = places.context("this user has no home directory to keep a login in")?;
    let directory = places.config_dir().join("notification-server");
    Ok(directory.join("client.toml"))
}
