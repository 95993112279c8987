//! Direct I/O: whether a file can be accessed past the page cache, and in which block size.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::SECTOR_BYTES;

/// The largest block size that is served: a page.
const BLOCK_MAX: u32 = 4096;

/// Makes calls on this description bypass the page cache. Returns the block size to which they
/// must be aligned, in the file and in memory.
///
/// # Errors
///
/// The file system does not support this, or only with larger blocks.
pub(super) fn enable(file: &File) -> io::Result<u32> {
    set_direct(file, true)?;
    match block(file) {
        Some(block) => Ok(block),
        None => {
            set_direct(file, false)?;
            Err(io::Error::other("its file system does not do O_DIRECT"))
        }
    }
}

/// Undoes [`enable`].
///
/// # Errors
///
/// Those of `fcntl`.
pub(super) fn disable(file: &File) -> io::Result<()> {
    set_direct(file, false)
}

/// The block size as reported by the kernel (Linux 6.1), or else as found by trial reads.
fn block(file: &File) -> Option<u32> {
    match told(file) {
        // The kernel reports an alignment of 0 for files without direct I/O.
        Some((_, 0)) => None,
        Some((memory, offset)) => {
            let block = memory.max(offset).max(SECTOR_BYTES as u32);
            (block.is_power_of_two() && block <= BLOCK_MAX).then_some(block)
        }
        None => tried(file),
    }
}

/// The alignment in memory and in the file, if the kernel reports it.
fn told(file: &File) -> Option<(u32, u32)> {
    // SAFETY: all-zero is a valid `statx`.
    let mut facts: libc::statx = unsafe { std::mem::zeroed() };
    let (fd, path) = (file.as_raw_fd(), c"".as_ptr());
    // SAFETY: a valid descriptor, an empty path, and a structure for the result.
    let result = unsafe { libc::statx(fd, path, libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, &mut facts) };
    let known = result == 0 && facts.stx_mask & libc::STATX_DIOALIGN != 0;
    known.then_some((facts.stx_dio_mem_align, facts.stx_dio_offset_align))
}

/// The smallest block size with which a read succeeds.
fn tried(file: &File) -> Option<u32> {
    #[repr(align(4096))]
    struct Page([u8; BLOCK_MAX as usize]);
    let mut page = Page([0; BLOCK_MAX as usize]);
    let Page(bytes) = &mut page;
    [SECTOR_BYTES as u32, BLOCK_MAX].into_iter().find(|block| {
        // Not at offset 0, which is aligned to everything.
        bytes.get_mut(..*block as usize).is_some_and(|to| file.read_at(to, (*block).into()).is_ok())
    })
}

fn set_direct(file: &File, on: bool) -> io::Result<()> {
    // SAFETY: a valid descriptor, no pointers.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = if on { flags | libc::O_DIRECT } else { flags & !libc::O_DIRECT };
    // SAFETY: as above.
    let set = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
