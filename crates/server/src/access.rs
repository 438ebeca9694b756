//! Who may do what, as it is configured: from settings and files to an [`Access`].

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use notification_access::{Access, LimitsConfig, Quotas, ServerSecret};

use crate::Config;
use crate::config::Quota;

/// The shortest key that an operator makes up, in characters.
const MIN_ADMIN_KEY: usize = 32;

/// A file of secrets that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read or made.
    #[error("{setting}: cannot use {}", path.display())]
    Io {
        /// What names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It does not hold what it should.
    #[error("{setting}: {}: expected {expected}", path.display())]
    Content {
        /// What names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
}

/// An [`Access`] as configured, which remembers keys under the secret in `data_dir`.
pub(crate) fn access(config: &Config, data_dir: Option<&Path>) -> Result<Access, SecretError> {
    let secret = match data_dir {
        Some(data_dir) => kept_secret(&data_dir.join("secret"))?,
        None => ServerSecret::generate(),
    };
    let access = Access::new(ServerSecret::new(&secret), limits(config));
    access.set_admin_key(admin_key(config)?.as_deref());
    Ok(access)
}

/// The key of an administrator that the operator made up, if there is one.
pub(crate) fn admin_key(config: &Config) -> Result<Option<String>, SecretError> {
    let setting = "auth.admin_key_file";
    let Some(path) = &config.auth.admin_key_file else {
        return Ok(None);
    };
    let io = |source| SecretError::Io {
        setting,
        path: path.clone(),
        source,
    };
    let key = std::fs::read_to_string(path).map_err(io)?.trim().to_owned();
    warn_if_others_may_read(setting, path);
    let is_key = key.len() >= MIN_ADMIN_KEY && key.bytes().all(|b| b.is_ascii_graphic());
    match is_key {
        true => Ok(Some(key)),
        false => Err(SecretError::Content {
            setting,
            path: path.clone(),
            expected: "one line of at least 32 letters, digits and signs without blanks, such as \
                       `openssl rand -base64 48` prints",
        }),
    }
}

/// The limits, as the settings say them.
pub(crate) fn limits(config: &Config) -> LimitsConfig {
    let number = |n: Option<u64>| n.and_then(|n| NonZeroU32::new(u32::try_from(n).ok()?));
    let quotas = |quota: &Quota| Quotas {
        requests_per_second: number(quota.requests_per_second),
        events_per_second: number(quota.events_per_second),
        bytes_per_second: number(quota.bytes_per_second),
        streams: number(quota.streams),
        connections: None,
    };
    let address = &config.limits.address;
    LimitsConfig {
        total: quotas(&config.limits.total),
        principal: quotas(&config.limits.principal),
        address: Quotas {
            requests_per_second: number(address.requests_per_second),
            events_per_second: number(address.events_per_second),
            bytes_per_second: number(address.bytes_per_second),
            streams: number(address.streams),
            connections: number(address.connections),
        },
    }
}

/// The secret in this file, which is made if it is not there.
fn kept_secret(path: &Path) -> Result<[u8; ServerSecret::LEN], SecretError> {
    let setting = "data_dir";
    let io = |source| SecretError::Io {
        setting,
        path: path.to_owned(),
        source,
    };
    let mut secret = ServerSecret::generate();
    match create_private(path) {
        Ok(mut file) => file
            .write_all(&secret)
            .and_then(|()| file.sync_all())
            .map_err(io)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut kept = Vec::new();
            let file = File::open(path).map_err(io)?;
            file.take(64).read_to_end(&mut kept).map_err(io)?;
            warn_if_others_may_read(setting, path);
            if is_of_others(path).map_err(io)? {
                return Err(SecretError::Content {
                    setting,
                    path: path.to_owned(),
                    expected: "a file that belongs to the user of the server and that nobody else \
                               can write: whoever wrote it knows what keys are made with",
                });
            }
            secret = kept.try_into().map_err(|_| SecretError::Content {
                setting,
                path: path.to_owned(),
                expected: "the 32 bytes that the server wrote there; without them its keys are \
                           good for nothing. Remove the file to begin with another secret, and \
                           create the keys anew",
            })?;
        }
        Err(error) => return Err(io(error)),
    }
    Ok(secret)
}

/// A new file that its owner alone may read.
fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether somebody else than this user and root could have written what is there.
#[cfg(unix)]
fn is_of_others(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let metadata = path.metadata()?;
    let owner = metadata.uid();
    let is_own = owner == 0 || owner == rustix::process::geteuid().as_raw();
    Ok(!is_own || metadata.mode() & 0o022 != 0)
}

#[cfg(not(unix))]
fn is_of_others(_: &Path) -> std::io::Result<bool> {
    Ok(false)
}

/// Says so if every user could put files of his own in place of the server's.
pub(crate) fn warn_if_others_may_write(data_dir: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = data_dir.metadata()
        && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o002 != 0
    {
        tracing::warn!(data_dir = %data_dir.display(), "every user of this machine can write into the data directory");
    }
}

fn warn_if_others_may_read(setting: &str, path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = path.metadata()
        && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o004 != 0
    {
        tracing::warn!(setting, path = %path.display(), "every user of this machine can read a secret");
    }
}
