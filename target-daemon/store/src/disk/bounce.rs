//! Bounce buffers: aligned memory for operations that cannot use the frame directly.
//!
//! The stores of a worker share a [`Pool`] of buffers that are registered with its ring. If
//! all of them are in use, perhaps by disks that hang, an operation uses memory of its own
//! store. So no store ever waits for the buffers of another.

use std::io;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapMut, MmapRaw};

use super::IoSlice;
use crate::{IoVec, MemRegion, SEGMENTS_MAX};

/// Bytes in a buffer of the pool: for requests of up to 17 sectors (an MTU of 9000 carries no
/// more), plus the bytes before and after them in blocks of 4 KiB.
pub const PLACE_BYTES: usize = 8192 + 4096;

/// Bytes in a buffer of a store: for the longest frame that the rings carry, plus the two
/// blocks in which it may begin and end.
pub const WIDE_BYTES: usize = SEGMENTS_MAX * 4096 + 2 * 4096;

/// Buffers in a pool. As many as fast disks have in flight together.
const PLACES: u16 = 512;

/// The buffers that the stores of one worker share.
#[derive(Debug)]
pub struct Pool {
    memory: MmapRaw,
    /// Only the worker's thread uses the pool, so this lock is never contended.
    free: Mutex<Vec<u16>>,
}

impl Pool {
    /// A pool of zeroed buffers.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub fn new() -> io::Result<Self> {
        let memory = MmapRaw::from(MmapMut::map_anon(usize::from(PLACES) * PLACE_BYTES)?);
        Ok(Self { memory, free: Mutex::new((0..PLACES).rev().collect()) })
    }

    /// All buffers, to be registered.
    pub fn area(&self) -> MemRegion {
        MemRegion { base: self.memory.as_ptr() as usize, bytes: self.memory.len() }
    }

    fn take(&self) -> Option<u16> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, place: u16) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }
}

/// The buffers of one store: those that its slots hold from the pool, and a wide one for each
/// slot. The wide ones are not registered with the kernel, which would pin them, and take no
/// memory until they are used.
#[derive(Debug)]
pub struct Bounce {
    pool: Option<Arc<Pool>>,
    /// The buffer from the pool that a slot holds.
    places: Vec<Option<u16>>,
    wide: ManuallyDrop<MmapRaw>,
    kept: bool,
}

impl Bounce {
    /// Zeroed buffers for `slots` slots.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub fn new(slots: usize) -> io::Result<Self> {
        let wide = MmapRaw::from(MmapMut::map_anon(slots * WIDE_BYTES)?);
        Ok(Self { pool: None, places: vec![None; slots], wide: ManuallyDrop::new(wide), kept: false })
    }

    /// Uses this pool from now on. Call before the first operation.
    pub fn join(&mut self, pool: &Arc<Pool>) {
        self.pool = Some(Arc::clone(pool));
    }

    /// Keeps the memory mapped for ever: the kernel continues with calls that write to it, and
    /// must not write to whatever would be mapped there next.
    pub fn keep(&mut self) {
        self.kept = true;
        std::mem::forget(self.pool.clone());
    }

    /// Assigns a buffer for `bytes` bytes to a slot, until [`Self::release`].
    pub fn claim(&mut self, slot: usize, bytes: u32) {
        if bytes as usize <= PLACE_BYTES
            && let (Some(pool), Some(place)) = (&self.pool, self.places.get_mut(slot))
        {
            *place = pool.take();
        }
    }

    /// Takes the buffer of a slot back.
    pub fn release(&mut self, slot: usize) {
        if let (Some(pool), Some(place)) = (&self.pool, self.places.get_mut(slot).and_then(Option::take)) {
            pool.give(place);
        }
    }

    /// The memory for `bytes` bytes in the buffer of a slot, for the kernel.
    pub fn piece(&self, slot: usize, bytes: u32) -> IoSlice {
        IoSlice { base: self.buffer(slot).0 as usize, bytes }
    }

    /// Copies `from` into the buffer of a slot, `skip` bytes into its `bytes` bytes. Returns
    /// `false`, and copies nothing, if it does not fit.
    pub fn put(&mut self, slot: usize, bytes: u32, skip: u32, from: &IoVec) -> bool {
        let Some(to) = self.range(slot, bytes, skip, from.len()) else { return false };
        // SAFETY: `range` has checked that these bytes lie within the buffer. The buffer
        // belongs to an operation that the kernel does not work on at this moment (the caller
        // is between two calls), and the exclusive borrow rules out other references.
        let to = unsafe { std::slice::from_raw_parts_mut(to, from.len()) };
        from.copy_to(to) == from.len()
    }

    /// Copies out of the buffer of a slot, from `skip` bytes into its `bytes` bytes.
    pub fn take(&self, slot: usize, bytes: u32, skip: u32, to: &mut IoVec) -> bool {
        let Some(from) = self.range(slot, bytes, skip, to.len()) else { return false };
        // SAFETY: as in `put`; there is no writer while it is borrowed.
        let from = unsafe { std::slice::from_raw_parts(from, to.len()) };
        to.fill(from) == from.len()
    }

    fn range(&self, slot: usize, bytes: u32, skip: u32, len: usize) -> Option<*mut u8> {
        let (base, size) = self.buffer(slot);
        let (bytes, skip) = (bytes as usize, skip as usize);
        let fits = slot < self.places.len() && bytes <= size && skip.checked_add(len)? <= bytes;
        fits.then(|| base.wrapping_add(skip))
    }

    /// The start and size of the buffer of a slot.
    fn buffer(&self, slot: usize) -> (*mut u8, usize) {
        match (&self.pool, self.places.get(slot)) {
            (Some(pool), Some(Some(place))) => {
                (pool.memory.as_mut_ptr().wrapping_add(usize::from(*place) * PLACE_BYTES), PLACE_BYTES)
            }
            _ => (self.wide.as_mut_ptr().wrapping_add(slot * WIDE_BYTES), WIDE_BYTES),
        }
    }
}

impl Drop for Bounce {
    fn drop(&mut self) {
        if !self.kept {
            (0..self.places.len()).for_each(|slot| self.release(slot));
            // SAFETY: dropped only here, once, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.wide) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store whose disk hangs holds every buffer of the pool, and another one still has
    /// memory for all its slots.
    #[test]
    fn no_store_waits_for_the_buffers_of_another() {
        let pool = Arc::new(Pool::new().unwrap());
        let [mut hangs, mut works] = [usize::from(PLACES) + 1, 4].map(|slots| Bounce::new(slots).unwrap());
        hangs.join(&pool);
        works.join(&pool);
        (0..=usize::from(PLACES)).for_each(|slot| hangs.claim(slot, 512));
        let mut starts: Vec<_> = (0..=usize::from(PLACES)).map(|slot| hangs.piece(slot, 512).base).collect();
        for slot in 0..4 {
            works.claim(slot, PLACE_BYTES as u32);
            starts.push(works.piece(slot, 512).base);
        }
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= PLACE_BYTES), "each has its own");
        drop(hangs);
        works.release(0);
        works.claim(0, PLACE_BYTES as u32);
        let inside = |at: usize| (pool.area().base..pool.area().base + pool.area().bytes).contains(&at);
        assert!(inside(works.piece(0, 512).base) && !inside(works.piece(1, 512).base));
        works.release(0);
        works.claim(0, PLACE_BYTES as u32 + 1);
        assert!(!inside(works.piece(0, 512).base), "too long for the pool");
    }
}
