//! What the disk below a file or device says about its write cache.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

/// How a disk keeps what it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cache {
    /// What it has taken is stable ("write through").
    None,
    /// It has a cache that a power cut empties, and can write past it (FUA).
    Bypassed,
    /// It has such a cache, and only a flush empties it.
    Flushed,
}

/// The cache of the disk below this file; `None` if no single disk is known to
/// be there.
pub(super) fn cache(file: &File) -> Option<Cache> {
    let queue = queue(file)?;
    let read = |name| fs::read_to_string(queue.join(name)).ok();
    let write_back = read("write_cache")?.trim() == "write back";
    let bypasses = read("fua").is_some_and(|fua| fua.trim() == "1");
    Some(match (write_back, bypasses) {
        (false, _) => Cache::None,
        (true, true) => Cache::Bypassed,
        (true, false) => Cache::Flushed,
    })
}

/// The folder in which the kernel tells about the queue of the disk.
fn queue(file: &File) -> Option<PathBuf> {
    let facts = file.metadata().ok()?;
    let number = if facts.file_type().is_block_device() { facts.rdev() } else { facts.dev() };
    let disk = PathBuf::from(format!("/sys/dev/block/{}:{}", libc::major(number), libc::minor(number)));
    // A partition has none of its own: that of its disk counts.
    [disk.join("queue"), fs::canonicalize(disk).ok()?.parent()?.join("queue")]
        .into_iter()
        .find(|queue| queue.is_dir())
}
