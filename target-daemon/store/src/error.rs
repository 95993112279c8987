//! Why a store was not opened, and warnings about one that was.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::lock::Holder;
use super::size::{exactly, in_largest_unit};
use super::{Access, OpenOptions, Problem};

/// Why a store could not be opened. Each message names the file and the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The path does not exist.
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Something that is neither a regular file nor a block device.
    WrongKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// No read permission.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The user without permission.
        denied: Denied,
        /// The system error.
        source: io::Error,
    },
    /// Readable but not writable.
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The user without permission; `None` if no user may write because the medium is
        /// read-only.
        denied: Option<Denied>,
        /// The system error.
        source: io::Error,
    },
    /// An offset or length that splits a sector.
    Unaligned {
        /// The file.
        path: PathBuf,
        /// "offset" or "length".
        name: &'static str,
        /// Its value.
        bytes: u64,
    },
    /// An offset or length that reaches beyond the end of the file.
    Beyond {
        /// The file.
        path: PathBuf,
        /// The requested offset, in bytes.
        offset: u64,
        /// The requested length, in bytes.
        length: u64,
        /// The size of the file in bytes.
        size: u64,
    },
    /// Less than one sector to export.
    TooSmall {
        /// The file.
        path: PathBuf,
        /// The requested offset, in bytes.
        offset: u64,
        /// The bytes that remain after the offset.
        bytes: u64,
    },
    /// A device whose sectors are larger than a page.
    SectorSize {
        /// The device.
        path: PathBuf,
        /// Its logical sector size.
        bytes: u32,
    },
    /// Durable writes to a hugetlbfs file, which cannot be written by any call.
    NotDurable {
        /// The file.
        path: PathBuf,
    },
    /// The kernel refuses exclusive access to the device.
    Busy {
        /// The device.
        path: PathBuf,
    },
    /// The same bytes are open elsewhere.
    Locked {
        /// The file.
        path: PathBuf,
        /// The holder of the lock.
        holder: Holder,
    },
    /// Another export of this process is on the same file with a different access.
    TwoWays {
        /// The file.
        path: PathBuf,
        /// How this export accesses it.
        access: Access,
        /// The other export.
        other: Box<OpenOptions>,
        /// How the other one accesses it.
        other_access: Access,
    },
    /// Another export of this process has the same bytes through another device.
    SameBytes {
        /// The file.
        path: PathBuf,
        /// The other export.
        other: Box<OpenOptions>,
    },
    /// Discards were requested and are not possible.
    CannotTrim {
        /// The file.
        path: PathBuf,
    },
    /// A mapping cannot be pinned in memory.
    Unpinnable {
        /// The file.
        path: PathBuf,
        /// The size of the mapping.
        bytes: u64,
        /// The limit for locked memory of this process.
        limit: String,
        /// The system error.
        source: io::Error,
    },
    /// No huge pages for a mapping.
    NotHuge {
        /// The file.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
    /// O_DIRECT was requested and is not possible.
    NotDirect {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// io_uring is not available.
    NoRing {
        /// The file.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
    /// This process has no descriptors left except those that it reserves for itself.
    TooManyFiles {
        /// The file.
        path: PathBuf,
        /// The limit for open files.
        limit: u64,
    },
    /// The memory for a store cannot be had.
    NoMemory {
        /// Its size.
        bytes: u64,
        /// The bytes that this machine has free, if known.
        free: Option<u64>,
        /// The system error.
        source: io::Error,
    },
    /// Any other system error.
    System {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The system error.
        source: io::Error,
    },
}

impl OpenError {
    /// What is wrong, beginning with the file, and the remedy.
    pub fn problem(&self) -> Problem {
        let of = |path: &Path, what: &dyn fmt::Display, remedy: &str| {
            Problem::new(format!("{}: {what}", path.display()), remedy)
        };
        match self {
            Self::Missing { path } if is_device(path) => of(
                path,
                &"no such device",
                "correct the path, plug it in, or activate it (`lsblk` shows the devices that are there, `lvs` the \
                 logical volumes, and `vgchange -ay` activates these)",
            ),
            Self::Missing { path } => {
                of(path, &"no such file", "correct the path, or create it with `fallocate -l SIZE`")
            }
            Self::WrongKind { path, kind } => {
                of(path, &format_args!("is a {kind}"), "give a regular file or a block device")
            }
            Self::Unreadable { path, denied, .. } => {
                of(path, &format_args!("may not be read by {denied}"), "give that user read permission")
            }
            Self::Unwritable { path, denied, .. } => {
                let by = denied.as_ref().map_or_else(String::new, |denied| format!(" by {denied}"));
                let remedy = "give write permission, or export it with `ro`";
                of(path, &format_args!("may not be written{by}"), remedy)
            }
            Self::Unaligned { path, name, bytes } => {
                let what = format_args!("{name} {bytes} is not a multiple of 512");
                of(path, &what, "round it to whole sectors")
            }
            Self::Beyond { path, offset, length, size } => {
                let what =
                    format_args!("offset {offset} + length {length} lies beyond its end at {size} bytes");
                of(path, &what, "correct them, or enlarge the file")
            }
            Self::TooSmall { path, offset: 0, bytes: 0 } if !is_device(path) => {
                let remedy = format!("give it a size, for example `fallocate -l 10G {}`", path.display());
                of(path, &"is empty", &remedy)
            }
            Self::TooSmall { path, offset, bytes } => {
                let what = format_args!("has {bytes} bytes from offset {offset} on");
                of(path, &what, "at least one sector of 512 is needed")
            }
            Self::SectorSize { path, bytes } => {
                let what =
                    format_args!("has logical sectors of {bytes} bytes, and at most 4096 can be served");
                of(path, &what, "reformat the device, or export a file on it")
            }
            Self::NotDurable { path } => {
                of(path, &"lies in hugetlbfs, which keeps nothing", "export it as volatile, or read-only")
            }
            Self::Busy { path } => {
                let remedy = format!("release it (`lsblk {}` shows its user)", path.display());
                of(path, &"is in use, perhaps mounted, part of an array, or swap", &remedy)
            }
            Self::Locked { path, holder } => {
                let remedy = "end that use, or give exports that do not overlap";
                of(path, &format_args!("is locked by {holder}"), remedy)
            }
            Self::TwoWays { .. } | Self::SameBytes { .. } => {
                self.beside(&|path, _| path.display().to_string()).unwrap_or(Problem::new("", ""))
            }
            Self::CannotTrim { path } => of(
                path,
                &"trim=on, but its file system or device does not give space back",
                "leave trim=on out",
            ),
            Self::Unpinnable { path, bytes, limit, .. } => of(
                path,
                &format_args!(
                    "its {bytes} bytes cannot be pinned, and the limit for locked memory is {limit}"
                ),
                "raise it (`ulimit -l`, LimitMEMLOCK=), see that the host has memory to spare, or leave pin out",
            ),
            Self::NotHuge { path, .. } => of(path, &"the kernel has no huge pages for it", "leave huge out"),
            Self::NotDirect { path, .. } => {
                of(path, &"cannot go past the page cache", "give store=file, or leave store= out")
            }
            Self::NoRing { path, .. } => of(
                path,
                &"this kernel gives no io_uring ring",
                "see `sysctl kernel.io_uring_disabled` and the limit of locked memory, or leave store= out",
            ),
            Self::TooManyFiles { path, limit } => of(
                path,
                &format_args!(
                    "this process may have {limit} files open, and has too few left for one export more"
                ),
                "raise the hard limit (ulimit -Hn, LimitNOFILE= of the service), or serve fewer exports",
            ),
            Self::NoMemory { bytes, free, .. } => {
                let size = exactly(*bytes).unwrap_or_else(|| format!("{bytes}B"));
                let free = free.and_then(in_largest_unit);
                let free =
                    free.map_or_else(String::new, |free| format!(", and {free} are free on this machine"));
                let what = format!("store=ram cannot have the memory for length={size}{free}");
                Problem::new(what, "give a smaller length, or a file")
            }
            Self::System { path, action, .. } => of(path, &format_args!("cannot {action} it"), ""),
        }
    }

    /// The other export of two that cannot be served together.
    pub fn other(&self) -> Option<&OpenOptions> {
        match self {
            Self::TwoWays { other, .. } | Self::SameBytes { other, .. } => Some(other),
            _ => None,
        }
    }

    /// The problem of two exports that cannot be served together. `name` names one by its
    /// path, and whether it is the other one.
    pub fn beside(&self, name: &dyn Fn(&Path, bool) -> String) -> Option<Problem> {
        Some(match self {
            Self::TwoWays { path, access, other, other_access } => Problem::new(
                format!(
                    "{}: is reached by {}, and {} by {}: both are of one file, and one goes past a page cache that \
                     the other goes through, so that writes would fail or be undone",
                    name(path, false),
                    option(*access),
                    name(&other.path, true),
                    option(*other_access)
                ),
                "give both the same path and the same store=, or a file each",
            ),
            Self::SameBytes { path, other } => Problem::new(
                format!(
                    "{}: its bytes are exported already, at {}, which is below or above it",
                    name(path, false),
                    name(&other.path, true)
                ),
                "give another file, make both read-only, or give them an offset and length so that they do not overlap",
            ),
            _ => return None,
        })
    }

    pub(super) fn too_many_files(path: &Path) -> Self {
        Self::TooManyFiles { path: path.to_owned(), limit: files_max() }
    }

    pub(super) fn system(path: &Path, action: &'static str, source: io::Error) -> Self {
        if source.raw_os_error() == Some(libc::EMFILE) {
            return Self::too_many_files(path);
        }
        Self::System { path: path.to_owned(), action, source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. }
            | Self::Unwritable { source, .. }
            | Self::Unpinnable { source, .. }
            | Self::NotHuge { source, .. }
            | Self::NotDirect { why: source, .. }
            | Self::NoRing { source, .. }
            | Self::NoMemory { source, .. }
            | Self::System { source, .. } => Some(source),
            _ => None,
        }
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

/// The user denied by the permissions of a file, and those permissions. Numeric, because
/// the names may be out of reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    uid: u32,
    /// Owner, group and mode; `None` if a directory on the path is closed.
    file: Option<(u32, u32, u32)>,
}

impl Denied {
    /// This process, denied access to this path.
    pub(super) fn at(path: &Path) -> Self {
        let file = fs::metadata(path).ok().map(|facts| (facts.uid(), facts.gid(), facts.mode() & 0o7777));
        Self { uid: rustix::process::geteuid().as_raw(), file }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the user of this process, uid {}", self.uid)?;
        // In the sandbox, or on NFS.
        if self.uid == 0 {
            f.write_str(", whom permissions bind here")?;
        }
        match self.file {
            Some((owner, group, mode)) => {
                write!(f, " (the file has owner {owner}, group {group}, mode {mode:04o})")
            }
            None => f.write_str(" (a folder on the way is closed to it)"),
        }
    }
}

/// The limit for open files of this process.
pub(super) fn files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A warning for the operator about a store that was opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// The file does not end on a sector boundary.
    #[error("{}: the last {bytes} bytes are no whole sector and are not exported", path.display())]
    TailCut {
        /// The file.
        path: PathBuf,
        /// The number of bytes left out.
        bytes: u64,
    },
    /// Fewer blocks are allocated than the file has bytes.
    #[error("{}: only {allocated} of {size} bytes are allocated: writes fail when its \
             file system is full; allocate them with `fallocate`", path.display())]
    Sparse {
        /// The file.
        path: PathBuf,
        /// Allocated bytes.
        allocated: u64,
        /// The size of the file in bytes.
        size: u64,
    },
    /// The preferred access is not possible.
    #[error("{}: is served {}: {why}", path.display(), way(*access))]
    Fallback {
        /// The file.
        path: PathBuf,
        /// The access that is tried instead.
        access: Access,
        /// What prevented it.
        why: String,
    },
    /// Durable writes are only as durable as memory.
    #[error("{}: lies in memory{}: its writes do not survive a restart of this host, \
             so export it as volatile, or move it to a disk", path.display(), by_way_of(way))]
    InMemory {
        /// The file.
        path: PathBuf,
        /// The files and devices that it lies on; the last one is in memory.
        way: Vec<PathBuf>,
    },
    /// Nothing of it is kept.
    #[error("store=ram forgets everything when it is closed: at the end of xblade, and when it is removed")]
    Forgets,
    /// The durability of its writes cannot be determined.
    #[error("{}: lies on {}, which xblade cannot look at: if that is in memory, writes do not survive a \
             restart of this host", path.display(), below.display())]
    UnknownBelow {
        /// The file.
        path: PathBuf,
        /// The file or device below.
        below: PathBuf,
    },
}

fn by_way_of(way: &[PathBuf]) -> String {
    let names: Vec<String> = way.iter().map(|one| one.display().to_string()).collect();
    if names.is_empty() { String::new() } else { format!(" (on {})", names.join(", on ")) }
}

fn way(access: Access) -> &'static str {
    match access {
        Access::Descriptor => {
            "through the page cache by calls that wait (a disk that hangs holds up the others)"
        }
        _ => "through the page cache",
    }
}
