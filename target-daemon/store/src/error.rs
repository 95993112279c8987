//! Why a store was not opened, and warnings about one that was.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::{Access, OpenOptions};

/// A problem, and what the operator can do about it. They are joined only where they are shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The problem, with the thing and the value. Empty if the remedy says it all.
    pub what: String,
    /// The remedy; may be empty.
    pub remedy: String,
}

impl Problem {
    /// A problem and its remedy.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.what.is_empty() || self.remedy.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", self.what, self.remedy)
    }
}

impl std::error::Error for Problem {}

/// Why a store could not be opened. The problem begins with the file.
#[derive(Debug)]
pub struct OpenError {
    /// The problem and its remedy.
    pub problem: Problem,
    /// What callers distinguish.
    pub kind: OpenErrorKind,
    source: Option<io::Error>,
}

/// Kinds of an [`OpenError`].
#[derive(Debug)]
pub enum OpenErrorKind {
    /// Something on this machine has to change.
    Machine,
    /// This user has no permission to read it.
    Unreadable,
    /// This user, or nobody, may write it.
    Unwritable,
    /// An option has to change.
    Option,
    /// Another export of this process has the same bytes.
    LockedByUs,
    /// Another export of this process is in the way.
    Beside(Box<Beside>),
}

/// Two exports that cannot be served together.
#[derive(Debug)]
pub struct Beside {
    /// The file of this one.
    pub path: PathBuf,
    /// The other one.
    pub other: OpenOptions,
    /// How both access one file, if one goes past a cache that the other uses; `None` if they
    /// are the same bytes through different devices.
    pub ways: Option<(Access, Access)>,
}

impl Beside {
    /// The problem, in which the two have these names.
    pub fn problem(&self, name: &str, other: &str) -> Problem {
        match self.ways {
            Some((access, other_access)) => Problem::new(
                format!(
                    "{name}: is reached by {}, and {other} by {}: both are of one file, and one goes past a page cache \
                     that the other goes through, so that writes would fail or be undone",
                    option(access),
                    option(other_access)
                ),
                "give both the same path and the same store=, or a file each",
            ),
            None => Problem::new(
                format!("{name}: its bytes are exported already, at {other}, which is below or above it"),
                "give another file, make both read-only, or give them an offset and length so that they do not overlap",
            ),
        }
    }
}

impl From<Beside> for OpenError {
    fn from(beside: Beside) -> Self {
        let (name, other) = (beside.path.display().to_string(), beside.other.path.display().to_string());
        let problem = beside.problem(&name, &other);
        Self { problem, kind: OpenErrorKind::Beside(Box::new(beside)), source: None }
    }
}

impl OpenError {
    pub(super) fn new(path: &Path, what: impl fmt::Display, remedy: impl Into<String>) -> Self {
        let problem = Problem::new(format!("{}: {what}", path.display()), remedy);
        Self { problem, kind: OpenErrorKind::Machine, source: None }
    }

    pub(super) fn of(self, kind: OpenErrorKind) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn because(self, source: io::Error) -> Self {
        Self { source: Some(source), ..self }
    }

    pub(super) fn missing(path: &Path) -> Self {
        if is_device(path) {
            let remedy = "correct the path, plug it in, or activate it (`lsblk` shows the devices that are there, `lvs` \
                          the logical volumes, and `vgchange -ay` activates these)";
            return Self::new(path, "no such device", remedy);
        }
        Self::new(path, "no such file", "correct the path, or create it with `fallocate -l SIZE`")
    }

    pub(super) fn too_small(path: &Path, offset: u64, bytes: u64) -> Self {
        if offset == 0 && bytes == 0 && !is_device(path) {
            let remedy = format!("give it a size, for example `fallocate -l 10G {}`", path.display());
            return Self::new(path, "is empty", remedy);
        }
        let what = format!("has {bytes} bytes from offset {offset} on");
        Self::new(path, what, "at least one sector of 512 is needed")
    }

    pub(super) fn unwritable(path: &Path, source: io::Error) -> Self {
        let by = match source.kind() {
            io::ErrorKind::PermissionDenied => format!(" by {}", denied(path)),
            _ => String::new(),
        };
        let remedy = "give write permission, or export it with `ro`";
        Self::new(path, format!("may not be written{by}"), remedy)
            .of(OpenErrorKind::Unwritable)
            .because(source)
    }

    pub(super) fn too_many_files(path: &Path) -> Self {
        let limit = files_max();
        let what =
            format!("this process may have {limit} files open, and has too few left for one export more");
        let remedy = "raise the hard limit (ulimit -Hn, LimitNOFILE= of the service), or serve fewer exports";
        Self::new(path, what, remedy)
    }

    pub(super) fn system(path: &Path, action: &str, source: io::Error) -> Self {
        if source.raw_os_error() == Some(libc::EMFILE) {
            return Self::too_many_files(path);
        }
        Self::new(path, format!("cannot {action} it"), "").because(source)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// The option that selects this access.
fn option(access: Access) -> &'static str {
    match access {
        Access::Direct => "store=direct",
        Access::Mapped => "store=mmap",
        Access::Cached | Access::Descriptor | Access::Fitting => "store=file",
    }
}

/// Judged by the location.
fn is_device(path: &Path) -> bool {
    // The only directory below /dev that holds regular files.
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

/// The user of this process, denied by the permissions of a file, and these. Numeric, because
/// the names may be out of reach.
pub(super) fn denied(path: &Path) -> String {
    let uid = rustix::process::geteuid().as_raw();
    // In the sandbox, or on NFS.
    let root = if uid == 0 { ", which is subject to permissions here" } else { "" };
    let file = match fs::metadata(path) {
        Ok(facts) => {
            let (owner, group, mode) = (facts.uid(), facts.gid(), facts.mode() & 0o7777);
            format!("the file has owner {owner}, group {group}, mode {mode:04o}")
        }
        Err(_) => "it cannot enter a folder of the path".to_owned(),
    };
    format!("the user of this process, uid {uid}{root} ({file})")
}

/// The limit for open files of this process.
pub(super) fn files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A warning for the operator about a store that was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// How serious it is.
    pub level: log::Level,
    /// The whole message.
    pub text: String,
}

impl Warning {
    pub(super) fn new(text: String) -> Self {
        Self { level: log::Level::Warn, text }
    }
}
