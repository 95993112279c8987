//! A lane's chunks: its free list, and its moves in the ledger.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::ledger::{Holder, Ledger, Misplaced, Place};

/// The free chunks of a lane, and what it has in frames.
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
    ledger: Arc<Ledger>,
    holder: Holder,
    free: VecDeque<u32>,
}

/// The books do not balance: a frame was dropped, or a chunk is listed twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imbalance {
    /// Chunks counted in each place (free, fill, user, tx).
    pub counted: [u32; 4],
    /// Chunks that should be in each place.
    pub expected: [u32; 4],
}

impl Pool {
    /// The pool of a lane, with the chunks that the ledger says are free and its
    /// own.
    pub fn new(ledger: Arc<Ledger>, holder: Holder) -> Self {
        let mut free = VecDeque::with_capacity(ledger.total() as usize);
        free.extend((0..ledger.total()).rev().filter(|chunk| ledger.is_free(*chunk, holder)));
        Self { ledger, holder, free }
    }

    /// So many chunks were received: no longer with the kernel.
    #[inline]
    pub fn note_received(&self, chunks: u32) {
        self.ledger.note_received(self.holder, chunks);
    }

    /// So many chunks are going to be sent.
    #[inline]
    pub fn note_posted(&self, chunks: u32) {
        self.ledger.note_posted(self.holder, chunks);
    }

    /// A free chunk, moved to `to`: for the kernel one that has not been touched
    /// for long, else one that was used last.
    #[inline]
    pub fn take(&mut self, to: Place) -> Option<u32> {
        let chunk = if to == Place::Fill { self.free.pop_front() } else { self.free.pop_back() }?;
        // Cannot fail: what is on our list is ours, and free.
        let shifted = self.shift(chunk, Place::Free, to);
        debug_assert!(shifted.is_ok());
        Some(chunk)
    }

    /// A chunk back on the free list. Refused if it is not in `from`.
    #[inline]
    pub fn give(&mut self, chunk: u32, from: Place) -> Result<(), Misplaced> {
        self.shift(chunk, from, Place::Free)?;
        // Never grows: at most all chunks, each at most once.
        self.free.push_back(chunk);
        Ok(())
    }

    /// As [`Self::give`], for a chunk that is best received into again, since
    /// little of it was touched.
    #[inline]
    pub fn give_cold(&mut self, chunk: u32, from: Place) -> Result<(), Misplaced> {
        self.shift(chunk, from, Place::Free)?;
        self.free.push_front(chunk);
        Ok(())
    }

    /// Moves a chunk between two places that are not the free list.
    #[inline]
    pub fn shift(&mut self, chunk: u32, from: Place, to: Place) -> Result<(), Misplaced> {
        self.ledger.shift(chunk, self.holder, from, to)
    }

    /// A chunk that was everybody's is ours.
    pub fn adopt(&mut self, chunk: u32) -> Result<(), Misplaced> {
        self.ledger.pass(chunk, Holder::NOBODY, self.holder)?;
        self.free.push_front(chunk);
        Ok(())
    }

    /// A free chunk that has not been touched for long, for everybody.
    pub fn part_with(&mut self) -> Option<u32> {
        let chunk = self.free.pop_front()?;
        // Cannot fail: what is on our list is ours, and free.
        let passed = self.ledger.pass(chunk, self.holder, Holder::NOBODY);
        debug_assert!(passed.is_ok());
        Some(chunk)
    }

    /// Free chunks of this lane.
    pub fn free(&self) -> u32 {
        self.free.len() as u32
    }

