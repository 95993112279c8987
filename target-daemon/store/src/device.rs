//! Facts about block devices and files that the kernel reports by ioctl and below `/sys`.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{ioctl_blkpbszget, ioctl_blksszget};
use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};

use super::file_facts::is_device;
use super::open::BLOCK_MAX;
use super::{OpenError, OpenOptions, SECTOR_BYTES};

/// From the kernel's `linux/fs.h`.
const BLKROGET: Opcode = opcode::none(0x12, 94);

/// As above. The kernel declares a `size_t` and fills 64 bits.
const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);

/// As above, for files. The kernel declares a `long` and fills 32 bits.
const FS_IOC_GETVERSION: Opcode = opcode::read::<libc::c_long>(b'v', 1);

/// As above (Linux 6.9).
const FS_IOC_GETFSUUID: Opcode = opcode::read::<FsUuid>(0x15, 0);

/// `struct fsuuid2`.
#[repr(C)]
struct FsUuid {
    len: u8,
    uuid: [u8; 16],
}

/// Calls an ioctl that fills a `T`.
///
/// # Safety
///
/// The kernel fills a `T` of any value, completely and no more.
unsafe fn get<const OPCODE: Opcode, T>(file: &File) -> io::Result<T> {
    // SAFETY: the promise of the caller.
    Ok(unsafe { ioctl(file, Getter::<OPCODE, T>::new()) }?)
}

/// The UUID of the file system that holds the file. `None` if it has none, or if this kernel
/// does not report it.
pub(super) fn file_system_uuid(file: &File) -> Option<String> {
    // SAFETY: FS_IOC_GETFSUUID fills a `struct fsuuid2`.
    let FsUuid { len, uuid } = unsafe { get::<FS_IOC_GETFSUUID, _>(file) }.ok()?;
    let uuid = uuid.get(..usize::from(len)).filter(|uuid| !uuid.is_empty())?;
    Some(uuid.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The inode generation, which distinguishes the files that had the same inode number one
/// after another. `None` if the file system does not report it.
pub(super) fn generation(file: &File) -> Option<u32> {
    let mut generation: libc::c_long = 0;
    // SAFETY: FS_IOC_GETVERSION fills an `int`, and there is room for the declared `long`, which
    // other file systems may fill.
    unsafe { ioctl(file, Updater::<FS_IOC_GETVERSION, libc::c_long>::new(&mut generation)) }.ok()?;
    generation.to_ne_bytes().first_chunk().copied().map(u32::from_ne_bytes)
}

/// The size of a device in bytes. Unlike a seek to the end, this takes no lock that another
/// call may hold.
pub(super) fn bytes(device: &File) -> io::Result<u64> {
    // SAFETY: BLKGETSIZE64 fills a `u64`.
    unsafe { get::<BLKGETSIZE64, _>(device) }
}

/// The physical sector size of a device, if it can be served as requested.
pub(super) fn physical_bytes(options: &OpenOptions, device: &File) -> Result<u32, OpenError> {
    let examine = || -> io::Result<(libc::c_int, u32, u32)> {
        // SAFETY: BLKROGET fills an `int`.
        let read_only = unsafe { get::<BLKROGET, _>(device) }?;
        Ok((read_only, ioctl_blksszget(device)?, ioctl_blkpbszget(device)?))
    };
    let path = &options.path;
    let (read_only, logical, physical) =
        examine().map_err(|source| OpenError::system(path, "examine", source))?;
    // Opening a read-only device for writing succeeds; its writes would fail.
    if read_only != 0 && !options.read_only {
        return Err(OpenError::unwritable(path, Errno::ROFS.into()));
    }
    if !(SECTOR_BYTES as u32..=BLOCK_MAX).contains(&logical) {
        let what = format!("has logical sectors of {logical} bytes, and at most 4096 can be served");
        return Err(OpenError::new(path, what, "reformat the device, or export a file on it"));
    }
    Ok(physical)
}

/// The directory in `/sys` of the device with this number.
pub(super) fn folder(number: u64) -> Option<PathBuf> {
    fs::canonicalize(format!("/sys/dev/block/{}:{}", libc::major(number), libc::minor(number))).ok()
}

/// The text of a file in such a directory.
pub(super) fn attribute(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(name)).ok()?;
    Some(text.trim_end_matches('\n').to_owned())
}

/// Such a text about the queue of a device. A partition has no queue of its own; it uses that
/// of its disk.
fn queue(folder: &Path, name: &str) -> Option<String> {
    let name = format!("queue/{name}");
    attribute(folder, &name).or_else(|| attribute(folder.parent()?, &name))
}

/// Whether the disk below a file or device makes a single write stable for the price of the
/// write: it has no volatile cache ("write through"), or can write past it (FUA). `false` if
/// no single disk is known.
pub(super) fn writes_through(facts: &Metadata) -> bool {
    let Some(disk) = folder(if is_device(facts) { facts.rdev() } else { facts.dev() }) else { return false };
    match queue(&disk, "write_cache").as_deref() {
        Some("write back") => queue(&disk, "fua").as_deref() == Some("1"),
        cache => cache.is_some(),
    }
}

/// Whether the device discards, and has a command after which the range is guaranteed to read
/// as zeros. `fallocate` on a device needs both.
pub(super) fn discards(facts: &Metadata) -> bool {
    let Some(folder) = folder(facts.rdev()) else { return false };
    let limit = |name| queue(&folder, name).and_then(|bytes| bytes.parse().ok());
    ["discard_max_bytes", "write_zeroes_max_bytes"].into_iter().all(|name| limit(name) > Some(0u64))
}
