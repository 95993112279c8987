//! Direct I/O: whether a file can be accessed past the page cache, and in which block size.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, OFlags, StatxFlags, fcntl_getfl, fcntl_setfl, statx};

use super::SECTOR_BYTES;
use super::open::BLOCK_MAX;

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
    let facts = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
    let Some(facts) = facts.filter(|facts| facts.stx_mask & StatxFlags::DIOALIGN.bits() != 0) else {
        return tried(file);
    };
    let block = facts.stx_dio_mem_align.max(facts.stx_dio_offset_align).max(SECTOR_BYTES as u32);
    // The kernel reports an alignment of 0 for files without direct I/O.
    (facts.stx_dio_offset_align > 0 && block.is_power_of_two() && block <= BLOCK_MAX).then_some(block)
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
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, on);
    Ok(fcntl_setfl(file, flags)?)
}