    /// What all lanes of the UMEM have in common.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Counts every chunk and compares with the books and with what the caller
    /// knows: how many chunks are in frames that it holds. What the kernel has
    /// is compared only where no other lane shares it and moves it meanwhile.
    pub fn check(&self, held: u32) -> Result<(), Imbalance> {
        let [free, fill, user, tx] = [Place::Free, Place::Fill, Place::User, Place::Tx]
            .map(|place| self.ledger.count(place, self.holder));
        let kernel = match self.ledger.lanes() {
            1 => (self.ledger.filled(), self.ledger.sending()),
            _ => (fill, tx),
        };
        let counted = [free, fill, user, tx];
        let expected = [self.free(), kernel.0, held, kernel.1];
        if counted == expected { Ok(()) } else { Err(Imbalance { counted, expected }) }
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

    fn pool(chunks: u32) -> Pool {
        let lane = Holder::lane(0).unwrap();
        Pool::new(Arc::new(Ledger::new(chunks, 1, lane)), lane)
    }

    #[test]
    fn a_chunk_is_in_one_place_at_a_time() {
        let mut pool = pool(2);
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
        let mut pool = pool(4);
        pool.take(Place::User).unwrap();
        assert_eq!(pool.check(1), Ok(()));
        let imbalance = pool.check(0).unwrap_err();
        assert_eq!((imbalance.counted, imbalance.expected), ([3, 0, 1, 0], [3, 0, 0, 0]));
    }

    #[test]
    fn frames_get_what_was_used_last_and_the_kernel_what_was_not_touched() {
        let mut pool = pool(5);
        let [used, untouched] = [Place::User, Place::Fill].map(|to| pool.take(to).unwrap());
        pool.give(used, Place::User).unwrap();
        pool.give_cold(untouched, Place::Fill).unwrap();
        assert_eq!(pool.give_cold(untouched, Place::Fill), Err(Misplaced), "freed twice");
        assert_eq!((pool.take(Place::User), pool.take(Place::Fill)), (Some(used), Some(untouched)));
        pool.ledger().note_filled(1);
        assert_eq!(pool.check(1), Ok(()));
    }

    #[test]
    fn an_empty_pool_gives_nothing() {
        let mut pool = pool(1);
        assert!(pool.take(Place::User).is_some());
        assert!(pool.take(Place::User).is_none());
    }

    #[test]
    fn a_chunk_of_one_lane_is_not_the_other_ones_to_move() {
        let [a, b] = [0, 1].map(|index| Holder::lane(index).unwrap());
        let ledger = Arc::new(Ledger::new(2, 2, a));
        let (mut first, mut second) = (Pool::new(Arc::clone(&ledger), a), Pool::new(Arc::clone(&ledger), b));
        let chunk = first.take(Place::User).unwrap();
        assert_eq!(second.give(chunk, Place::User), Err(Misplaced), "in a frame of the first");
        assert_eq!(second.adopt(chunk), Err(Misplaced), "not free");
        first.give(chunk, Place::User).unwrap();
        assert_eq!(second.adopt(chunk), Err(Misplaced), "free, and the first one's");
        let passed = first.part_with().unwrap();
        second.adopt(passed).unwrap();
        assert_eq!(second.adopt(passed), Err(Misplaced), "adopted twice");
        assert_eq!((first.free(), second.free()), (1, 1));
        assert_eq!((first.check(0), second.check(0)), (Ok(()), Ok(())));
    }

    #[test]
    fn what_the_kernel_has_is_received_by_one_lane_only() {
        let [a, b] = [0, 1].map(|index| Holder::lane(index).unwrap());
        let ledger = Arc::new(Ledger::new(1, 2, a));
        let (mut first, mut second) = (Pool::new(Arc::clone(&ledger), a), Pool::new(Arc::clone(&ledger), b));
        let chunk = first.take(Place::Fill).unwrap();
        ledger.note_filled(1);
        assert_eq!(second.shift(chunk, Place::Fill, Place::User), Ok(()));
        assert_eq!(first.shift(chunk, Place::Fill, Place::User), Err(Misplaced));
        second.note_received(1);
        second.shift(chunk, Place::User, Place::Tx).unwrap();
        second.note_posted(1);
        assert_eq!((ledger.filled(), ledger.sending()), (0, 1));
        first.give(chunk, Place::Tx).unwrap();
        ledger.note_completed(1);
        assert_eq!((ledger.filled(), ledger.sending(), first.free()), (0, 0, 1));
    }
}
