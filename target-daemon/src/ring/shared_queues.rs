//! The queues that all lanes of a UMEM share: fill ring, completion ring, and free chunks.
//!
//! ```text
//!              ┌────────────── shared, one lane at a time ─────────────┐
//!  lane 0 ◄──► │  fill ring ◄── free chunks ◄── completion ring       │ ◄──► kernel
//!  lane 1 ◄──► └──────────────────────────────────────────────────────┘
//! ```
//!
//! Several sockets on one queue have one fill and one completion ring. Each lane
//! fills the one and empties the other when it gets there, whoever used the
//! chunks, so no lane waits for another to wake up. A lane alone finds the lock
//! open always.

use super::chunk_table::{ChunkOwner, ChunkState, ChunkTable};
use super::pool::{Imbalance, Pool};
use super::rings::FillCompletion;
use super::{BATCH, Umem};
use crate::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Most free chunks that a lane with others beside it keeps for itself: some
/// batches.
const KEEP_MAX: u32 = 4 * BATCH as u32;

/// What the lanes of a queue share.
#[derive(Debug)]
pub struct SharedQueues<S> {
    shared: Mutex<Shared<S>>,
    /// Most chunks with the kernel for receiving: in the fill ring, or received
    /// and not looked at. Of the latter each lane may have as many as its rx ring
    /// holds, and the fill ring is full all the same: a worker that stands still
    /// leaves the others what they need.
    fill_max: u32,
    /// Free chunks that a lane keeps for itself; what it has above is for all.
    keep: u32,
}

#[derive(Debug)]
struct Shared<S> {
    rings: S,
    /// Nobody's.
    free: Vec<u32>,
}

impl<S: FillCompletion> SharedQueues<S> {
    /// Queues for `lanes` lanes over `chunks` chunks.
    ///
    /// At most half of the chunks are with the kernel for receiving, so that a
    /// reply that is longer than its request finds chunks to grow into; the rest is
    /// for frames.
    pub fn new(fill_completion: S, chunks: u32, lanes: usize) -> Self {
        let lanes = lanes.max(1) as u32;
        let fill_max = fill_completion.fill_size().saturating_mul(lanes).min(chunks / 2);
        let part = (chunks - fill_max) / lanes;
        // What a lane keeps while it sleeps is lost to the others.
        let keep = if lanes > 1 { part.min(KEEP_MAX) } else { part };
        let free = Vec::with_capacity(chunks as usize);
        Self { shared: Mutex::new(Shared { rings: fill_completion, free }), fill_max, keep }
    }

    /// Takes back the chunks of frames that have been sent. Returns how many
    /// addresses were not of such a frame.
    pub fn reclaim(&self, pool: &mut Pool, umem: &Umem) -> u64 {
        let (mut seen, mut strange) = (0, 0);
        let mut addrs = [0; BATCH];
        let mut shared = self.lock();
        loop {
            let n = shared.rings.complete(&mut addrs);
            for &addr in addrs.iter().take(n) {
                let given = umem.chunk_at(addr).map(|chunk| pool.give(chunk, ChunkState::Tx));
                strange += u32::from(given != Some(Ok(())));
            }
            seen += n as u32;
            if n < BATCH {
                pool.table().note_completed(seen - strange);
                return strange.into();
            }
        }
    }

    /// Hands free chunks to the kernel for receiving, and shares what the lane
    /// has too many of. Returns whether the kernel wants to be told.
    pub fn refill(&self, pool: &mut Pool, umem: &Umem) -> bool {
        let idle = pool.table().filled() >= self.fill_max && pool.free() <= self.keep;
        // With nothing to do, another lane may go first.
        let Some(mut shared) = (if idle { self.try_lock() } else { Some(self.lock()) }) else { return false };
        while self.fill_some(&mut shared, pool, umem) {}
        while pool.free() > self.keep
            && let Some(chunk) = pool.give_shared()
        {
            // Never grows: at most all chunks, each at most once.
            shared.free.push(chunk);
        }
        shared.rings.needs_wakeup()
    }

    /// Free chunks for a lane that has none left.
    pub fn refill_from_shared(&self, pool: &mut Pool) {
        let mut shared = self.lock();
        for _ in 0..BATCH.min(self.keep.max(1) as usize) {
            let Some(chunk) = shared.free.pop() else { return };
            // Cannot fail: what is on the list is free, and nobody's.
            let adopted = pool.take_shared(chunk);
            debug_assert!(adopted.is_ok());
        }
    }

    /// Checks that the shared free chunks are as many as the table says.
    pub fn check(&self, table: &ChunkTable) -> Result<(), Imbalance> {
        let shared = self.lock();
        let (counted, listed) = (table.count(ChunkState::Free, ChunkOwner::SHARED), shared.free.len() as u32);
        if counted == listed {
            return Ok(());
        }
        Err(Imbalance { counted: [counted, 0, 0, 0], expected: [listed, 0, 0, 0] })
    }

    /// Free chunks that are nobody's.
    pub fn free(&self) -> u32 {
        self.lock().free.len() as u32
    }

    /// Fills a batch; `false` if nothing was missing, or nothing to be had.
    fn fill_some(&self, shared: &mut Shared<S>, pool: &mut Pool, umem: &Umem) -> bool {
        let missing = self.fill_max.saturating_sub(pool.table().filled()).min(shared.rings.fill_room());
        let mut addrs = [0; BATCH];
        let mut n = 0;
        for addr in addrs.iter_mut().take(missing as usize) {
            if pool.free() <= self.keep
                && let Some(chunk) = shared.free.pop()
            {
                // Cannot fail: what is on the list is free, and nobody's.
                let adopted = pool.take_shared(chunk);
                debug_assert!(adopted.is_ok());
            }
            let Some(chunk) = pool.take(ChunkState::Fill) else { break };
            *addr = umem.start_of(chunk).into();
            n += 1;
        }
        let addrs = addrs.get(..n).unwrap_or(&[]);
        pool.table().note_filled(n as u32);
        if n > 0 && shared.rings.fill(addrs) == 0 {
            pool.note_received(n as u32);
            for &addr in addrs {
                // Cannot fail: taken above.
                let given = pool.give(umem.chunk_of(addr as u32), ChunkState::Fill);
                debug_assert!(given.is_ok());
            }
            return false;
        }
        n > 0
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Shared<S>>> {
        match self.shared.try_lock() {
            Ok(shared) => Some(shared),
            Err(TryLockError::Poisoned(shared)) => Some(shared.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        // Nothing in here panics halfway.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
