//! The chunk table of a UMEM: the state and owner of each chunk.

use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Where a chunk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ChunkState {
    /// On a free list: that of a lane, or the one that all lanes share.
    Free,
    /// With the kernel for receiving: fill ring, NIC, rx ring.
    Fill,
    /// In a `Frame` of a lane.
    User,
    /// With the kernel for sending: tx ring, NIC, completion ring.
    Tx,
}

/// Whose list or frame it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkOwner(u8);

impl ChunkOwner {
    /// Nobody's: on the free list that all lanes share.
    pub const SHARED: Self = Self(0);

    /// The lane at this index among those of the UMEM, if it has so many.
    pub fn lane(index: usize) -> Option<Self> {
        (index < LANES_MAX).then(|| Self(index as u8 + 1))
    }

    fn index(self) -> usize {
        usize::from(self.0).wrapping_sub(1)
    }
}

/// Most lanes that may share a UMEM: place and holder of a chunk fit a byte.
pub const LANES_MAX: usize = 63;

/// A chunk was not where a move expected it, or does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongState;

/// Where each chunk of a UMEM is, for all lanes that share it.
///
/// A chunk is moved by one thread at a time: by the lane that holds it, or by
/// who holds the lock of the fill and completion rings. Only the kernel says
/// who receives one, so that move is the one that two might try.
#[derive(Debug)]
pub struct ChunkTable {
    chunks: Box<[AtomicU8]>,
    totals: Box<[LaneTotals]>,
    filled: AtomicU32,
    completed: AtomicU32,
}

/// What one lane has counted; nobody else writes to it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct LaneTotals {
    received: AtomicU32,
    posted: AtomicU32,
}

impl ChunkTable {
    /// All chunks free, and held by this lane.
    pub fn new(chunks: u32, lanes: usize, first: ChunkOwner) -> Self {
        let free = code(ChunkState::Free, first);
        Self {
            chunks: (0..chunks).map(|_| AtomicU8::new(free)).collect(),
            totals: (0..lanes).map(|_| LaneTotals::default()).collect(),
            filled: AtomicU32::new(0),
            completed: AtomicU32::new(0),
        }
    }

    /// All chunks.
    pub fn total(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// Lanes that share them.
    pub fn lanes(&self) -> usize {
        self.totals.len()
    }

    /// Chunks with the kernel for receiving.
    pub fn filled(&self) -> u32 {
        // In this order nothing is received that was not filled before.
        let received = self.sum(|totals| &totals.received);
        self.filled.load(Ordering::Acquire).wrapping_sub(received)
    }

    /// Chunks with the kernel for sending.
    pub fn sending(&self) -> u32 {
        let completed = self.completed.load(Ordering::Acquire);
        self.sum(|totals| &totals.posted).wrapping_sub(completed)
    }

    /// Moves a chunk of, or to, this holder. Refused if it is not in `from`.
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
        if from == ChunkState::Fill {
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

    /// So many chunks more are with the kernel for receiving. Say so before they
    /// are, with the lock of the fill ring.
    pub fn note_filled(&self, chunks: u32) {
        add(&self.filled, chunks);
    }

    /// So many chunks more have been sent. Say so with the lock of the completion
    /// ring.
    pub fn note_completed(&self, chunks: u32) {
        add(&self.completed, chunks);
    }

    /// So many chunks more are no longer with the kernel for receiving.
    #[inline]
    pub fn note_received(&self, owner: ChunkOwner, chunks: u32) {
        if let Some(totals) = self.totals.get(owner.index()) {
            add(&totals.received, chunks);
        }
    }

    /// So many chunks more are with the kernel for sending. Say so before they are.
    #[inline]
    pub fn note_posted(&self, owner: ChunkOwner, chunks: u32) {
        if let Some(totals) = self.totals.get(owner.index()) {
            add(&totals.posted, chunks);
        }
    }

    /// Passes a free chunk on. Refused if it is not free, and `from`'s.
    pub fn pass(&self, chunk: u32, from: ChunkOwner, to: ChunkOwner) -> Result<(), WrongState> {
        let place = self.chunks.get(chunk as usize).ok_or(WrongState)?;
        if place.load(Ordering::Acquire) != code(ChunkState::Free, from) {
            return Err(WrongState);
        }
        place.store(code(ChunkState::Free, to), Ordering::Release);
        Ok(())
    }

    /// Whether a chunk is free, and this holder's.
    pub fn is_free(&self, chunk: u32, owner: ChunkOwner) -> bool {
        let free = code(ChunkState::Free, owner);
        self.chunks.get(chunk as usize).is_some_and(|place| place.load(Ordering::Acquire) == free)
    }

    /// Counts the chunks in a place, of this holder.
    pub fn count(&self, place: ChunkState, owner: ChunkOwner) -> u32 {
        let config = code(place, owner);
        self.chunks.iter().filter(|at| at.load(Ordering::Relaxed) == config).count() as u32
    }

    fn sum(&self, of: impl Fn(&LaneTotals) -> &AtomicU32) -> u32 {
        self.totals.iter().fold(0, |sum, totals| sum.wrapping_add(of(totals).load(Ordering::Acquire)))
    }
}

/// Place and holder in a byte. What the kernel has is nobody's.
#[inline]
fn code(place: ChunkState, owner: ChunkOwner) -> u8 {
    match place {
        ChunkState::Fill | ChunkState::Tx => place as u8,
        ChunkState::Free | ChunkState::User => owner.0 << 2 | place as u8,
    }
}

/// Adds to a counter that one thread at a time writes.
#[inline]
fn add(counter: &AtomicU32, more: u32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Release);
}
