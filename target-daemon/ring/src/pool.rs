//! The free list of a lane, and its transitions in the chunk table.

use std::fmt;
use std::sync::Arc;

use super::chunk_table::{ChunkOwner, ChunkState, ChunkTable, WrongState};

/// The free chunks of a lane.
///
/// ```text
/// for the kernel ◄── [ least recently used … most recently used ] ──► for frames
/// ```
///
/// The kernel fills thousands of chunks in turn, more than fit in any cache, and writes
/// little to most of them: a read request has 60 bytes. Its reply has 4 KiB, so replies
/// go to the chunks used most recently, which are still in the cache.
#[derive(Debug)]
pub struct Pool {
    table: Arc<ChunkTable>,
    owner: ChunkOwner,
    free: FreeList,
}

/// Chunk numbers, the least recently used first: a ring whose size is a power of two.
#[derive(Debug)]
struct FreeList {
    chunks: Box<[u32]>,
    first: u32,
    len: u32,
}

impl FreeList {
    /// An empty list with room for `chunks`.
    fn new(chunks: u32) -> Self {
        Self { chunks: vec![0; chunks.next_power_of_two() as usize].into(), first: 0, len: 0 }
    }

    /// The entry at a distance from the first one.
    #[inline]
    fn entry(&mut self, at: u32) -> Option<&mut u32> {
        let mask = (self.chunks.len() - 1) as u32;
        self.chunks.get_mut((self.first.wrapping_add(at) & mask) as usize)
    }

    /// Adds a chunk at the end. There is room: each chunk is on the list at most once.
    #[inline]
    fn push_back(&mut self, chunk: u32) {
        if let Some(entry) = self.entry(self.len) {
            *entry = chunk;
            self.len += 1;
        }
    }

    /// As [`Self::push_back`], but at the start.
    #[inline]
    fn push_front(&mut self, chunk: u32) {
        self.first = self.first.wrapping_sub(1);
        if let Some(entry) = self.entry(0) {
            *entry = chunk;
            self.len += 1;
        }
    }

    #[inline]
    fn pop_back(&mut self) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        self.entry(self.len).copied()
    }

    #[inline]
    fn pop_front(&mut self) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        let chunk = self.entry(0).copied();
        self.first = self.first.wrapping_add(1);
        chunk
    }
}

/// The counts do not match: a frame was dropped, or a chunk is on a list twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imbalance {
    /// Chunks counted in each state (free, fill, user, tx).
    pub counted: [u32; 4],
    /// Chunks expected in each state.
    pub expected: [u32; 4],
}

impl Pool {
    /// The pool of a lane, holding the chunks that the table lists as free and owned by
    /// it.
    pub fn new(table: Arc<ChunkTable>, owner: ChunkOwner) -> Self {
        let mut free = FreeList::new(table.total());
        let own = (0..table.total()).rev().filter(|chunk| table.is_free(*chunk, owner));
        own.for_each(|chunk| free.push_back(chunk));
        Self { table, owner, free }
    }

    /// Records `chunks` received: the kernel no longer has them.
    #[inline]
    pub fn note_received(&self, chunks: u32) {
        self.table.note_received(self.owner, chunks);
    }

    /// Records `chunks` about to be sent.
    #[inline]
    pub fn note_posted(&self, chunks: u32) {
        self.table.note_posted(self.owner, chunks);
    }

    /// Takes a free chunk and moves it to `to`: the least recently used one for the
    /// kernel, else the most recently used one.
    #[inline]
    pub fn take(&mut self, to: ChunkState) -> Option<u32> {
        let chunk = if to == ChunkState::Fill { self.free.pop_front() } else { self.free.pop_back() }?;
        // Cannot fail: every chunk on our list is ours and free.
        let shifted = self.shift(chunk, ChunkState::Free, to);
        debug_assert!(shifted.is_ok());
        Some(chunk)
    }

    /// Returns a chunk to the free list. Fails if it is not in `from`.
    #[inline]
    pub fn give(&mut self, chunk: u32, from: ChunkState) -> Result<(), WrongState> {
        self.shift(chunk, from, ChunkState::Free)?;
        self.free.push_back(chunk);
        Ok(())
    }

    /// Exchanges a chunk of a frame, of which little was touched, for the most recently used
    /// free one. `None` if there is none.
    #[inline]
    pub fn exchange(&mut self, cold: u32) -> Option<u32> {
        let hot = self.free.pop_back()?;
        if self.table.exchange(self.owner, cold, hot).is_err() {
            self.free.push_back(hot);
            return None;
        }
        self.free.push_front(cold);
        Some(hot)
    }

    /// Moves a chunk between two states other than `Free`.
    #[inline]
    pub fn shift(&mut self, chunk: u32, from: ChunkState, to: ChunkState) -> Result<(), WrongState> {
        self.table.shift(chunk, self.owner, from, to)
    }

    /// Takes ownership of a chunk from the shared free list.
    pub fn take_shared(&mut self, chunk: u32) -> Result<(), WrongState> {
        self.table.pass(chunk, ChunkOwner::SHARED, self.owner)?;
        self.free.push_front(chunk);
        Ok(())
    }

    /// Gives up ownership of the least recently used chunk, for the shared free list.
    pub fn give_shared(&mut self) -> Option<u32> {
        let chunk = self.free.pop_front()?;
        // Cannot fail: every chunk on our list is ours and free.
        let passed = self.table.pass(chunk, self.owner, ChunkOwner::SHARED);
        debug_assert!(passed.is_ok());
        Some(chunk)
    }

