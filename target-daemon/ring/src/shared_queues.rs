//! What the lanes of a UMEM share: fill ring, completion ring, and a list of free chunks.
//!
//! ```text
//!              ┌────────────── shared, one lane at a time ────────────┐
//!  lane 0 ◄──► │  fill ring ◄── free chunks ◄── completion ring       │ ◄──► kernel
//!  lane 1 ◄──► └──────────────────────────────────────────────────────┘
//! ```
//!
//! All sockets on a queue share one fill and one completion ring. Each lane refills the
//! one and drains the other whenever it runs, regardless of which lane used the chunks,
//! so no lane waits for another to wake up. If a queue has a single lane, the lock is
//! never contended.

use super::chunk_table::{ChunkOwner, ChunkState, ChunkTable};
use super::pool::{Imbalance, Pool};
use super::rings::FillCompletion;
use super::{BATCH, Umem};
use crate::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Maximum number of free chunks that a lane keeps if other lanes share its queue: a few
/// batches.
const KEEP_MAX: u32 = 4 * BATCH as u32;

/// What the lanes of a queue share.
#[derive(Debug)]
pub struct SharedQueues<S> {
    shared: Mutex<Shared<S>>,
    /// Maximum number of chunks with the kernel for receiving: in the fill ring, with the
    /// NIC, or received and not yet read.
    fill_max: u32,
    /// Free chunks that a lane keeps for itself; it shares any beyond that.
    keep: u32,
}

#[derive(Debug)]
struct Shared<S> {
    rings: S,
    /// Free chunks without an owner.
    free: Vec<u32>,
}

impl<S: FillCompletion> SharedQueues<S> {
    /// Queues for `lanes` lanes over `chunks` chunks.
    ///
    /// At most half of the chunks are with the kernel for receiving. The rest is for
    /// frames, so that replies longer than their requests find chunks to grow into.
    pub fn new(fill_completion: S, chunks: u32, lanes: usize) -> Self {
        let lanes = lanes.max(1) as u32;
        let fill_max = fill_completion.fill_target().min(chunks / 2);
        let part = (chunks - fill_max) / lanes;
        // Other lanes cannot use what a sleeping lane keeps.
        let keep = if lanes > 1 { part.min(KEEP_MAX) } else { part };
        let free = Vec::with_capacity(chunks as usize);
        Self { shared: Mutex::new(Shared { rings: fill_completion, free }), fill_max, keep }
    }

    /// Takes back the chunks of sent frames. Returns the number of completions whose
    /// address was not that of a chunk being sent.
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

    /// Hands free chunks to the kernel for receiving, and shares the lane's surplus.
    /// Returns whether the kernel needs a wakeup.
    pub fn refill(&self, pool: &mut Pool, umem: &Umem) -> bool {
        let idle = pool.table().filled() >= self.fill_max && pool.free() <= self.keep;
        // With nothing to do, do not wait for another lane.
        let Some(mut shared) = (if idle { self.try_lock() } else { Some(self.lock()) }) else { return false };
        while self.fill_some(&mut shared, pool, umem) {}
        while pool.free() > self.keep
            && let Some(chunk) = pool.give_shared()
        {
            // Never reallocates: it holds each chunk at most once.
            shared.free.push(chunk);
        }
        shared.rings.needs_wakeup()
    }

    /// Moves free chunks to a lane that has none left.
    pub fn refill_from_shared(&self, pool: &mut Pool) {
        let mut shared = self.lock();
        for _ in 0..BATCH.min(self.keep.max(1) as usize) {
            let Some(chunk) = shared.free.pop() else { return };
            // Cannot fail: every chunk on the shared list is free and has no owner.
            let adopted = pool.take_shared(chunk);
            debug_assert!(adopted.is_ok());
        }
    }

    /// Checks that the shared list has as many chunks as the table counts.
    pub fn check(&self, table: &ChunkTable) -> Result<(), Imbalance> {
        let shared = self.lock();
        let (counted, listed) = (table.count(ChunkState::Free, ChunkOwner::SHARED), shared.free.len() as u32);
        if counted == listed {
            return Ok(());
        }
        Err(Imbalance { counted: [counted, 0, 0, 0], expected: [listed, 0, 0, 0] })
    }

    /// Number of free chunks on the shared list.
    pub fn free(&self) -> u32 {
        self.lock().free.len() as u32
    }

    /// Fills one batch; `false` if the ring needed none or there was no chunk.
    fn fill_some(&self, shared: &mut Shared<S>, pool: &mut Pool, umem: &Umem) -> bool {
        let missing = self.fill_max.saturating_sub(pool.table().filled()).min(shared.rings.fill_room());
        let mut addrs = [0; BATCH];
        let mut n = 0;
        for addr in addrs.iter_mut().take(missing as usize) {
            if pool.free() <= self.keep
                && let Some(chunk) = shared.free.pop()
            {
                // Cannot fail: every chunk on the shared list is free and has no owner.
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
                // Cannot fail: it was taken above.
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
        // Nothing under this lock panics halfway.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
