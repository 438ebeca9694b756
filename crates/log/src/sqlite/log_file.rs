use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::data_dir::open_private;
use crate::LogError;

/// A file of the log, and which file it was when the log was opened.
///
/// SQLite goes on writing into a file that was removed, and what it writes is
/// gone with the process. So before each write this looks whether the file is
/// still the one at its path.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    // Held open, so that no other file can get its identity, and dropped after
    // SQLite's connections: closing any descriptor of a file lets go of the
    // locks that this process has on it (fcntl(2), POSIX record locks).
    file: File,
    /// It always has something in it.
    is_filled: bool,
}

impl LogFile {
    /// Makes the file, readable by its owner only, if it is not there.
    pub(super) fn create(path: &Path) -> Result<Self, OpenError> {
        Self::new(path, true, open_private(path))
    }

    /// Opens a file that is there, and may be emptied by those who know why.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        Self::new(path, false, File::open(path))
    }

    fn new(path: &Path, is_filled: bool, file: io::Result<File>) -> Result<Self, OpenError> {
        let path = path.to_owned();
        match file {
            Ok(file) => Ok(Self {
                path,
                file,
                is_filled,
            }),
            Err(source) => Err(OpenError::Io { path, source }),
        }
    }

    /// Fails if the file was removed, replaced or emptied.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match self.is_in_place() {
            Ok(true) => Ok(()),
            Ok(false) => Err(LogError::Damaged(format!(
                "{} was removed, replaced or emptied while the server ran; restart the server",
                self.path.display()
            ))),
            Err(error) => {
                let path = self.path.display();
                Err(LogError::Unavailable(format!(
                    "cannot look at {path}: {error}"
                )))
            }
        }
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let is_emptied = self.is_filled && there.len() == 0;
        Ok(!is_emptied && is_same(&there, &self.file.metadata()?))
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Elsewhere a file that is open cannot be removed.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}
