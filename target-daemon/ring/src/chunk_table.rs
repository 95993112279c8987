//! The chunk table of a UMEM: the state and owner of each chunk.

use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// State of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ChunkState {
    /// On a free list: a lane's, or the one that all lanes share.
    Free,
    /// With the kernel for receiving: fill ring, NIC, rx ring.
    Fill,
    /// In a `Frame` of a lane.
    User,
    /// With the kernel for sending: tx ring, NIC, completion ring.
    Tx,
}

/// The lane whose free list or frame a chunk is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkOwner(u8);

impl ChunkOwner {
    /// No lane: the chunk is on the shared free list.
    pub const SHARED: Self = Self(0);

    /// The lane with this index in the UMEM; `None` from [`LANES_MAX`] on.
    pub fn lane(index: usize) -> Option<Self> {
        (index < LANES_MAX).then(|| Self(index as u8 + 1))
    }

    fn index(self) -> usize {
        usize::from(self.0).wrapping_sub(1)
    }
}

/// Maximum number of lanes that share a UMEM: a chunk's state and owner must fit in one
/// byte.
pub const LANES_MAX: usize = 63;

/// The chunk was not in the state that the transition expects, or does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongState;

/// State and owner of every chunk of a UMEM, for all lanes that share it.
///
/// Only one lane at a time moves a chunk: its owner, or the lane that holds the lock of
/// the fill and completion rings. The exception is receiving: the kernel decides which
/// lane gets a chunk, and a bad descriptor could make two lanes try to take the same one.
/// That move is a compare-and-swap, if there are several lanes.
#[derive(Debug)]
pub struct ChunkTable {
    chunks: Box<[AtomicU8]>,
    totals: Box<[LaneTotals]>,
    kernel: KernelTotals,
}

/// What the lanes count with the fill and completion rings locked. In cache lines of their
/// own: every lane reads the pointers above for each chunk.
#[derive(Debug, Default)]
#[repr(align(128))]
struct KernelTotals {
    filled: AtomicU32,
    completed: AtomicU32,
}

/// Counters of one lane; only that lane writes to them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct LaneTotals {
    received: AtomicU32,
    posted: AtomicU32,
}

impl ChunkTable {
    /// A table whose chunks are all free and owned by `first`.
    pub fn new(chunks: u32, lanes: usize, first: ChunkOwner) -> Self {
        let free = code(ChunkState::Free, first);
        Self {
            chunks: (0..chunks).map(|_| AtomicU8::new(free)).collect(),
            totals: (0..lanes).map(|_| LaneTotals::default()).collect(),
            kernel: KernelTotals::default(),
        }
    }

    /// Number of chunks.
    pub fn total(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// Number of lanes that share them.
    pub fn lanes(&self) -> usize {
        self.totals.len()
    }

    /// Chunks with the kernel for receiving.
    pub fn filled(&self) -> u32 {
        // Reads `received` before `filled`: a chunk counted as received has already been
        // counted as filled, so the difference is never negative.
        let received = self.sum(|totals| &totals.received);
        self.kernel.filled.load(Ordering::Acquire).wrapping_sub(received)
    }

    /// Chunks with the kernel for sending.
    pub fn sending(&self) -> u32 {
        let completed = self.kernel.completed.load(Ordering::Acquire);
        self.sum(|totals| &totals.posted).wrapping_sub(completed)
    }

    /// Moves a chunk of this owner from one state to another. Fails if it is not in
    /// `from`.
    #[inline]
    pub fn shift(
        &self,
        chunk: u32,
        owner: ChunkOwner,
        from: ChunkState,
        to: ChunkState,
    ) -> Result<(), WrongState> {
        let place = self.chunks.get(chunk as usize).ok_or(WrongState)?;
        let (before, after) = (code(from, owner), code(to, owner));
        if from == ChunkState::Fill && self.lanes() > 1 {
            place
                .compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed)
                .map_err(|_| WrongState)?;
        } else if place.load(Ordering::Acquire) == before {
            place.store(after, Ordering::Release);
        } else {
            return Err(WrongState);
        }
        Ok(())
    }

