//! Locks that keep other users away from the bytes of an export.
//!
//! A store locks its extent of the file with an open-file-description lock: a write lock,
//! or a read lock for a read-only store. Such locks conflict between any two descriptions,
//! even in one process, so the same bytes cannot be exported twice, but disjoint extents
//! and several read-only exports can. A block device is also claimed exclusively, as a file
//! system does it, once for all exports of it in this process.
//!
//! A killed process can leave its lock behind for a moment: the kernel tears an io_uring
//! down after the process has exited, and waits for its I/O in flight. Until that ends, the
//! lock is correct. So if the holder of a lock cannot be identified, the store waits for
//! the lock.
//!
//! File locks are advisory: QEMU and any program that calls `fcntl` respect them; `vblade`
//! without options, loop devices and `dd` do not check.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The holder of a lock that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// Another process, by its id.
    Process(u32),
    /// Another export of this process.
    Ourselves,
    /// Unknown to the kernel: in another namespace or on another host.
    Unknown,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Ourselves => write!(f, "another export of this process"),
            Self::Unknown => write!(f, "an unknown process"),
        }
    }
}

/// Why a lock was refused.
pub(super) enum Refused {
    By(Holder),
    System(io::Error),
}

/// How long to wait for a lock without a known holder.
const UNKNOWN_HOLDER_MAX: Duration = Duration::from_secs(10);

/// Locks `length` bytes from `offset` on; `None` for everything up to any future end.
///
/// Waits for a lock without a live holder: the kernel may still be finishing the I/O of a
/// process that was just killed, and its writes must not overwrite newer data. The lock
/// ends with the last of them.
pub(super) fn lock(file: &File, offset: u64, length: Option<u64>, read_only: bool) -> Result<(), Refused> {
    let started = Instant::now();
    loop {
        match lock_now(file, offset, length, read_only) {
            Err(Refused::By(Holder::Unknown)) if started.elapsed() < UNKNOWN_HOLDER_MAX && can_look() => {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

/// Whether a live holder could be found. Not in the sandbox: there the holder is most
/// likely alive, and opening a store while other exports are served must not wait.
fn can_look() -> bool {
    fs::read_dir("/proc").is_ok()
}

fn lock_now(file: &File, offset: u64, length: Option<u64>, read_only: bool) -> Result<(), Refused> {
    let kind = if read_only { libc::F_RDLCK } else { libc::F_WRLCK };
    let mut range = whole(kind);
    range.l_start = to_offset(offset)?;
    range.l_len = to_offset(length.unwrap_or(0))?;
    // SAFETY: a valid descriptor and a valid `flock`.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Err(Refused::By(holder(file, range))),
        _ => Err(Refused::System(error)),
    }
}

/// Releases every lock of the description. Closing would also do this, but not while a
/// child process between `fork` and `exec` has a copy.
pub(super) fn unlock(file: &File) {
    // SAFETY: a valid descriptor and a valid `flock`.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &whole(libc::F_UNLCK)) };
}

fn whole(kind: libc::c_int) -> libc::flock {
    // SAFETY: all-zero is a valid `flock`; OFD locks require a zero `l_pid`, and a zero
    // `l_len` means to the end, wherever it will be.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range
}

fn to_offset(bytes: u64) -> Result<libc::off_t, Refused> {
    libc::off_t::try_from(bytes).map_err(|_| Refused::System(io::Error::from_raw_os_error(libc::EOVERFLOW)))
}

fn holder(file: &File, mut range: libc::flock) -> Holder {
    // SAFETY: a valid descriptor and a valid `flock`, which the call fills.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut range) };
    // The lock of a process names it; a description lock gives -1.
    match u32::try_from(range.l_pid) {
        Ok(pid) if asked == 0 && pid > 0 => name(pid),
        _ => find_holder(file, &range).map_or(Holder::Unknown, name),
    }
}

fn name(pid: u32) -> Holder {
    if pid == std::process::id() { Holder::Ourselves } else { Holder::Process(pid) }
}

/// The process with a descriptor that shows a lock on this file.
fn find_holder(file: &File, range: &libc::flock) -> Option<u32> {
    let facts = file.metadata().ok()?;
    let (major, minor) = (libc::major(facts.dev()), libc::minor(facts.dev()));
    let inode = format!(" {major:02x}:{minor:02x}:{} ", facts.ino());
    // In the sandbox only this process is visible.
    let ourselves = (std::process::id(), PathBuf::from("/proc/self"));
    let others = fs::read_dir("/proc").into_iter().flatten().flatten();
    let others = others.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    std::iter::once(ourselves)
        .chain(others)
        .find(|(_, path)| shows_lock(&path.join("fdinfo"), &inode, range))
        .map(|(pid, _)| pid)
}

fn shows_lock(fdinfo: &Path, inode: &str, range: &libc::flock) -> bool {
    fs::read_dir(fdinfo).into_iter().flatten().flatten().any(|entry| {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let locks = text.lines().filter(|line| line.starts_with("lock:"));
        locks.filter_map(|line| line.split_once(inode)).any(|(_, extent)| overlaps(extent, range))
    })
}

/// Whether an extent, given as first and last byte or "EOF", overlaps the range.
fn overlaps(extent: &str, range: &libc::flock) -> bool {
    let mut words = extent.split_whitespace();
    let first = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let last = words.next().and_then(|word| word.parse().ok()).unwrap_or(i64::MAX);
    let end = if range.l_len == 0 { i64::MAX } else { range.l_start.saturating_add(range.l_len) };
    first < end && last >= range.l_start
}

/// Exclusive use of a block device by this process.
#[derive(Debug)]
pub(super) struct Claim(#[expect(dead_code, reason = "held, not used")] File);

/// The active claims, by device number.
static CLAIMS: Mutex<Vec<(u64, Weak<Claim>)>> = Mutex::new(Vec::new());

/// Claims a device. A second store on it shares the claim of the first.
pub(super) fn claim(path: &Path, device: u64) -> io::Result<Arc<Claim>> {
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    claims.retain(|(_, claim)| claim.strong_count() > 0);
    let known = claims.iter().find(|(known, _)| *known == device);
    if let Some(claim) = known.and_then(|(_, claim)| claim.upgrade()) {
        return Ok(claim);
    }
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(path)?;
    let claim = Arc::new(Claim(file));
    claims.push((device, Arc::downgrade(&claim)));
    Ok(claim)
}
