//! Why a store was not opened, and warnings about one that was.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::lock::Holder;
use super::{Access, OpenOptions};

/// Why a store could not be opened. Each message names the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The path does not exist.
    #[error("{}: {}", path.display(), missing(path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Something that is neither a regular file nor a block device.
    #[error("{}: is a {kind}: give a regular file or a block device", path.display())]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// No read permission.
    #[error("{}: may not be read by {denied}: give that user read permission", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The user without permission.
        denied: Denied,
        /// The system error.
        source: io::Error,
    },
    /// Readable but not writable.
    #[error("{}: may not be written{}: give write permission, or export it with \
             `ro`", path.display(), by(denied.as_ref()))]
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
    #[error("{}: {name} {bytes} is not a multiple of 512: round it to whole \
             sectors", path.display())]
    Unaligned {
        /// The file.
        path: PathBuf,
        /// "offset" or "length".
        name: &'static str,
        /// Its value.
        bytes: u64,
    },
    /// An offset or length that reaches beyond the end of the file.
    #[error("{}: offset {offset} + length {length} lies beyond its end at {size} bytes: \
             correct them, or enlarge the file", path.display())]
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
    #[error("{}: {}", path.display(), too_small(path, *offset, *bytes))]
    TooSmall {
        /// The file.
        path: PathBuf,
        /// The requested offset, in bytes.
        offset: u64,
        /// The bytes that remain after the offset.
        bytes: u64,
    },
    /// A device whose sectors are larger than a page.
    #[error("{}: has logical sectors of {bytes} bytes, and at most 4096 can be served: \
             reformat the device, or export a file on it", path.display())]
    SectorSize {
        /// The device.
        path: PathBuf,
        /// Its logical sector size.
        bytes: u32,
    },
    /// Durable writes to a hugetlbfs file, which cannot be written by any call.
    #[error("{}: lies in hugetlbfs, which keeps nothing: export it as volatile, \
             or read-only", path.display())]
    NotDurable {
        /// The file.
        path: PathBuf,
    },
    /// The kernel refuses exclusive access to the device.
    #[error("{}: is in use, perhaps mounted, part of an array, or swap: \
             release it (`lsblk {}` shows its user)", path.display(), path.display())]
    Busy {
        /// The device.
        path: PathBuf,
    },
    /// The same bytes are open elsewhere.
    #[error("{}: is locked by {holder}: end that use, or give exports that do \
             not overlap", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// The holder of the lock.
        holder: Holder,
    },
    /// Another export of this process is on the same file with a different access.
    #[error("{}: {}", path.display(), two_ways(*access, &other.path.display().to_string(), *other_access))]
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
    #[error("{}: {}", path.display(), same_bytes(&other.path.display().to_string()))]
    SameBytes {
        /// The file.
        path: PathBuf,
        /// The other export.
        other: Box<OpenOptions>,
    },
    /// Discards were requested and are not possible.
    #[error("{}: trim=on, but its file system or device does not give space back: leave \
             trim=on out", path.display())]
    CannotTrim {
        /// The file.
        path: PathBuf,
    },
    /// A mapping cannot be pinned in memory.
    #[error("{}: its {bytes} bytes cannot be pinned, and the limit for locked memory is {limit}: \
             raise it (`ulimit -l`, LimitMEMLOCK=), see that the host has memory to spare, or \
             leave pin out", path.display())]
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
    #[error("{}: the kernel has no huge pages for it: leave huge out", path.display())]
    NotHuge {
        /// The file.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
    /// O_DIRECT was requested and is not possible.
    #[error("{}: cannot go past the page cache: give store=file, or leave store= out", path.display())]
    NotDirect {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        why: io::Error,
    },
    /// io_uring is not available.
    #[error("{}: this kernel gives no io_uring ring: see `sysctl kernel.io_uring_disabled` and the limit \
             of locked memory, or leave store= out", path.display())]
    NoRing {
        /// The file.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
    /// This process has no descriptors left except those that it reserves for itself.
    #[error("{}: this process may have {limit} files open, and has too few left for one export more: raise \
             the hard limit (ulimit -Hn, LimitNOFILE= of the service), or serve fewer exports", path.display())]
    TooManyFiles {
        /// The file.
        path: PathBuf,
        /// The limit for open files.
        limit: u64,
    },
    /// Any other system error.
    #[error("{}: cannot {action} it", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The system error.
        source: io::Error,
    },
}

/// Why two exports of one file cannot be served together if one bypasses a page cache that
/// the other uses.
pub fn two_ways(access: Access, other: &str, other_access: Access) -> String {
    let (way, other_way) = (option(access), option(other_access));
    format!(
        "is reached by {way}, and {other} by {other_way}: both are of one file, and one goes past a page cache that \
         the other goes through, so that writes would fail or be undone: give both the same path and the same store=, \
         or a file each"
    )
}

/// Why two exports cannot be served together if one lies below the other.
pub fn same_bytes(other: &str) -> String {
    format!(
        "its bytes are exported already, at {other}, which is below or above it: give another file, make both \
         read-only, or give them an offset and length so that they do not overlap"
    )
}

/// The option that selects this access.
fn option(access: Access) -> &'static str {
    match access {
        Access::Direct => "store=direct",
        Access::Mapped => "store=mmap",
        Access::Cached | Access::Descriptor | Access::Fitting => "store=file",
    }
}

/// What to do about a missing file or device.
fn missing(path: &Path) -> &'static str {
    if is_device(path) {
        "no such device: correct the path, plug it in, or activate it (`lsblk` shows the devices that are there, \
         `lvs` the logical volumes, and `vgchange -ay` activates these)"
    } else {
        "no such file: correct the path, or create it with `fallocate -l SIZE`"
    }
}

/// Why there is nothing to export.
fn too_small(path: &Path, offset: u64, bytes: u64) -> String {
    if offset == 0 && bytes == 0 && !is_device(path) {
        return format!("is empty: give it a size, for example `fallocate -l 10G {}`", path.display());
    }
    format!("has {bytes} bytes from offset {offset} on: at least one sector of 512 is needed")
}

/// Judged by the location.
fn is_device(path: &Path) -> bool {
    // The only directory below /dev that holds regular files.
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

fn by(denied: Option<&Denied>) -> String {
    denied.map_or_else(String::new, |denied| format!(" by {denied}"))
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
            f.write_str(", which is subject to permissions here")?;
        }
        match self.file {
            Some((owner, group, mode)) => {
                write!(f, " (the file has owner {owner}, group {group}, mode {mode:04o})")
            }
            None => f.write_str(" (it cannot enter a folder of the path)"),
        }
    }
}

impl OpenError {
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
            "through the page cache with blocking calls (a disk that hangs blocks the other exports)"
        }
        _ => "through the page cache",
    }
}
