//! A simulated disk in memory: calls take time, overtake each other, fail, come up short
//! and hang, all drawn from a seed. Data that is not stable is lost in a crash, in part or
//! completely.
//!
//! It is a handle: a store owns a [`SimEngine`] of it, the test keeps the disk. The test
//! controls the time ([`SimDisk::advance`]).

mod cache;
mod calls;
mod chance;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache::Cache;
use calls::State;
use chance::Chance;
use xblade_store::SECTOR_BYTES;
use xblade_store::disk::{IoEngine, IoRequest, IoResult, QueueFull};

/// How a disk behaves. Rates are per 10,000 calls that the fault can affect.
#[derive(Clone, Copy, Debug)]
pub struct SimConfig {
    /// The block size of reads and writes.
    pub block_bytes: u32,
    /// The shortest and longest duration of a call.
    pub latency_ns: (u64, u64),
    /// Calls that take ten times as long.
    pub late: u32,
    /// Calls that take 100 to 800 ms.
    pub slow: u32,
    /// Calls that do not end until [`SimDisk::release_stuck`] is called.
    pub stuck: u32,
    /// Reads that fail with EIO.
    pub read_errors: u32,
    /// Writes that fail with EIO; any of their sectors may have been written.
    pub write_errors: u32,
    /// Syncs that fail with EIO. The data that they covered never becomes stable, whatever
    /// later syncs report.
    pub sync_errors: u32,
    /// Writes that fail with ENOSPC and change nothing.
    pub no_space: u32,
    /// Reads and writes of several blocks that move only some of them.
    pub short: u32,
    /// Reads and writes that fail with EAGAIN and change nothing.
    pub again: u32,
}

/// Counts of events on a disk.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "they are those of `SimConfig`")]
pub struct SimStats {
    pub reads: u64,
    pub writes: u64,
    pub syncs: u64,
    pub punches: u64,
    pub late: u64,
    pub slow: u64,
    pub stuck: u64,
    pub read_errors: u64,
    pub write_errors: u64,
    pub sync_errors: u64,
    pub no_space: u64,
    pub short_reads: u64,
    pub short_writes: u64,
    pub again: u64,
    /// Calls refused with EINVAL because they were unaligned.
    pub refused: u64,
    /// Sectors reverted by a crash.
    pub sectors_lost: u64,
    /// Writes of which a crash kept some sectors and reverted others.
    pub torn: u64,
}

impl SimStats {
    /// Faults that must be reported.
    pub fn errors(&self) -> u64 {
        self.read_errors + self.write_errors + self.sync_errors + self.no_space
    }
}

/// A simulated disk in memory.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

/// One opening of a [`SimDisk`]. After a crash, all of its calls fail.
#[derive(Debug)]
pub struct SimEngine {
    disk: SimDisk,
    opening: u32,
}

impl SimDisk {
    /// A disk of this size, all zero.
    pub fn new(seed: u64, bytes: u64, config: SimConfig) -> Self {
        Self(Arc::new(Mutex::new(State::new(Cache::new(bytes as usize), Chance::new(seed), config))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens it. There may be one opening at a time.
    pub fn engine(&self) -> SimEngine {
        SimEngine { disk: self.clone(), opening: self.state().opening }
    }

    /// Advances the time to `now_ns`.
    pub fn advance(&self, now_ns: u64) {
        self.state().advance(now_ns);
    }

    /// When the next call ends if no more are pushed, so that the store has a result to
    /// collect. Now, if it already has one.
    pub fn next_due_ns(&self) -> Option<u64> {
        let state = self.state();
        if !state.done.is_empty() {
            return Some(state.now_ns);
        }
        state.running.iter().map(|call| call.end_ns).min().filter(|at| *at < u64::MAX)
    }

    /// Ends the calls that hang.
    pub fn release_stuck(&self) {
        let mut state = self.state();
        let now_ns = state.now_ns;
        for call in state.running.iter_mut().filter(|call| call.end_ns == u64::MAX) {
            call.effect_ns = now_ns;
            call.end_ns = now_ns;
        }
        state.next_ns = now_ns;
        state.advance(now_ns);
    }

    /// Injects no more faults.
    pub fn heal(&self) {
        let mut state = self.state();
        let SimConfig { block_bytes, latency_ns, .. } = state.config;
        state.config = SimConfig { block_bytes, latency_ns, ..SimConfig::GOOD };
    }

    /// Simulates a power failure. Calls in flight have happened in part; each sector that
    /// was not stable holds the last stable bytes or any written since.
    pub fn crash(&self) {
        let mut state = self.state();
        state.end_calls();
        let State { cache, chance, happened, .. } = &mut *state;
        cache.crash(chance, happened);
    }

    /// Kills the process that has it open. Calls in flight have happened in part, and
    /// written data stays.
    pub fn kill(&self) {
        self.state().end_calls();
    }

    /// Changes the size: bytes beyond the new end are lost, new bytes are zero. No call may
    /// be in flight there.
    pub fn resize(&self, bytes: u64) {
        self.state().cache.resize(bytes as usize);
    }

    /// The bytes that a read would return now.
    pub fn bytes(&self) -> Vec<u8> {
        self.state().cache.visible().to_vec()
    }

    /// Whether these bytes were ever on stable storage in this sector.
    pub fn was_stable(&self, sector: u64, bytes: &[u8]) -> bool {
        self.state().cache.was_stable(sector, bytes)
    }

    /// How often these bytes were written to this sector.
    pub fn times_written(&self, sector: u64, bytes: &[u8]) -> u32 {
        self.state().cache.times_written(sector, bytes)
    }

    /// Whether a failed sync was reported to the store that has it open.
    pub fn sync_failed(&self) -> bool {
        self.state().sync_failed
    }

    /// The counts so far.
    pub fn stats(&self) -> SimStats {
        self.state().happened
    }
}

impl SimConfig {
    /// Fast and without faults.
    pub const GOOD: Self = Self {
        block_bytes: SECTOR_BYTES as u32,
        latency_ns: (5_000, 100_000),
        late: 0,
        slow: 0,
        stuck: 0,
        read_errors: 0,
        write_errors: 0,
        sync_errors: 0,
        no_space: 0,
        short: 0,
        again: 0,
    };
}

impl IoEngine for SimEngine {
    fn push(&mut self, id: u32, call: IoRequest) -> Result<(), QueueFull> {
        self.disk.state().push(id, call, self.opening)
    }

    fn submit(&mut self) {
        self.disk.state().submit();
    }

    fn next(&mut self) -> Option<(u32, IoResult)> {
        self.disk.state().take(self.opening)
    }

    fn end(&self) -> u64 {
        self.disk.state().cache.visible().len() as u64
    }

    fn goes_on(&self) -> bool {
        false
    }

    fn now_ns(&self) -> u64 {
        self.disk.state().now_ns
    }
}

impl Drop for SimEngine {
    /// No one collects the rest.
    fn drop(&mut self) {
        let mut state = self.disk.state();
        state.done.retain(|done| done.opening != self.opening);
        state.queued.retain(|call| call.opening != self.opening);
        state.running.retain(|call| call.opening != self.opening);
    }
}

#[cfg(test)]
mod tests;
