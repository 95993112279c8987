//! A disk in memory, for simulations: calls take time and overtake each other,
//! fail, come up short and hang, all by a seed; what is not stable is lost in a
//! crash, in part or as a whole.
//!
//! It is a handle: a store owns a [`SimKernel`] of it, the test keeps the disk.
//! Time is what the test says it is ([`SimDisk::advance`]).

mod cache;
mod chance;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Call, Kernel, Outcome, Piece, QueueFull};
use crate::store::{Area, SECTOR_BYTES};
use cache::Cache;
use chance::Chance;

/// Calls that it takes at a time.
const CAPACITY: usize = 512;

/// How a disk behaves. Rates are in 10,000 calls that the fault can hit.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// It reads and writes whole blocks of so many bytes.
    pub block_bytes: u32,
    /// Shortest and longest time of a call.
    pub latency_ns: (u64, u64),
    /// Calls that take ten times as long.
    pub late: u32,
    /// Calls that take 100 to 800 ms.
    pub slow: u32,
    /// Calls that end when [`SimDisk::release_stuck`] is called.
    pub stuck: u32,
    /// Reads that fail with EIO.
    pub read_errors: u32,
    /// Writes that fail with EIO; any of their sectors may have been written.
    pub write_errors: u32,
    /// Syncs that fail with EIO. What they should have made stable never
    /// becomes so, whatever later ones say.
    pub sync_errors: u32,
    /// Writes that fail with ENOSPC, and change nothing.
    pub no_space: u32,
    /// Reads and writes of several blocks that move some of them only.
    pub short: u32,
    /// Reads and writes that fail with EAGAIN, and change nothing.
    pub again: u32,
}

/// What has happened on a disk.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "they are those of `Habits`")]
pub struct Happened {
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
    /// Calls refused with EINVAL: unaligned ones.
    pub refused: u64,
    /// Sectors that a crash took back.
    pub sectors_lost: u64,
    /// Writes of which a crash left some sectors and took others.
    pub torn: u64,
}

impl Happened {
    /// Faults that somebody has to hear of.
    pub fn errors(&self) -> u64 {
        self.read_errors + self.write_errors + self.sync_errors + self.no_space
    }
}

/// A disk in memory.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

/// One opening of a [`SimDisk`]. After a crash, whatever it asks fails.
#[derive(Debug)]
pub struct SimKernel {
    disk: SimDisk,
    opening: u32,
}

#[derive(Debug)]
struct State {
    habits: Habits,
    cache: Cache,
    chance: Chance,
    happened: Happened,
    opening: u32,
    now_ns: u64,
    /// When the next call takes effect or ends.
    next_ns: u64,
    /// Counts whatever happens, to tell before from after.
    moment: u64,
    queued: Vec<Running>,
    running: Vec<Running>,
    done: VecDeque<Done>,
    /// A sync of this opening has failed, and the store has heard of it.
    sync_failed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    id: u32,
    call: Call,
    opening: u32,
    /// The moment at which it was pushed.
    pushed: u64,
    effect_ns: u64,
    end_ns: u64,
    fate: Fate,
    /// What it has come to, once it has taken effect.
    outcome: Option<Outcome>,
    /// Names its sectors in the cache.
    serial: u64,
}

/// A call that has ended, and whose outcome was not taken yet.
#[derive(Clone, Copy, Debug)]
struct Done {
    id: u32,
    opening: u32,
    is_sync: bool,
    outcome: Outcome,
}

/// What becomes of a call, decided when it is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Good,
    Short,
    Fails(i32),
}

