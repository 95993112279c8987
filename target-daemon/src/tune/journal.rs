//! A journal records what was done to an interface, so that exactly this can be reverted.
//! It is kept where a reboot clears it, because a reboot also clears the settings.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use crate::text;

/// The directory of the journals. It is root's, not the one of the service's user: who may
/// write there decides what `--revert` changes.
const DIRECTORY: &str = "/run/xblade-machine";

/// An operation on a journal failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}; nothing is changed without a record", path.display())]
pub struct JournalError {
    /// The operation: read, write, remove, lock.
    what: &'static str,
    /// The file.
    path: PathBuf,
    /// The error.
    source: io::Error,
}

/// What a command notes; the default has no file.
pub trait Record: Default + PartialEq + Serialize + DeserializeOwned {}

/// The journal file of a command for one interface.
pub struct Journal {
    directory: PathBuf,
    path: PathBuf,
    command: &'static str,
}

impl Journal {
    /// The journal of this machine.
    pub fn of(command: &'static str, interface: &str) -> Self {
        Self::within(Path::new(DIRECTORY), command, interface)
    }

    /// The same in another directory.
    pub fn within(directory: &Path, command: &'static str, interface: &str) -> Self {
        // An interface name contains no slash, but a wrong argument may.
        let path = directory.join(format!("{command}-{}.json", interface.replace('/', "_")));
        Self { directory: directory.to_owned(), path, command }
    }

    /// Excludes other runs until the returned lock is dropped.
    pub fn lock(&self) -> Result<File, JournalError> {
        let locked = open_directory(&self.directory).and_then(|directory| {
            directory.lock()?;
            Ok(directory)
        });
        locked.map_err(|source| JournalError { what: "lock", path: self.directory.clone(), source })
    }

    /// Loads the record; the default one if there is none.
    pub fn load<R: Record>(&self) -> Result<R, JournalError> {
        let text = match text::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(R::default()),
            text => text.map_err(|source| self.fault("read", source))?,
        };
        serde_json::from_str(&text).map_err(|_| {
            let command = self.command;
            let what = format!(
                "it is not a record of `xblade {command}` (see `ethtool` for what is set, then remove the file)"
            );
            self.fault("read", io::Error::new(io::ErrorKind::InvalidData, what))
        })
    }

    /// Replaces the record atomically.
    pub fn store<R: Record>(&self, record: &R) -> Result<(), JournalError> {
        if *record == R::default() {
            return match fs::remove_file(&self.path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.fault("remove", source)),
                _ => Ok(()),
            };
        }
        let beside = self.path.with_extension("new");
        let written = serde_json::to_string_pretty(record).map_err(io::Error::from).and_then(|text| {
            writeln!(File::create(&beside)?, "{text}")?;
            fs::rename(&beside, &self.path)
        });
        written.map_err(|source| self.fault("write", source))
    }

    fn fault(&self, what: &'static str, source: io::Error) -> JournalError {
        JournalError { what, path: self.path.clone(), source }
    }
}

/// Opens the directory, and creates it if it does not exist. Refuses one in which another
/// user may plant files or links: `--revert` would follow them.
fn open_directory(path: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let facts = directory.metadata()?;
    if facts.uid() != rustix::process::geteuid().as_raw() || facts.mode() & 0o022 != 0 {
        let what = format!(
            "it belongs to user {} with mode {:o}, and must belong to the caller and be writable by no one else: \
             remove it",
            facts.uid(),
            facts.mode() & 0o7777
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(directory)
}
