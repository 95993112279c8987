//! A part of a file mapped into memory, and copies from and to it.

use std::fs::File;
use std::io;

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::io::Errno;

use super::{IoVec, sigbus};

/// A shared mapping. No reference into it ever exists, only raw copies: other programs may
/// write the file at any time.
#[derive(Debug)]
pub(super) struct Mapping {
    raw: MmapRaw,
    writable: bool,
}

impl Mapping {
    /// Maps `bytes` from `offset` on; `memmap2` handles an offset within a page.
    pub(super) fn new(file: &File, offset: u64, bytes: u64, writable: bool) -> io::Result<Self> {
        let len = usize::try_from(bytes).map_err(|_| Errno::NOMEM)?;
        sigbus::install()?;
        let mut options = MmapOptions::new();
        options.offset(offset).len(len);
        let raw = if writable { options.map_raw(file) } else { options.map_raw_read_only(file) }?;
        Ok(Self { raw, writable })
    }

    /// Maps every page now instead of at its first use. For files in memory: others would
    /// be read from end to end.
    pub(super) fn populate(&self) {
        // A kernel before 5.14 cannot; then the first use of a page is slower.
        let _ = self.raw.advise(Advice::PopulateRead);
    }

    /// Requests huge pages. Call it before any page is mapped.
    pub(super) fn ask_for_huge_pages(&self) -> io::Result<()> {
        self.raw.advise(Advice::HugePage)
    }

    /// Maps every page now, and keeps all of them in memory as long as the mapping lives.
    pub(super) fn pin(&mut self) -> io::Result<()> {
        self.raw.lock()
    }

    /// Prefetches the bytes at `at` into the CPU cache, if they are within the mapping.
    pub(super) fn prefetch(&self, at: usize, bytes: usize) {
        if at.checked_add(bytes).is_some_and(|end| end <= self.raw.len()) {
            prefetch(self.raw.as_ptr().wrapping_add(at), bytes);
        }
    }

    /// Fills `buffers` from the bytes at `at`. Returns `false` if a page was not available, and
    /// the copy ended early.
    #[must_use]
    pub(super) fn read(&self, at: usize, buffers: &mut IoVec) -> bool {
        self.copy(at, buffers, |here, iovec| {
            // SAFETY: `here` stays in the mapping (`copy`); the piece is valid and ours because
            // we hold the list mutably; a frame and a file mapping do not overlap.
            unsafe { sigbus::copy(iovec.iov_base.cast(), here, iovec.iov_len) }
        })
    }

    /// Copies `buffers` to the bytes at `at`. Returns `false` as [`Self::read`].
    #[must_use]
    pub(super) fn write(&self, at: usize, buffers: &IoVec) -> bool {
        let copy = |here, iovec: &libc::iovec| {
            // SAFETY: as in `read`, in the other direction; the mapping is writable (checked
            // below).
            unsafe { sigbus::copy(here, iovec.iov_base.cast(), iovec.iov_len) }
        };
        self.writable && self.copy(at, buffers, copy)
    }

    /// Calls `copy` for each piece with its place, if all of them lie in the mapping.
    fn copy(&self, at: usize, buffers: &IoVec, copy: impl Fn(*mut u8, &libc::iovec) -> bool) -> bool {
        if at.checked_add(buffers.len()).is_none_or(|end| end > self.raw.len()) {
            return false;
        }
        let mut here = self.raw.as_mut_ptr().wrapping_add(at);
        buffers.iovecs().iter().all(|iovec| {
            let place = here;
            here = here.wrapping_add(iovec.iov_len);
            copy(place, iovec)
        })
    }
}

/// Distance of the prefetched cache lines in bytes. The processor fetches those between by
/// itself, and faster than if each were asked for.
const STEP: usize = 256;

/// Prefetches some of the cache lines that hold the first `bytes` bytes at `from`. It is
/// only a hint: it reads nothing visible to the program, and unmapped addresses are ignored.
#[inline]
fn prefetch(from: *const u8, bytes: usize) {
    for at in (0..bytes.max(1)).step_by(STEP) {
        line(from.wrapping_add(at));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing visible to the program, and faults on no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn line(_: *const u8) {}
