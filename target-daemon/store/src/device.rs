//! Properties of block devices and files, by ioctl.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `libc` has no constant for it; from the kernel's `linux/fs.h`.
const BLKROGET: libc::Ioctl = libc::_IO(0x12, 94);

/// As above. The kernel declares a `size_t` and fills 64 bits.
const BLKGETSIZE64: libc::Ioctl = libc::_IOR::<usize>(0x12, 114);

/// As above, for files. The kernel declares a `long` and fills 32 bits.
const FS_IOC_GETVERSION: libc::Ioctl = libc::_IOR::<libc::c_long>(b'v' as u32, 1);

/// As above (Linux 6.9).
const FS_IOC_GETFSUUID: libc::Ioctl = libc::_IOR::<FsUuid>(0x15, 0);

/// `struct fsuuid2`.
#[repr(C)]
struct FsUuid {
    len: u8,
    uuid: [u8; 16],
}

/// The UUID of the file system that holds the file. `None` if it has none, or if this kernel
/// does not report it.
pub(super) fn file_system_uuid(file: &File) -> Option<String> {
    let mut told = FsUuid { len: 0, uuid: [0; 16] };
    // SAFETY: FS_IOC_GETFSUUID fills a `struct fsuuid2`.
    check(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETFSUUID, &mut told) }).ok()?;
    let uuid = told.uuid.get(..usize::from(told.len)).filter(|uuid| !uuid.is_empty())?;
    Some(uuid.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The inode generation, which distinguishes the files that had the same inode number one
/// after another. `None` if the file system does not report it.
pub(super) fn generation(file: &File) -> Option<u32> {
    let mut generation: libc::c_long = 0;
    // SAFETY: FS_IOC_GETVERSION fills an `int`, and there is room for a `long`.
    check(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETVERSION, &mut generation) }).ok()?;
    Some(u32::from_ne_bytes(*generation.to_ne_bytes().first_chunk()?))
}

/// The properties to check before a device is served.
pub(super) struct Facts {
    /// The device refuses writes.
    pub(super) read_only: bool,
    /// The smallest unit that it can address.
    pub(super) logical_bytes: u32,
    /// The unit that it writes internally.
    pub(super) physical_bytes: u32,
}

/// The size of a device in bytes. Unlike a seek to the end, this takes no lock that another
/// call may hold.
pub(super) fn bytes(device: &File) -> io::Result<u64> {
    let mut bytes = 0u64;
    // SAFETY: BLKGETSIZE64 fills a `u64`.
    check(unsafe { libc::ioctl(device.as_raw_fd(), BLKGETSIZE64, &mut bytes) })?;
    Ok(bytes)
}

pub(super) fn facts(device: &File) -> io::Result<Facts> {
    let (mut read_only, mut logical): (libc::c_int, libc::c_int) = (0, 0);
    let mut physical: libc::c_uint = 0;
    // SAFETY: BLKROGET fills an `int`.
    check(unsafe { libc::ioctl(device.as_raw_fd(), BLKROGET, &mut read_only) })?;
    // SAFETY: BLKSSZGET fills an `int`.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::BLKSSZGET, &mut logical) })?;
    // SAFETY: BLKPBSZGET fills an `unsigned int`.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::BLKPBSZGET, &mut physical) })?;
    Ok(Facts { read_only: read_only != 0, logical_bytes: logical.unsigned_abs(), physical_bytes: physical })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
