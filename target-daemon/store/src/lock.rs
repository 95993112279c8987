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

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::{OpenError, OpenErrorKind, OpenOptions};

/// How long to wait for a lock without a known holder.
const UNKNOWN_HOLDER_MAX: Duration = Duration::from_secs(10);

/// Locks the extent, without a length up to any future end.
///
/// Waits for a lock without a live holder: the kernel may still be finishing the I/O of a
/// process that was just killed, and its writes must not overwrite newer data. The lock
/// ends with the last of them.
pub(super) fn lock(file: &File, options: &OpenOptions) -> Result<(), OpenError> {
    let started = Instant::now();
    loop {
        let refused =
            lock_now(file, options).map_err(|source| OpenError::system(&options.path, "lock", source));
        match refused? {
            None => return Ok(()),
            Some(Holder(None)) if started.elapsed() < UNKNOWN_HOLDER_MAX && can_look() => {
                thread::sleep(Duration::from_millis(10));
            }
            Some(holder) => return Err(locked(options, holder)),
        }
    }
}

/// The holder of a lock that was refused, by its id; `None` if the kernel does not know it: in
/// another namespace or on another host.
struct Holder(Option<u32>);

pub(super) fn locked_by_us(options: &OpenOptions) -> OpenError {
    locked(options, Holder(Some(std::process::id())))
}

fn locked(options: &OpenOptions, Holder(holder): Holder) -> OpenError {
    let ours = holder == Some(std::process::id());
    let by = match holder {
        _ if ours => "another export of this process".to_owned(),
        Some(pid) => format!("process {pid}"),
        None => "an unknown process".to_owned(),
    };
    let remedy = "end that use, or give exports that do not overlap";
    let kind = if ours { OpenErrorKind::LockedByUs } else { OpenErrorKind::Machine };
    OpenError::new(&options.path, format!("is locked by {by}"), remedy).of(kind)
}

/// Whether a live holder could be found. Not in the sandbox: there the holder is most
/// likely alive, and opening a store while other exports are served must not wait.
fn can_look() -> bool {
    fs::read_dir("/proc").is_ok()
}

/// Locks the extent; otherwise returns the holder of the lock that is in the way.
fn lock_now(file: &File, options: &OpenOptions) -> io::Result<Option<Holder>> {
    let range = extent(if options.read_only { libc::F_RDLCK } else { libc::F_WRLCK }, options);
    // SAFETY: a valid descriptor and a valid `flock`.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &range) } == 0 {
        return Ok(None);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(Some(holder(file, range))),
        _ => Err(error),
    }
}

/// Releases the lock of the extent. Closing would also do this, but not while a child process
/// between `fork` and `exec`, or the sender of the description, has a copy. Another
/// export may have a lock of the same description.
pub(super) fn unlock(file: &File, options: &OpenOptions) {
    // SAFETY: a valid descriptor and a valid `flock`.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &extent(libc::F_UNLCK, options)) };
}

fn extent(kind: libc::c_int, options: &OpenOptions) -> libc::flock {
    // SAFETY: all-zero is a valid `flock`; OFD locks require a zero `l_pid`, and a zero
    // `l_len` means to the end, wherever it will be.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    // The extent lies in the file, so both fit.
    range.l_start = options.offset_bytes as libc::off_t;
    range.l_len = options.length_bytes.unwrap_or(0) as libc::off_t;
    range
}

fn holder(file: &File, mut range: libc::flock) -> Holder {
    // SAFETY: a valid descriptor and a valid `flock`, which the call fills.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut range) };
    // The lock of a process names it; a description lock gives -1.
    let named = u32::try_from(range.l_pid).ok().filter(|pid| asked == 0 && *pid > 0);
    Holder(named.or_else(|| find_holder(file, &range)))
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

/// The devices that this process uses exclusively, by number, each as long as the file that
/// claims it is open.
static CLAIMS: Mutex<Vec<(u64, Weak<File>)>> = Mutex::new(Vec::new());

/// Claims a device. A second store on it shares the claim of the first, which `open` makes.
pub(super) fn claim(device: u64, open: impl FnOnce() -> io::Result<Arc<File>>) -> io::Result<Arc<File>> {
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    claims.retain(|(_, claim)| claim.strong_count() > 0);
    let known = claims.iter().find(|(known, _)| *known == device);
    if let Some(claim) = known.and_then(|(_, claim)| claim.upgrade()) {
        return Ok(claim);
    }
    let claim = open()?;
    claims.push((device, Arc::downgrade(&claim)));
    Ok(claim)
}

/// Opens a device exclusively.
pub(super) fn open_exclusively(path: &Path) -> io::Result<Arc<File>> {
    Ok(Arc::new(fs::OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(path)?))
}

/// The claim of a device that a store in this process has.
pub(super) fn claim_of(device: u64) -> Option<Arc<File>> {
    claim(device, || Err(io::ErrorKind::NotFound.into())).ok()
}
