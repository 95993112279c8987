//! What an operator should know about a file that can be opened all the same.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::memory::{self, Below, IN_MEMORY};
use super::{Durability, OpenOptions, SECTOR_BYTES, Warning};

pub(super) fn on(options: &OpenOptions, file: &File, size: u64) -> Vec<Warning> {
    [tail(options, size), hole(options, file, size), memory(options, file)].into_iter().flatten().collect()
}

/// Whether durable writes were asked for on hugetlbfs, which cannot even be
/// written through a descriptor.
pub(super) fn cannot_sync(options: &OpenOptions, file: &File) -> bool {
    wants_stable_writes(options) && is_huge(file)
}

/// Whether it lies in hugetlbfs.
pub(super) fn is_huge(file: &File) -> bool {
    file_system(file) == Some(libc::HUGETLBFS_MAGIC)
}

/// Whether all of the file is in memory for good: then mapping all of it costs
/// nothing. A hole in such a file would take memory as soon as it is mapped.
pub(super) fn is_resident(file: &File) -> bool {
    let in_memory = file_system(file).is_some_and(|kind| IN_MEMORY.contains(&kind));
    in_memory && file.metadata().is_ok_and(|f| f.is_file() && f.blocks().saturating_mul(512) >= f.len())
}

/// Whether a program serves it.
pub(super) fn is_fuse(file: &File) -> bool {
    file_system(file) == Some(libc::FUSE_SUPER_MAGIC)
}

fn tail(options: &OpenOptions, size: u64) -> Option<Warning> {
    let bytes = size.saturating_sub(options.offset_bytes) % SECTOR_BYTES;
    (options.length_bytes.is_none() && bytes > 0)
        .then(|| Warning::TailCut { path: options.path.clone(), bytes })
}

fn hole(options: &OpenOptions, file: &File, size: u64) -> Option<Warning> {
    let facts = file.metadata().ok()?;
    // `st_blocks` counts in 512 bytes, whatever the file system.
    let allocated = facts.blocks().saturating_mul(512);
    (!options.read_only && !facts.file_type().is_block_device() && allocated < size)
        .then(|| Warning::Sparse { path: options.path.clone(), allocated, size })
}

fn memory(options: &OpenOptions, file: &File) -> Option<Warning> {
    if !wants_stable_writes(options) {
        return None;
    }
    let path = options.path.clone();
    Some(match memory::below(file)? {
        Below::Memory(way) => Warning::InMemory { path, way },
        Below::Unknown(below) => Warning::UnknownBelow { path, below },
    })
}

fn wants_stable_writes(options: &OpenOptions) -> bool {
    !options.read_only && options.durability == Durability::Durable
}

pub(super) fn file_system(file: &File) -> Option<libc::c_long> {
    statfs(file).map(|facts| facts.f_type as libc::c_long)
}

/// The id that a file system gives itself.
pub(super) fn file_system_id(file: &File) -> Option<[u32; 2]> {
    let id = statfs(file)?.f_fsid;
    // SAFETY: an `fsid_t` is two `int`.
    Some(unsafe { std::mem::transmute::<libc::fsid_t, [u32; 2]>(id) })
}

fn statfs(file: &File) -> Option<libc::statfs> {
    // SAFETY: all-zero is a valid `statfs`.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a valid descriptor, and a structure for the call to fill.
    let result = unsafe { libc::fstatfs(file.as_raw_fd(), &mut facts) };
    (result == 0).then_some(facts)
}
