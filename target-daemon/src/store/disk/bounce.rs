//! Aligned memory of a store's own, one place for each operation under way:
//! for what cannot go to the disk from the frame itself.

use std::io;
use std::mem::ManuallyDrop;

use memmap2::{MmapMut, MmapRaw};

use super::Piece;
use crate::store::{Area, Buffers};

/// Bytes in a place: the largest request, and the two blocks of 4 KiB that it
/// may begin and end in.
pub const PLACE_BYTES: usize = 8192 + 4096;

/// Places, aligned to a page.
#[derive(Debug)]
pub struct Bounce {
    memory: ManuallyDrop<MmapRaw>,
    kept: bool,
}

impl Bounce {
    /// So many places, of zeros.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub fn new(places: usize) -> io::Result<Self> {
        let memory = MmapRaw::from(MmapMut::map_anon(places * PLACE_BYTES)?);
        Ok(Self { memory: ManuallyDrop::new(memory), kept: false })
    }

    /// From now on it stays mapped for ever: the system goes on with calls that
    /// write to it, and what else would lie there then is not theirs.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// All of it.
    pub fn area(&self) -> Area {
        Area { base: self.memory.as_ptr() as usize, bytes: self.memory.len() }
    }

    /// The memory of a place, for the system.
    pub fn piece(&self, place: usize, bytes: u32) -> Piece {
        Piece { base: self.memory.as_ptr() as usize + place * PLACE_BYTES, bytes }
    }

    /// Copies `from` to `skip` bytes into a place. `false`, and nothing copied,
    /// if it does not fit.
    pub fn put(&mut self, place: usize, skip: usize, from: &Buffers) -> bool {
        let Some(to) = self.range(place, skip, from.len()) else { return false };
        // SAFETY: `range` has checked that these bytes lie within the place;
        // the place belongs to an operation that the system does not work on
        // at this moment (the caller's step between two calls), and the
        // exclusive borrow keeps other references away.
        let to = unsafe { std::slice::from_raw_parts_mut(to, from.len()) };
        from.copy_to(to) == from.len()
    }

    /// Copies out of a place, from `skip` bytes into it on.
    pub fn take(&self, place: usize, skip: usize, to: &mut Buffers) -> bool {
        let Some(from) = self.range(place, skip, to.len()) else { return false };
        // SAFETY: as in `put`; nobody writes there while it is borrowed.
        let from = unsafe { std::slice::from_raw_parts(from, to.len()) };
        to.fill(from) == from.len()
    }

    fn range(&self, place: usize, skip: usize, bytes: usize) -> Option<*mut u8> {
        let start = place.checked_mul(PLACE_BYTES)?.checked_add(skip)?;
        let fits = skip.checked_add(bytes)? <= PLACE_BYTES && start.checked_add(bytes)? <= self.memory.len();
        fits.then(|| self.memory.as_mut_ptr().wrapping_add(start))
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