    /// Moves `given` from a frame of this owner to its free list, and `taken` the other way.
    /// Fails if either is not there.
    #[inline]
    pub fn exchange(&self, owner: ChunkOwner, given: u32, taken: u32) -> Result<(), WrongState> {
        let place = |chunk: u32| self.chunks.get(chunk as usize).ok_or(WrongState);
        let (given, taken) = (place(given)?, place(taken)?);
        let (user, free) = (code(ChunkState::User, owner), code(ChunkState::Free, owner));
        if given.load(Ordering::Acquire) != user || taken.load(Ordering::Acquire) != free {
            return Err(WrongState);
        }
        given.store(free, Ordering::Release);
        taken.store(user, Ordering::Release);
        Ok(())
    }

    /// Records `chunks` handed to the kernel for receiving. Call before handing them
    /// over, with the fill ring locked.
    pub fn note_filled(&self, chunks: u32) {
        add(&self.kernel.filled, chunks);
    }

    /// Records `chunks` whose sending has completed. Call with the completion ring
    /// locked.
    pub fn note_completed(&self, chunks: u32) {
        add(&self.kernel.completed, chunks);
    }

    /// Records `chunks` taken back from the rx path.
    #[inline]
    pub fn note_received(&self, owner: ChunkOwner, chunks: u32) {
        if let Some(totals) = self.totals.get(owner.index()) {
            add(&totals.received, chunks);
        }
    }

    /// Records `chunks` handed to the kernel for sending. Call before handing them over.
    #[inline]
    pub fn note_posted(&self, owner: ChunkOwner, chunks: u32) {
        if let Some(totals) = self.totals.get(owner.index()) {
            add(&totals.posted, chunks);
        }
    }

    /// Transfers a free chunk to another owner. Fails if it is not free or not owned by
    /// `from`.
    pub fn pass(&self, chunk: u32, from: ChunkOwner, to: ChunkOwner) -> Result<(), WrongState> {
        let place = self.chunks.get(chunk as usize).ok_or(WrongState)?;
        if place.load(Ordering::Acquire) != code(ChunkState::Free, from) {
            return Err(WrongState);
        }
        place.store(code(ChunkState::Free, to), Ordering::Release);
        Ok(())
    }

    /// Whether a chunk is free and owned by `owner`.
    pub fn is_free(&self, chunk: u32, owner: ChunkOwner) -> bool {
        let free = code(ChunkState::Free, owner);
        self.chunks.get(chunk as usize).is_some_and(|place| place.load(Ordering::Acquire) == free)
    }

    /// Counts the chunks of an owner in a state.
    pub fn count(&self, place: ChunkState, owner: ChunkOwner) -> u32 {
        let config = code(place, owner);
        self.chunks.iter().filter(|at| at.load(Ordering::Relaxed) == config).count() as u32
    }

    fn sum(&self, of: impl Fn(&LaneTotals) -> &AtomicU32) -> u32 {
        self.totals.iter().fold(0, |sum, totals| sum.wrapping_add(of(totals).load(Ordering::Acquire)))
    }
}

/// Encodes state and owner in a byte. Chunks that the kernel has are encoded without an
/// owner.
#[inline]
fn code(place: ChunkState, owner: ChunkOwner) -> u8 {
    match place {
        ChunkState::Fill | ChunkState::Tx => place as u8,
        ChunkState::Free | ChunkState::User => owner.0 << 2 | place as u8,
    }
}

/// Adds to a counter with a single writer at a time.
#[inline]
fn add(counter: &AtomicU32, more: u32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use std::mem::{align_of, offset_of, size_of};

    use super::{ChunkTable, KernelTotals, LaneTotals};

    /// Two cache lines: processors fetch them in pairs.
    const LINES: usize = 128;

    #[test]
    fn no_lane_writes_to_a_cache_line_that_others_read_for_each_chunk() {
        let kernel = offset_of!(ChunkTable, kernel);
        assert_eq!((kernel % LINES, size_of::<KernelTotals>() % LINES), (0, 0));
        for read in [offset_of!(ChunkTable, chunks), offset_of!(ChunkTable, totals)] {
            assert_ne!(read / LINES, kernel / LINES);
        }
        assert_eq!((align_of::<LaneTotals>(), size_of::<LaneTotals>() % LINES), (LINES, 0));
    }
}
