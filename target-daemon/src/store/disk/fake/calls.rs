//! What becomes of calls, and when.

use std::collections::VecDeque;

use super::cache::Cache;
use super::chance::Chance;
use super::{SimConfig, SimStats};
use crate::store::disk::{IoRequest, IoResult, IoSlice, QueueFull};

/// Calls that it takes at a time.
const CAPACITY: usize = 512;

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: SimConfig,
    pub(super) cache: Cache,
    pub(super) chance: Chance,
    pub(super) happened: SimStats,
    pub(super) opening: u32,
    pub(super) now_ns: u64,
    /// When the next call takes effect or ends.
    pub(super) next_ns: u64,
    /// Counts whatever happens, to tell before from after.
    pub(super) moment: u64,
    pub(super) queued: Vec<Running>,
    pub(super) running: Vec<Running>,
    pub(super) done: VecDeque<Done>,
    /// A sync of this opening has failed, and the store has heard of it.
    pub(super) sync_failed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) id: u32,
    pub(super) call: IoRequest,
    pub(super) opening: u32,
    /// The moment at which it was pushed.
    pub(super) pushed: u64,
    pub(super) effect_ns: u64,
    pub(super) end_ns: u64,
    pub(super) fate: Fate,
    /// What it has come to, once it has taken effect.
    pub(super) outcome: Option<IoResult>,
    /// Names its sectors in the cache.
    pub(super) serial: u64,
}

/// A call that has ended, and whose outcome was not taken yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) id: u32,
    pub(super) opening: u32,
    pub(super) is_sync: bool,
    pub(super) outcome: IoResult,
}

/// What becomes of a call, decided when it is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Good,
    Short,
    Fails(i32),
}

impl State {
    pub(super) fn new(cache: Cache, chance: Chance, config: SimConfig) -> Self {
        Self {
            config,
            cache,
            chance,
            happened: SimStats::default(),
            opening: 0,
            now_ns: 0,
            next_ns: u64::MAX,
            moment: 1,
            queued: Vec::new(),
            running: Vec::new(),
            done: VecDeque::new(),
            sync_failed: false,
        }
    }

