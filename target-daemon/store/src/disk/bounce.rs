//! Bounce buffers: aligned memory of the store, one buffer for each slot, for operations that
//! cannot use the frame directly.

use std::io;
use std::mem::ManuallyDrop;

use memmap2::{MmapMut, MmapRaw};

use super::IoSlice;
use crate::{IoVec, MemRegion, SEGMENTS_MAX};

/// Bytes in a regular buffer: for requests of up to 17 sectors (an MTU of 9000 carries no
/// more), plus the bytes before and after them in blocks of 4 KiB.
pub const PLACE_BYTES: usize = 8192 + 4096;

/// Bytes in a wide buffer: for the longest frame that the rings carry, plus the two blocks in
/// which it may begin and end.
pub const WIDE_BYTES: usize = SEGMENTS_MAX * 4096 + 2 * 4096;

/// The bounce buffers, page-aligned. Each slot also has a wide buffer, for requests that do
/// not fit the regular one. These are rare, so the wide buffers are not registered with the
/// kernel, which would pin them, and take no memory until they are used.
#[derive(Debug)]
pub struct Bounce {
    memory: ManuallyDrop<MmapRaw>,
    places: usize,
    kept: bool,
}

impl Bounce {
    /// Allocates zeroed buffers for `places` slots.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub fn new(places: usize) -> io::Result<Self> {
        let memory = MmapRaw::from(MmapMut::map_anon(places * (PLACE_BYTES + WIDE_BYTES))?);
        Ok(Self { memory: ManuallyDrop::new(memory), places, kept: false })
    }

    /// Keeps the memory mapped for ever: the kernel continues with calls that write to it, and
    /// must not write to whatever would be mapped there next.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// All regular buffers, to be registered. The wide ones are not.
    pub fn area(&self) -> MemRegion {
        MemRegion { base: self.memory.as_ptr() as usize, bytes: self.places * PLACE_BYTES }
    }

    /// The memory for `bytes` bytes in the buffer of a slot, for the kernel.
    pub fn piece(&self, place: usize, bytes: u32) -> IoSlice {
        IoSlice { base: self.memory.as_ptr() as usize + self.start(place, bytes as usize), bytes }
    }

    /// Copies `from` into the buffer of a slot, `skip` bytes into its `bytes` bytes. Returns
    /// `false`, and copies nothing, if it does not fit.
    pub fn put(&mut self, place: usize, bytes: u32, skip: u32, from: &IoVec) -> bool {
        let Some(to) = self.range(place, bytes, skip, from.len()) else { return false };
        // SAFETY: `range` has checked that these bytes lie within the buffer. The buffer
        // belongs to an operation that the kernel does not work on at this moment (the caller
        // is between two calls), and the exclusive borrow rules out other references.
        let to = unsafe { std::slice::from_raw_parts_mut(to, from.len()) };
        from.copy_to(to) == from.len()
    }

    /// Copies out of the buffer of a slot, from `skip` bytes into its `bytes` bytes.
    pub fn take(&self, place: usize, bytes: u32, skip: u32, to: &mut IoVec) -> bool {
        let Some(from) = self.range(place, bytes, skip, to.len()) else { return false };
        // SAFETY: as in `put`; there is no writer while it is borrowed.
        let from = unsafe { std::slice::from_raw_parts(from, to.len()) };
        to.fill(from) == from.len()
    }

    fn range(&self, place: usize, bytes: u32, skip: u32, len: usize) -> Option<*mut u8> {
        let (bytes, skip) = (bytes as usize, skip as usize);
        let fits = place < self.places && bytes <= WIDE_BYTES && skip.checked_add(len)? <= bytes;
        fits.then(|| self.memory.as_mut_ptr().wrapping_add(self.start(place, bytes) + skip))
    }

    /// The offset of the buffer that holds this number of bytes.
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
            // SAFETY: dropped only here, once, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}
