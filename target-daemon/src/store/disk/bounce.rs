//! Aligned memory of a store's own, one place for each operation under way:
//! for what cannot go to the disk from the frame itself.

use std::io;
use std::mem::ManuallyDrop;

use memmap2::{MmapMut, MmapRaw};

use super::IoSlice;
use crate::store::{IoVec, MemRegion, SEGMENTS_MAX};

/// Bytes in a place: for requests of up to 17 sectors (an MTU of 9000 carries no
/// more), and what is before and behind them in blocks of 4 KiB.
pub const PLACE_BYTES: usize = 8192 + 4096;

/// Bytes in a wide place: for the longest frame that the rings carry, and the two
/// blocks that it may begin and end in.
pub const WIDE_BYTES: usize = SEGMENTS_MAX * 4096 + 2 * 4096;

/// Places, aligned to a page. Each has a wide one beside it, for what is too long
/// for it: such requests are rare, so that is not registered with the system, which
/// would pin it, and takes no memory until it is used.
#[derive(Debug)]
pub struct Bounce {
    memory: ManuallyDrop<MmapRaw>,
    places: usize,
    kept: bool,
}

impl Bounce {
    /// So many places, of zeros.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub fn new(places: usize) -> io::Result<Self> {
        let memory = MmapRaw::from(MmapMut::map_anon(places * (PLACE_BYTES + WIDE_BYTES))?);
        Ok(Self { memory: ManuallyDrop::new(memory), places, kept: false })
    }

    /// From now on it stays mapped for ever: the system goes on with calls that
    /// write to it, and what else would lie there then is not theirs.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// All places but the wide ones, to be registered.
    pub fn area(&self) -> MemRegion {
        MemRegion { base: self.memory.as_ptr() as usize, bytes: self.places * PLACE_BYTES }
    }

    /// The memory for `bytes` bytes of a place, for the system.
    pub fn piece(&self, place: usize, bytes: u32) -> IoSlice {
        IoSlice { base: self.memory.as_ptr() as usize + self.start(place, bytes as usize), bytes }
    }

    /// Copies `from` to `skip` bytes into the `bytes` bytes of a place. `false`, and
    /// nothing copied, if it does not fit.
    pub fn put(&mut self, place: usize, bytes: u32, skip: u32, from: &IoVec) -> bool {
        let Some(to) = self.range(place, bytes, skip, from.len()) else { return false };
        // SAFETY: `range` has checked that these bytes lie within the place;
        // the place belongs to an operation that the system does not work on
        // at this moment (the caller's step between two calls), and the
        // exclusive borrow keeps other references away.
        let to = unsafe { std::slice::from_raw_parts_mut(to, from.len()) };
        from.copy_to(to) == from.len()
    }

    /// Copies out of the `bytes` bytes of a place, from `skip` bytes into them on.
    pub fn take(&self, place: usize, bytes: u32, skip: u32, to: &mut IoVec) -> bool {
        let Some(from) = self.range(place, bytes, skip, to.len()) else { return false };
        // SAFETY: as in `put`; nobody writes there while it is borrowed.
        let from = unsafe { std::slice::from_raw_parts(from, to.len()) };
        to.fill(from) == from.len()
    }

    fn range(&self, place: usize, bytes: u32, skip: u32, len: usize) -> Option<*mut u8> {
        let (bytes, skip) = (bytes as usize, skip as usize);
        let fits = place < self.places && bytes <= WIDE_BYTES && skip.checked_add(len)? <= bytes;
        fits.then(|| self.memory.as_mut_ptr().wrapping_add(self.start(place, bytes) + skip))
    }

    /// Where the bytes of a place start, if there are so many.
    fn start(&self, place: usize, bytes: usize) -> usize {
        match bytes {
            0..=PLACE_BYTES => place * PLACE_BYTES,
            _ => self.places * PLACE_BYTES + place * WIDE_BYTES,
        }
    }
}

impl Drop for Bounce {
    fn drop(&mut self) {
        if !self.kept {
            // SAFETY: dropped here only, once, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}
