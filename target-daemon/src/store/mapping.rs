//! A part of a file in memory, and copies out of it and into it.

use std::fs::File;
use std::io;

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::{IoVec, sigbus};
use crate::prefetch;

/// A page of it was not there, and the copy ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interrupted;

/// A shared mapping. No reference into it ever exists, only raw copies: the
/// file may be written by others at any time.
#[derive(Debug)]
pub(super) struct Mapping {
    raw: MmapRaw,
    writable: bool,
}

impl Mapping {
    /// Maps `bytes` from `offset` on; `memmap2` takes care of an offset within
    /// a page.
    pub(super) fn new(file: &File, offset: u64, bytes: u64, writable: bool) -> io::Result<Self> {
        let len = usize::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        sigbus::install()?;
        let mut options = MmapOptions::new();
        options.offset(offset).len(len);
        let raw = if writable { options.map_raw(file) } else { options.map_raw_read_only(file) }?;
        Ok(Self { raw, writable })
    }

    /// Maps every page now rather than at its first use. For files that lie in
    /// memory anyway: others would be read from end to end.
    pub(super) fn populate(&self) {
        // A kernel before 5.14 cannot: then the first use of a page is slower.
        let _ = self.raw.advise(Advice::PopulateRead);
    }

    /// Asks for huge pages. Before anything is mapped by them.
    pub(super) fn ask_for_huge_pages(&self) -> io::Result<()> {
        self.raw.advise(Advice::HugePage)
    }

    /// Maps every page now, and keeps them in memory for as long as the mapping
    /// lives.
    pub(super) fn pin(&mut self) -> io::Result<()> {
        self.raw.lock()
    }

    /// Has the bytes at `at` brought into the cache, if they are here.
    pub(super) fn prefetch(&self, at: usize, bytes: usize) {
        if at.checked_add(bytes).is_some_and(|end| end <= self.raw.len()) {
            prefetch::bytes(self.raw.as_ptr().wrapping_add(at), bytes);
        }
    }

    /// Fills `buffers` from the bytes at `at`.
    pub(super) fn read(&self, at: usize, buffers: &mut IoVec) -> Result<(), Interrupted> {
        self.check(at, buffers)?;
        let mut from = self.raw.as_ptr().wrapping_add(at);
        for iovec in buffers.iovecs() {
            // SAFETY: `from` stays in the mapping (checked above for the sum
            // of the pieces); the piece is valid and ours, we hold the list
            // mutably; a frame and a file mapping do not overlap.
            if !unsafe { sigbus::copy(iovec.iov_base.cast(), from, iovec.iov_len) } {
                return Err(Interrupted);
            }
            from = from.wrapping_add(iovec.iov_len);
        }
        Ok(())
    }

    /// Puts `buffers` into the bytes at `at`.
    pub(super) fn write(&self, at: usize, buffers: &IoVec) -> Result<(), Interrupted> {
        self.check(at, buffers)?;
        if !self.writable {
            return Err(Interrupted);
        }
        let mut to = self.raw.as_mut_ptr().wrapping_add(at);
        for iovec in buffers.iovecs() {
            // SAFETY: as in `read`, the other way round; the mapping is
            // writable (checked above).
            if !unsafe { sigbus::copy(to, iovec.iov_base.cast(), iovec.iov_len) } {
                return Err(Interrupted);
            }
            to = to.wrapping_add(iovec.iov_len);
        }
        Ok(())
    }

    fn check(&self, at: usize, buffers: &IoVec) -> Result<(), Interrupted> {
        match at.checked_add(buffers.len()) {
            Some(end) if end <= self.raw.len() => Ok(()),
            _ => Err(Interrupted),
        }
    }
}
