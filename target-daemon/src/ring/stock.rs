//! The stock of a UMEM: what all lanes of a queue draw from and return to.
//!
//! ```text
//!              ┌────────────── stock, one lane at a time ─────────────┐
//!  lane 0 ◄──► │  fill ring ◄── free chunks ◄── completion ring       │ ◄──► kernel
//!  lane 1 ◄──► └──────────────────────────────────────────────────────┘
//! ```
//!
//! Several sockets on one queue have one fill and one completion ring. Each lane
//! fills the one and empties the other when it gets there, whoever used the
//! chunks, so no lane waits for another to wake up. A lane alone finds the lock
//! open always.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ledger::Place;
use super::pool::Pool;
use super::rings::Supply;
use super::{BATCH, Memory};

/// What the lanes of a queue share.
#[derive(Debug)]
pub struct Stock<S> {
    shared: Mutex<Shared<S>>,
    /// Chunks that should wait for the kernel to receive into.
    fill_target: u32,
    /// Free chunks that a lane keeps for itself; what it has above is for all.
    keep: u32,
}

#[derive(Debug)]
struct Shared<S> {
    supply: S,
    /// Nobody's.
    free: Vec<u32>,
}

impl<S: Supply> Stock<S> {
    /// The stock of `lanes` lanes over `chunks` chunks.
    ///
    /// At most half of the chunks wait for the kernel, so that a reply that is
    /// longer than its request finds chunks to grow into; the rest is the lanes',
    /// in equal parts.
    pub fn new(supply: S, chunks: u32, lanes: usize) -> Self {
        let fill_target = supply.fill_size().min(chunks / 2);
        let keep = (chunks - fill_target) / (lanes.max(1) as u32);
        let free = Vec::with_capacity(chunks as usize);
        Self { shared: Mutex::new(Shared { supply, free }), fill_target, keep }
    }

    /// Takes back the chunks of frames that have been sent. Returns how many
    /// addresses were not of such a frame.
    pub fn reclaim(&self, pool: &mut Pool, memory: &Memory) -> u64 {
        let (mut seen, mut strange) = (0, 0);
        let mut addrs = [0; BATCH];
        let mut shared = self.lock();
        loop {
            let n = shared.supply.complete(&mut addrs);
            for &addr in addrs.iter().take(n) {
                let given = memory.chunk_at(addr).map(|chunk| pool.give(chunk, Place::Tx));
                strange += u32::from(given != Some(Ok(())));
            }
            seen += n as u32;
            if n < BATCH {
                pool.ledger().note_completed(seen - strange);
                return strange.into();
            }
        }
    }

    /// Hands free chunks to the kernel for receiving, and shares what the lane
    /// has too many of. Returns whether the kernel wants to be told.
    pub fn refill(&self, pool: &mut Pool, memory: &Memory) -> bool {
        let mut shared = self.lock();
        while self.fill_some(&mut shared, pool, memory) {}
        while pool.free() > self.keep
            && let Some(chunk) = pool.part_with()
        {
            // Never grows: at most all chunks, each at most once.
            shared.free.push(chunk);
        }
        shared.supply.asks()
    }

    /// Free chunks for a lane that has none left.
    pub fn draw(&self, pool: &mut Pool) {
        let mut shared = self.lock();
        for _ in 0..BATCH.min(self.keep.max(1) as usize) {
            let Some(chunk) = shared.free.pop() else { return };
            // Cannot fail: what is on the list is free, and nobody's.
            let adopted = pool.adopt(chunk);
            debug_assert!(adopted.is_ok());
        }
    }

    /// Free chunks that are nobody's.
    pub fn free(&self) -> u32 {
        self.lock().free.len() as u32
    }

    /// Fills a batch; `false` if nothing was missing, or nothing to be had.
    fn fill_some(&self, shared: &mut Shared<S>, pool: &mut Pool, memory: &Memory) -> bool {
        let missing = self.fill_target.saturating_sub(pool.ledger().filled());
        let mut addrs = [0; BATCH];
        let mut n = 0;
        for addr in addrs.iter_mut().take(missing as usize) {
            if pool.free() <= self.keep
                && let Some(chunk) = shared.free.pop()
            {
                // Cannot fail: what is on the list is free, and nobody's.
                let adopted = pool.adopt(chunk);
                debug_assert!(adopted.is_ok());
            }
            let Some(chunk) = pool.take(Place::Fill) else { break };
            *addr = memory.start_of(chunk).into();
            n += 1;
        }
        let addrs = addrs.get(..n).unwrap_or(&[]);
        pool.ledger().note_filled(n as u32);
        if n > 0 && shared.supply.fill(addrs) == 0 {
            pool.note_received(n as u32);
            for &addr in addrs {
                // Cannot fail: taken above.
                let given = pool.give(memory.chunk_of(addr as u32), Place::Fill);
                debug_assert!(given.is_ok());
            }
            return false;
        }
        n > 0
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        // Nothing in here panics halfway.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
