//! Facts about an opened file: what it is, its file system, and warnings for the operator.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::fs::fstatfs;

use super::memory::{self, Below, IN_MEMORY};
use super::{OpenOptions, SECTOR_BYTES, Warning};

/// A file or device, as identified by the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Id {
    File { device: u64, inode: u64 },
    Device(u64),
}

impl Id {
    pub(super) fn of(facts: &Metadata) -> Self {
        match is_device(facts) {
            true => Self::Device(facts.rdev()),
            false => Self::File { device: facts.dev(), inode: facts.ino() },
        }
    }
}

pub(super) fn is_device(facts: &Metadata) -> bool {
    facts.file_type().is_block_device()
}

/// The bytes that are allocated. `st_blocks` counts in units of 512 bytes on every file
/// system.
pub(super) fn allocated(facts: &Metadata) -> u64 {
    facts.blocks().saturating_mul(512)
}

/// Warnings about a file of `size` bytes.
pub(super) fn warnings(options: &OpenOptions, file: &File, facts: &Metadata, size: u64) -> Vec<Warning> {
    let (mut warnings, path) = (Vec::new(), options.path.display());
    let tail = size.saturating_sub(options.offset_bytes) % SECTOR_BYTES;
    if options.length_bytes.is_none() && tail > 0 {
        let text = format!("{path}: the last {tail} bytes are no whole sector and are not exported");
        warnings.push(Warning::new(text));
    }
    let allocated = allocated(facts);
    if !options.read_only && !is_device(facts) && allocated < size {
        warnings.push(Warning::new(format!(
            "{path}: only {allocated} of {size} bytes are allocated: writes fail when its file system is full; \
             allocate them with `fallocate`"
        )));
    }
    if options.wants_stable_writes() {
        warnings.extend(memory::below(file).map(|below| in_memory(options, below)));
    }
    warnings
}

/// The warning that durable writes are only as durable as memory, or may be.
fn in_memory(options: &OpenOptions, below: Below) -> Warning {
    let path = options.path.display();
    match below {
        Below::Memory(way) => {
            let names: Vec<String> = way.iter().map(|one| one.display().to_string()).collect();
            let on = if names.is_empty() { String::new() } else { format!(" (on {})", names.join(", on ")) };
            Warning::new(format!(
                "{path}: lies in memory{on}: its writes do not survive a restart of this host, so export it as \
                 volatile, or move it to a disk"
            ))
        }
        // Not certain; in a container it is the usual case.
        Below::Unknown(below) => Warning {
            level: log::Level::Info,
            text: format!(
                "{path}: lies on {}, which xblade cannot look at: if that is in memory, writes do not survive a \
                 restart of this host",
                below.display()
            ),
        },
    }
}

/// Whether the file is in hugetlbfs.
pub(super) fn is_huge(file: &File) -> bool {
    file_system(file) == Some(libc::HUGETLBFS_MAGIC)
}

/// Whether the whole file is in memory permanently, so that mapping all of it is free. A
/// hole in such a file would take memory as soon as it is mapped.
pub(super) fn is_resident(file: &File) -> bool {
    let in_memory = file_system(file).is_some_and(|kind| IN_MEMORY.contains(&kind));
    in_memory && file.metadata().is_ok_and(|facts| facts.is_file() && allocated(&facts) >= facts.len())
}

/// Whether a user-space program serves the file system.
pub(super) fn is_fuse(file: &File) -> bool {
    file_system(file) == Some(libc::FUSE_SUPER_MAGIC)
}

pub(super) fn file_system(file: &File) -> Option<libc::c_long> {
    fstatfs(file).ok().map(|facts| facts.f_type as libc::c_long)
}