    /// Number of free chunks of this lane.
    #[inline]
    pub fn free(&self) -> u32 {
        self.free.len
    }

    /// The chunk table that all lanes of the UMEM share.
    pub fn table(&self) -> &ChunkTable {
        &self.table
    }

    /// Counts every chunk and compares with the free list and with `held`, the number of
    /// chunks in frames that the caller holds. What the kernel has is compared only if no
    /// other lane shares the UMEM, as another lane may move it meanwhile.
    pub fn check(&self, held: u32) -> Result<(), Imbalance> {
        let [free, fill, user, tx] = [ChunkState::Free, ChunkState::Fill, ChunkState::User, ChunkState::Tx]
            .map(|place| self.table.count(place, self.owner));
        let kernel = match self.table.lanes() {
            1 => (self.table.filled(), self.table.sending()),
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
mod tests {
    use super::*;

    fn pool(chunks: u32) -> Pool {
        let lane = ChunkOwner::lane(0).unwrap();
        Pool::new(Arc::new(ChunkTable::new(chunks, 1, lane)), lane)
    }

    #[test]
    fn a_chunk_is_in_one_place_at_a_time() {
        let mut pool = pool(2);
        let a = pool.take(ChunkState::Fill).unwrap();
        assert_eq!(pool.shift(a, ChunkState::Tx, ChunkState::User), Err(WrongState));
        assert_eq!(pool.shift(a, ChunkState::Fill, ChunkState::User), Ok(()));
        assert_eq!(pool.shift(a, ChunkState::Fill, ChunkState::User), Err(WrongState), "received twice");
        assert_eq!(pool.shift(7, ChunkState::Fill, ChunkState::User), Err(WrongState), "no such chunk");
        assert_eq!(pool.give(a, ChunkState::User), Ok(()));
        assert_eq!(pool.give(a, ChunkState::User), Err(WrongState), "freed twice");
        assert_eq!(pool.check(0), Ok(()));
    }

    #[test]
    fn a_dropped_frame_is_an_imbalance() {
        let mut pool = pool(4);
        pool.take(ChunkState::User).unwrap();
        assert_eq!(pool.check(1), Ok(()));
        let imbalance = pool.check(0).unwrap_err();
        assert_eq!((imbalance.counted, imbalance.expected), ([3, 0, 1, 0], [3, 0, 0, 0]));
    }

    #[test]
    fn frames_get_what_was_used_last_and_the_kernel_what_was_not_touched() {
        let mut pool = pool(5);
        let [used, untouched] = [ChunkState::User, ChunkState::Fill].map(|to| pool.take(to).unwrap());
        pool.give(used, ChunkState::User).unwrap();
        assert_eq!(pool.exchange(untouched), None, "the kernel has it");
        pool.shift(untouched, ChunkState::Fill, ChunkState::User).unwrap();
        assert_eq!(pool.exchange(untouched), Some(used));
        assert_eq!(pool.exchange(untouched), None, "it is free");
        assert_eq!(pool.take(ChunkState::Fill), Some(untouched));
        pool.table().note_filled(1);
        assert_eq!(pool.check(1), Ok(()));
    }

    #[test]
    fn an_empty_pool_gives_nothing() {
        let mut pool = pool(1);
        assert!(pool.take(ChunkState::User).is_some());
        assert!(pool.take(ChunkState::User).is_none());
    }

    #[test]
    fn a_chunk_of_one_lane_is_not_the_other_ones_to_move() {
        let [a, b] = [0, 1].map(|index| ChunkOwner::lane(index).unwrap());
        let table = Arc::new(ChunkTable::new(2, 2, a));
        let (mut first, mut second) = (Pool::new(Arc::clone(&table), a), Pool::new(Arc::clone(&table), b));
        let chunk = first.take(ChunkState::User).unwrap();
        assert_eq!(second.give(chunk, ChunkState::User), Err(WrongState), "in a frame of the first");
        assert_eq!(second.take_shared(chunk), Err(WrongState), "not free");
        first.give(chunk, ChunkState::User).unwrap();
        assert_eq!(second.take_shared(chunk), Err(WrongState), "free, and the first one's");
        let passed = first.give_shared().unwrap();
        second.take_shared(passed).unwrap();
        assert_eq!(second.take_shared(passed), Err(WrongState), "adopted twice");
        assert_eq!((first.free(), second.free()), (1, 1));
        assert_eq!((first.check(0), second.check(0)), (Ok(()), Ok(())));
    }

    #[test]
    fn what_the_kernel_has_is_received_by_one_lane_only() {
        let [a, b] = [0, 1].map(|index| ChunkOwner::lane(index).unwrap());
        let table = Arc::new(ChunkTable::new(1, 2, a));
        let (mut first, mut second) = (Pool::new(Arc::clone(&table), a), Pool::new(Arc::clone(&table), b));
        let chunk = first.take(ChunkState::Fill).unwrap();
        table.note_filled(1);
        assert_eq!(second.shift(chunk, ChunkState::Fill, ChunkState::User), Ok(()));
        assert_eq!(first.shift(chunk, ChunkState::Fill, ChunkState::User), Err(WrongState));
        second.note_received(1);
        second.shift(chunk, ChunkState::User, ChunkState::Tx).unwrap();
        second.note_posted(1);
        assert_eq!((table.filled(), table.sending()), (0, 1));
        first.give(chunk, ChunkState::Tx).unwrap();
        table.note_completed(1);
        assert_eq!((table.filled(), table.sending(), first.free()), (0, 0, 1));
    }
}
