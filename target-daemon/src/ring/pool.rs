//! The ledger of chunks: who has each one, checked at every move.

use std::collections::VecDeque;
use std::fmt;

/// Where a chunk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Place {
    /// On the free list.
    Free,
    /// With the kernel for receiving: fill ring, NIC, rx ring.
    Fill,
    /// In a `Frame`.
    User,
    /// With the kernel for sending: tx ring, NIC, completion ring.
    Tx,
}

/// Chunks by place, and the free list.
///
/// ```text
/// for the kernel ◄── [ not touched lately … used a moment ago ] ──► for frames
/// ```
///
/// The kernel fills thousands of chunks in turn, more than any cache holds, and
/// writes little into most: a request to read has 60 bytes. The reply has 4 KiB,
/// so that is put where a reply has been sent from just now.
#[derive(Debug)]
pub struct Pool {
    places: Vec<Place>,
    free: VecDeque<u32>,
    counts: [u32; 4],
}

/// A chunk was not where a move expected it, or does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misplaced;

/// The books do not balance: a frame was dropped, or a chunk is listed twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imbalance {
    /// Chunks counted in each place (free, fill, user, tx).
    pub counted: [u32; 4],
    /// Chunks that should be in each place.
    pub expected: [u32; 4],
}

impl Pool {
    /// All chunks free.
    pub fn new(chunks: u32) -> Self {
        Self {
            places: vec![Place::Free; chunks as usize],
            free: (0..chunks).rev().collect(),
            counts: [chunks, 0, 0, 0],
        }
    }

    /// A free chunk, moved to `to`: for the kernel one that has not been touched
    /// for long, else one that was used last.
    pub fn take(&mut self, to: Place) -> Option<u32> {
        let chunk = if to == Place::Fill { self.free.pop_front() } else { self.free.pop_back() }?;
        self.set(chunk, Place::Free, to);
        Some(chunk)
    }

    /// A chunk back on the free list. Refused if it is not in `from`.
    pub fn give(&mut self, chunk: u32, from: Place) -> Result<(), Misplaced> {
        self.shift(chunk, from, Place::Free)?;
        // Never grows: at most `chunks` entries, each at most once.
        self.free.push_back(chunk);
        Ok(())
    }

    /// As [`Self::give`], for a chunk that is best received into again, since
    /// little of it was touched.
    pub fn give_cold(&mut self, chunk: u32, from: Place) -> Result<(), Misplaced> {
        self.shift(chunk, from, Place::Free)?;
        self.free.push_front(chunk);
        Ok(())
    }

    /// Moves a chunk between two places that are not the free list.
    pub fn shift(&mut self, chunk: u32, from: Place, to: Place) -> Result<(), Misplaced> {
        if self.places.get(chunk as usize) != Some(&from) {
            return Err(Misplaced);
        }
        self.set(chunk, from, to);
        Ok(())
    }

    /// Chunks in a place.
    pub fn count(&self, place: Place) -> u32 {
        self.counts.get(place as usize).copied().unwrap_or(0)
    }

    /// All chunks.
    pub fn total(&self) -> u32 {
        self.places.len() as u32
    }

    /// Counts every chunk and compares with the books and with what the caller
    /// knows: how many chunks are in frames that it holds.
    pub fn check(&self, held: u32) -> Result<(), Imbalance> {
        let mut counted = [0; 4];
        for &place in &self.places {
            if let Some(n) = counted.get_mut(place as usize) {
                *n += 1;
            }
        }
        let [_, fill, _, tx] = self.counts;
        let expected = [self.free.len() as u32, fill, held, tx];
        if counted == expected { Ok(()) } else { Err(Imbalance { counted, expected }) }
    }

    fn set(&mut self, chunk: u32, from: Place, to: Place) {
        if let Some(place) = self.places.get_mut(chunk as usize) {
            *place = to;
        }
        if let Some(n) = self.counts.get_mut(from as usize) {
            *n = n.saturating_sub(1);
        }
        if let Some(n) = self.counts.get_mut(to as usize) {
            *n += 1;
        }
    }
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunks (free, fill, user, tx) counted {:?}, expected {:?}", self.counted, self.expected)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_in_one_place_at_a_time() {
        let mut pool = Pool::new(2);
        let a = pool.take(Place::Fill).unwrap();
        assert_eq!(pool.shift(a, Place::Tx, Place::User), Err(Misplaced));
        assert_eq!(pool.shift(a, Place::Fill, Place::User), Ok(()));
        assert_eq!(pool.shift(a, Place::Fill, Place::User), Err(Misplaced), "received twice");
        assert_eq!(pool.shift(7, Place::Fill, Place::User), Err(Misplaced), "no such chunk");
        assert_eq!(pool.give(a, Place::User), Ok(()));
        assert_eq!(pool.give(a, Place::User), Err(Misplaced), "freed twice");
        assert_eq!(pool.check(0), Ok(()));
    }

    #[test]
    fn a_dropped_frame_is_an_imbalance() {
        let mut pool = Pool::new(4);
        pool.take(Place::User).unwrap();
        assert_eq!(pool.check(1), Ok(()));
        let imbalance = pool.check(0).unwrap_err();
        assert_eq!((imbalance.counted, imbalance.expected), ([3, 0, 1, 0], [3, 0, 0, 0]));
    }

    #[test]
    fn frames_get_what_was_used_last_and_the_kernel_what_was_not_touched() {
        let mut pool = Pool::new(5);
        let [used, untouched] = [Place::User, Place::Fill].map(|to| pool.take(to).unwrap());
        pool.give(used, Place::User).unwrap();
        pool.give_cold(untouched, Place::Fill).unwrap();
        assert_eq!(pool.give_cold(untouched, Place::Fill), Err(Misplaced), "freed twice");
        assert_eq!((pool.take(Place::User), pool.take(Place::Fill)), (Some(used), Some(untouched)));
        assert_eq!(pool.check(1), Ok(()));
    }

    #[test]
    fn an_empty_pool_gives_nothing() {
        let mut pool = Pool::new(1);
        assert!(pool.take(Place::User).is_some());
        assert!(pool.take(Place::User).is_none());
    }
}