impl SimDisk {
    /// A disk of so many bytes, all zero.
    pub fn new(seed: u64, bytes: u64, habits: Habits) -> Self {
        Self(Arc::new(Mutex::new(State {
            habits,
            cache: Cache::new(bytes as usize),
            chance: Chance::new(seed),
            happened: Happened::default(),
            opening: 0,
            now_ns: 0,
            next_ns: u64::MAX,
            moment: 1,
            queued: Vec::new(),
            running: Vec::new(),
            done: VecDeque::new(),
            sync_failed: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens it. There may be one opening at a time.
    pub fn kernel(&self) -> SimKernel {
        SimKernel { disk: self.clone(), opening: self.state().opening }
    }

    /// It is this late now.
    pub fn advance(&self, now_ns: u64) {
        self.state().advance(now_ns);
    }

    /// When the next call ends, if nothing more is asked: then the store has
    /// something to harvest. At once, if it has already.
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

    /// No fault from now on.
    pub fn heal(&self) {
        let mut state = self.state();
        let Habits { block_bytes, latency_ns, .. } = state.habits;
        state.habits = Habits { block_bytes, latency_ns, ..Habits::GOOD };
    }

    /// The power fails. What was under way has happened in part; each sector
    /// that was not stable holds the last stable bytes or any written since.
    pub fn crash(&self) {
        let mut state = self.state();
        state.end_calls();
        let State { cache, chance, happened, .. } = &mut *state;
        cache.crash(chance, happened);
    }

    /// The process that has it open is killed. What was under way has happened
    /// in part, and what was written stays where it is.
    pub fn kill(&self) {
        self.state().end_calls();
    }

    /// What a read would find now.
    pub fn bytes(&self) -> Vec<u8> {
        self.state().cache.visible().to_vec()
    }

    /// Whether these bytes were ever on stable storage there.
    pub fn was_stable(&self, sector: u64, bytes: &[u8]) -> bool {
        self.state().cache.was_stable(sector, bytes)
    }

    /// How often these bytes were written there.
    pub fn times_written(&self, sector: u64, bytes: &[u8]) -> u32 {
        self.state().cache.times_written(sector, bytes)
    }

    /// Whether the store that has it open was told of a sync that failed.
    pub fn sync_failed(&self) -> bool {
        self.state().sync_failed
    }

    /// What has happened so far.
    pub fn happened(&self) -> Happened {
        self.state().happened
    }
}

impl Habits {
    /// Fast and without a fault.
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

impl State {
    fn advance(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while self.next_ns <= self.now_ns {
            let Some(at) = self.next_call() else { break };
            self.step(at);
        }
        self.next_ns = self.running.iter().map(Running::next_ns).min().unwrap_or(u64::MAX);
    }

    /// The call that is the next to take effect or end, if it is time.
    fn next_call(&self) -> Option<usize> {
        let first = self.running.iter().enumerate().min_by_key(|(_, call)| (call.next_ns(), call.serial));
        first.filter(|(_, call)| call.next_ns() <= self.now_ns).map(|(at, _)| at)
    }

    fn step(&mut self, at: usize) {
        self.moment += 1;
        let Some(call) = self.running.get(at).copied() else { return };
        let Some(outcome) = call.outcome else {
            let outcome = self.take_effect(&call);
            if let Some(call) = self.running.get_mut(at) {
                call.outcome = Some(outcome);
            }
            return;
        };
        self.running.remove(at);
        match call.call {
            Call::Write { stable, .. } => {
                self.cache.finish(call.serial, self.moment, stable && outcome.is_ok())
            }
            Call::Punch { .. } => self.cache.finish(call.serial, self.moment, false),
            Call::Sync => self.cache.sync(call.pushed, outcome.is_ok(), &mut self.chance),
            Call::Read { .. } | Call::Measure => {}
        }
        self.done.push_back(call.done(outcome));
    }

    fn take_effect(&mut self, running: &Running) -> Outcome {
        let errno = match running.fate {
            Fate::Fails(errno) => Some(errno),
            Fate::Good | Fate::Short => None,
        };
        match running.call {
            Call::Read { at, memory } => match errno {
                Some(errno) => Err(errno),
                None => {
                    let bytes = self.moved(running, memory);
                    Ok(self.cache.read(at, part_mut(memory, bytes)) as u64)
                }
            },
            Call::Write { at, memory, .. } => match errno {
                Some(libc::EIO) => {
                    let some = |chance: &mut Chance| chance.below(2) == 0;
                    self.cache.write(at, part(memory, memory.bytes), running.serial, &mut self.chance, some);
                    Err(libc::EIO)
                }
                Some(errno) => Err(errno),
                None => {
                    let bytes = self.moved(running, memory);
                    let all = |_: &mut Chance| true;
                    self.cache.write(at, part(memory, bytes), running.serial, &mut self.chance, all);
                    Ok(u64::from(bytes))
                }
            },
            Call::Punch { at, bytes } => {
                self.cache.punch(at, bytes, running.serial, &mut self.chance);
                Ok(0)
            }
            Call::Sync => errno.map_or(Ok(0), Err),
            Call::Measure => Ok(self.cache.visible().len() as u64),
        }
    }

    /// Bytes that a transfer moves: all, or some blocks of them.
    fn moved(&mut self, running: &Running, memory: Piece) -> u32 {
        if running.fate != Fate::Short {
            return memory.bytes;
        }
        let blocks = memory.bytes / self.habits.block_bytes;
        self.habits.block_bytes * (1 + self.chance.below(u64::from(blocks) - 1) as u32)
    }

    fn push(&mut self, id: u32, call: Call, opening: u32) -> Result<(), QueueFull> {
        if self.queued.len() + self.running.len() + self.done.len() >= CAPACITY {
            return Err(QueueFull);
        }
        self.moment += 1;
        let (pushed, serial) = (self.moment, self.moment);
        let fate = Fate::Good;
        let (effect_ns, end_ns, outcome) = (0, 0, None);
        self.queued.push(Running { id, call, opening, pushed, effect_ns, end_ns, fate, outcome, serial });
        Ok(())
    }

    fn submit(&mut self) {
        for mut call in std::mem::take(&mut self.queued) {
            if !self.is_aligned(call.call) || call.opening != self.opening {
                self.happened.refused += 1;
                let errno = if call.opening == self.opening { libc::EINVAL } else { libc::EIO };
                self.done.push_back(call.done(Err(errno)));
                continue;
            }
            self.decide(&mut call);
            self.next_ns = self.next_ns.min(call.effect_ns);
            self.running.push(call);
        }
        self.advance(self.now_ns);
    }

    /// Draws what becomes of a call, and when.
    fn decide(&mut self, call: &mut Running) {
        let (habits, chance, happened) = (self.habits, &mut self.chance, &mut self.happened);
        let mut hit = |rate: u32, count: &mut u64| {
            let hit = chance.hits(rate);
            *count += u64::from(hit);
            hit
        };
        call.fate = match call.call {
            Call::Read { memory, .. } => {
                happened.reads += 1;
                if hit(habits.read_errors, &mut happened.read_errors) {
                    Fate::Fails(libc::EIO)
                } else if hit(habits.again, &mut happened.again) {
                    Fate::Fails(libc::EAGAIN)
                } else if memory.bytes > habits.block_bytes && hit(habits.short, &mut happened.short_reads) {
                    Fate::Short
                } else {
                    Fate::Good
                }
            }
            Call::Write { memory, .. } => {
                happened.writes += 1;
                if hit(habits.write_errors, &mut happened.write_errors) {
                    Fate::Fails(libc::EIO)
                } else if hit(habits.no_space, &mut happened.no_space) {
                    Fate::Fails(libc::ENOSPC)
                } else if hit(habits.again, &mut happened.again) {
                    Fate::Fails(libc::EAGAIN)
                } else if memory.bytes > habits.block_bytes && hit(habits.short, &mut happened.short_writes) {
                    Fate::Short
                } else {
                    Fate::Good
                }
            }
            Call::Sync => {
                happened.syncs += 1;
                let fails = hit(habits.sync_errors, &mut happened.sync_errors);
                if fails { Fate::Fails(libc::EIO) } else { Fate::Good }
            }
            Call::Punch { .. } => {
                happened.punches += 1;
                Fate::Good
            }
            Call::Measure => Fate::Good,
        };
        let (shortest, longest) = habits.latency_ns;
        let late = hit(habits.late, &mut happened.late);
        let slow = hit(habits.slow, &mut happened.slow);
        let stuck = hit(habits.stuck, &mut happened.stuck);
        let mut takes_ns = shortest + self.chance.below(longest - shortest + 1);
        if late {
            takes_ns *= 10;
        }
        if slow {
            takes_ns += 100_000_000 + self.chance.below(700_000_000);
        }
        call.effect_ns = self.now_ns + self.chance.below(takes_ns + 1);
        call.end_ns = self.now_ns + takes_ns;
        if stuck {
            call.end_ns = u64::MAX;
            // Half of them hang when the work is done.
            if self.chance.below(2) == 0 {
                call.effect_ns = u64::MAX;
            }
        }
    }

    fn is_aligned(&self, call: Call) -> bool {
        let block = u64::from(self.habits.block_bytes);
        let whole = |n: u64| n.is_multiple_of(block);
        match call {
            Call::Read { at, memory } | Call::Write { at, memory, .. } => {
                whole(at) && whole(u64::from(memory.bytes)) && whole(memory.base as u64) && memory.bytes > 0
            }
            Call::Punch { at, bytes } => whole(at) && whole(bytes),
            Call::Sync | Call::Measure => true,
        }
    }

    /// Whatever is under way ends now, some of it done; nobody hears of it.
    fn end_calls(&mut self) {
        self.opening += 1;
        self.sync_failed = false;
        let queued = std::mem::take(&mut self.queued);
        for call in std::mem::take(&mut self.running) {
            self.moment += 1;
            if let (Call::Write { at, memory, .. }, None) = (call.call, call.outcome) {
                let some = |chance: &mut Chance| chance.below(4) == 0;
                self.cache.write(at, part(memory, memory.bytes), call.serial, &mut self.chance, some);
            }
            self.cache.finish(call.serial, self.moment, false);
            self.done.push_back(call.done(Err(libc::EIO)));
        }
        self.done.extend(queued.iter().map(|call| call.done(Err(libc::EIO))));
        self.next_ns = u64::MAX;
    }

    fn take(&mut self, opening: u32) -> Option<(u32, Outcome)> {
        let at = self.done.iter().position(|done| done.opening == opening)?;
        let done = self.done.remove(at)?;
        self.sync_failed |= done.is_sync && done.outcome.is_err() && opening == self.opening;
        Some((done.id, done.outcome))
    }
}

impl Running {
    fn next_ns(&self) -> u64 {
        if self.outcome.is_none() { self.effect_ns } else { self.end_ns }
    }

    fn done(&self, outcome: Outcome) -> Done {
        Done { id: self.id, opening: self.opening, is_sync: self.call == Call::Sync, outcome }
    }
}

impl Kernel for SimKernel {
    fn register(&mut self, areas: &[Area]) {
        let _ = areas;
    }

    fn push(&mut self, id: u32, call: Call) -> Result<(), QueueFull> {
        self.disk.state().push(id, call, self.opening)
    }

    fn submit(&mut self) {
        self.disk.state().submit();
    }

    fn next(&mut self) -> Option<(u32, Outcome)> {
        self.disk.state().take(self.opening)
    }

    fn end(&self) -> u64 {
        self.disk.state().cache.visible().len() as u64
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Drop for SimKernel {
    /// Nobody takes the rest any more.
    fn drop(&mut self) {
        let mut state = self.disk.state();
        state.done.retain(|done| done.opening != self.opening);
        state.queued.retain(|call| call.opening != self.opening);
        state.running.retain(|call| call.opening != self.opening);
    }
}

/// The first `bytes` of a piece, to be read.
fn part<'a>(memory: Piece, bytes: u32) -> &'a [u8] {
    let base = std::ptr::with_exposed_provenance(memory.base);
    // SAFETY: the memory of a call is the kernel's, that is ours, from `push`
    // until the outcome has been taken: a call that runs has not ended. The
    // slice is used up before the state is unlocked.
    unsafe { std::slice::from_raw_parts(base, bytes.min(memory.bytes) as usize) }
}

/// The first `bytes` of a piece, to be filled.
fn part_mut<'a>(memory: Piece, bytes: u32) -> &'a mut [u8] {
    let base = std::ptr::with_exposed_provenance_mut(memory.base);
    // SAFETY: as in `part`; no two calls have the same memory at a time.
    unsafe { std::slice::from_raw_parts_mut(base, bytes.min(memory.bytes) as usize) }
}

#[cfg(test)]
mod tests;