    pub(super) fn advance(&mut self, now_ns: u64) {
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
            IoRequest::Write { stable, .. } => {
                self.cache.finish(call.serial, self.moment, stable && outcome.is_ok())
            }
            IoRequest::Punch { .. } => self.cache.finish(call.serial, self.moment, false),
            IoRequest::Sync => self.cache.sync(call.pushed, outcome.is_ok(), &mut self.chance),
            IoRequest::Read { .. } | IoRequest::Measure => {}
        }
        self.done.push_back(call.done(outcome));
    }

    fn take_effect(&mut self, running: &Running) -> IoResult {
        let errno = match running.fate {
            Fate::Fails(errno) => Some(errno),
            Fate::Good | Fate::Short => None,
        };
        match running.call {
            IoRequest::Read { at, memory } => match errno {
                Some(errno) => Err(errno),
                None => {
                    let bytes = self.moved(running, memory);
                    Ok(self.cache.read(at, part_mut(memory, bytes)) as u64)
                }
            },
            IoRequest::Write { at, memory, .. } => match errno {
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
            IoRequest::Punch { at, bytes } => {
                self.cache.punch(at, bytes, running.serial, &mut self.chance);
                Ok(0)
            }
            IoRequest::Sync => errno.map_or(Ok(0), Err),
            IoRequest::Measure => Ok(self.cache.visible().len() as u64),
        }
    }

    /// Bytes that a transfer moves: all, or some blocks of them.
    fn moved(&mut self, running: &Running, memory: IoSlice) -> u32 {
        if running.fate != Fate::Short {
            return memory.bytes;
        }
        let blocks = memory.bytes / self.config.block_bytes;
        self.config.block_bytes * (1 + self.chance.below(u64::from(blocks) - 1) as u32)
    }

    pub(super) fn push(&mut self, id: u32, call: IoRequest, opening: u32) -> Result<(), QueueFull> {
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

    pub(super) fn submit(&mut self) {
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
        let (config, chance, happened) = (self.config, &mut self.chance, &mut self.happened);
        let mut hit = |rate: u32, count: &mut u64| {
            let hit = chance.hits(rate);
            *count += u64::from(hit);
            hit
        };
        call.fate = match call.call {
            IoRequest::Read { memory, .. } => {
                happened.reads += 1;
                if hit(config.read_errors, &mut happened.read_errors) {
                    Fate::Fails(libc::EIO)
                } else if hit(config.again, &mut happened.again) {
                    Fate::Fails(libc::EAGAIN)
                } else if memory.bytes > config.block_bytes && hit(config.short, &mut happened.short_reads) {
                    Fate::Short
                } else {
                    Fate::Good
                }
            }
            IoRequest::Write { memory, .. } => {
                happened.writes += 1;
                if hit(config.write_errors, &mut happened.write_errors) {
                    Fate::Fails(libc::EIO)
                } else if hit(config.no_space, &mut happened.no_space) {
                    Fate::Fails(libc::ENOSPC)
                } else if hit(config.again, &mut happened.again) {
                    Fate::Fails(libc::EAGAIN)
                } else if memory.bytes > config.block_bytes && hit(config.short, &mut happened.short_writes) {
                    Fate::Short
                } else {
                    Fate::Good
                }
            }
            IoRequest::Sync => {
                happened.syncs += 1;
                let fails = hit(config.sync_errors, &mut happened.sync_errors);
                if fails { Fate::Fails(libc::EIO) } else { Fate::Good }
            }
            IoRequest::Punch { .. } => {
                happened.punches += 1;
                Fate::Good
            }
            IoRequest::Measure => Fate::Good,
        };
        let (shortest, longest) = config.latency_ns;
        let late = hit(config.late, &mut happened.late);
        let slow = hit(config.slow, &mut happened.slow);
        let stuck = hit(config.stuck, &mut happened.stuck);
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

    fn is_aligned(&self, call: IoRequest) -> bool {
        let block = u64::from(self.config.block_bytes);
        let whole = |n: u64| n.is_multiple_of(block);
        match call {
            IoRequest::Read { at, memory } | IoRequest::Write { at, memory, .. } => {
                whole(at) && whole(u64::from(memory.bytes)) && whole(memory.base as u64) && memory.bytes > 0
            }
            IoRequest::Punch { at, bytes } => whole(at) && whole(bytes),
            IoRequest::Sync | IoRequest::Measure => true,
        }
    }

    /// Whatever is under way ends now, some of it done; nobody hears of it.
    pub(super) fn end_calls(&mut self) {
        self.opening += 1;
        self.sync_failed = false;
        let queued = std::mem::take(&mut self.queued);
        for call in std::mem::take(&mut self.running) {
            self.moment += 1;
            if let (IoRequest::Write { at, memory, .. }, None) = (call.call, call.outcome) {
                let some = |chance: &mut Chance| chance.below(4) == 0;
                self.cache.write(at, part(memory, memory.bytes), call.serial, &mut self.chance, some);
            }
            self.cache.finish(call.serial, self.moment, false);
            self.done.push_back(call.done(Err(libc::EIO)));
        }
        self.done.extend(queued.iter().map(|call| call.done(Err(libc::EIO))));
        self.next_ns = u64::MAX;
    }

    pub(super) fn take(&mut self, opening: u32) -> Option<(u32, IoResult)> {
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

    fn done(&self, outcome: IoResult) -> Done {
        Done { id: self.id, opening: self.opening, is_sync: self.call == IoRequest::Sync, outcome }
    }
}

/// The first `bytes` of a piece, to be read.
pub(super) fn part<'a>(memory: IoSlice, bytes: u32) -> &'a [u8] {
    let base = std::ptr::with_exposed_provenance(memory.base);
    // SAFETY: the memory of a call is the kernel's, that is ours, from `push`
    // until the outcome has been taken: a call that runs has not ended. The
    // slice is used up before the state is unlocked.
    unsafe { std::slice::from_raw_parts(base, bytes.min(memory.bytes) as usize) }
}

/// The first `bytes` of a piece, to be filled.
fn part_mut<'a>(memory: IoSlice, bytes: u32) -> &'a mut [u8] {
    let base = std::ptr::with_exposed_provenance_mut(memory.base);
    // SAFETY: as in `part`; no two calls have the same memory at a time.
    unsafe { std::slice::from_raw_parts_mut(base, bytes.min(memory.bytes) as usize) }
}
