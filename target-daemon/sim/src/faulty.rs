//! A wrapper for tests that injects faults into any store.
//!
//! Faults are drawn from a seed, at rates that a handle sets while workers run: the same
//! seed and the same calls give the same faults. Time is counted in calls of
//! [`Store::complete`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xblade_store::{Completion, Full, Geometry, IoError, Kind, Op, Registered, SECTOR_BYTES, Store};

/// A fault that can be injected into an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InjectedFault {
    /// Fails; nothing was done.
    Refused,
    /// Fails with [`IoError::Transient`]; nothing was done.
    Transient,
    /// A write fails after some of its sectors, but not all, were written.
    Torn,
    /// A write is acknowledged and not done. No store may do this; it proves that a checker
    /// detects it.
    Lost,
    /// Done after operations that were submitted later.
    Overtaken,
    /// Done, but reported late.
    Delayed,
    /// Done, but reported after operations that were done later.
    Reordered,
}

impl InjectedFault {
    /// All of them. The first one drawn applies to an operation.
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::Transient,
        Self::Torn,
        Self::Lost,
        Self::Overtaken,
        Self::Delayed,
        Self::Reordered,
    ];

    fn applies_to(self, op: &Op) -> bool {
        let sectors = op.buffers.len() as u64 / SECTOR_BYTES;
        match self {
            Self::Torn => op.kind == Kind::Write && sectors > 1,
            Self::Lost => op.kind == Kind::Write,
            _ => true,
        }
    }
}

/// A fault that was injected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultRecord {
    /// The fault.
    pub injected: InjectedFault,
    /// The kind of the operation.
    pub kind: Kind,
    /// Its first sector.
    pub sector: u64,
    /// The error of the operation, if the fault makes it fail.
    pub fault: Option<IoError>,
}

/// Rates are per this number of operations.
pub const RATE_ALWAYS: u32 = 1000;

/// The longest delay of an operation, in calls of `complete`.
const CALLS_MAX: u64 = 20;

/// Controls a [`Faulty`] store and records its faults.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    rates: [AtomicU32; InjectedFault::ALL.len()],
    records: Mutex<Vec<FaultRecord>>,
}

impl Faults {
    /// Sets the rate of a fault from now on, per [`RATE_ALWAYS`] operations.
    pub fn set(&self, injected: InjectedFault, rate: u32) {
        if let Some(to) = self.0.rates.get(injected as usize) {
            to.store(rate, Ordering::Relaxed);
        }
    }

    /// Injects no more faults. Operations that are already delayed stay delayed.
    pub fn clear(&self) {
        self.0.rates.iter().for_each(|rate| rate.store(0, Ordering::Relaxed));
    }

    /// All faults so far, oldest first.
    pub fn records(&self) -> Vec<FaultRecord> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn rate(&self, injected: InjectedFault) -> u32 {
        self.0.rates.get(injected as usize).map_or(0, |rate| rate.load(Ordering::Relaxed))
    }

    fn note(&self, records: FaultRecord) {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner).push(records);
    }
}

/// A store that injects faults into another one.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
    seed: u64,
    /// Calls of `complete` so far.
    calls: u64,
    /// Operations not yet given to the inner store, and when to do so.
    overtaken: Vec<(u64, Op)>,
    /// The faults of operations that the inner store has.
    marks: Vec<(u32, InjectedFault)>,
    /// Completions, and when to report them.
    delayed: Vec<(u64, Completion)>,
    ready: VecDeque<Completion>,
}

impl<S: Store> Faulty<S> {
    /// Wraps this store, with no faults yet, and returns the handle.
    pub fn new(inner: S, seed: u64) -> (Self, Faults) {
        let faults = Faults::default();
        let store = Self {
            inner,
            faults: faults.clone(),
            seed: seed.max(1),
            calls: 0,
            overtaken: Vec::new(),
            marks: Vec::new(),
            delayed: Vec::new(),
            ready: VecDeque::new(),
        };
        (store, faults)
    }

    /// Draws the fault of an operation. The quantity of numbers drawn does not depend on
    /// the rates.
    fn fate(&mut self, op: &Op) -> Option<InjectedFault> {
        let mut fate = None;
        for injected in InjectedFault::ALL {
            let drawn = self.draw() % u64::from(RATE_ALWAYS) < u64::from(self.faults.rate(injected));
            if drawn && fate.is_none() && injected.applies_to(op) {
                fate = Some(injected);
            }
        }
        fate
    }

    /// The next number of the sequence (xorshift64*).
    fn draw(&mut self) -> u64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
    }

    fn some_calls_later(&mut self) -> u64 {
        self.calls + 1 + self.draw() % CALLS_MAX
    }

    /// Draws the error of a refused operation of this kind.
    fn draw_fault(&mut self, kind: Kind) -> IoError {
        let faults: &[IoError] = match kind {
            Kind::Read | Kind::Measure => &[IoError::Media, IoError::System],
            Kind::Write | Kind::Discard => &[IoError::Media, IoError::NoSpace, IoError::System],
            Kind::Flush => &[IoError::Media, IoError::NoSpace],
        };
        let drawn = self.draw() as usize % faults.len();
        faults.get(drawn).copied().unwrap_or(IoError::Media)
    }

    /// Submits to the inner store, which determines the result.
    fn pass(&mut self, mut op: Op, injected: Option<InjectedFault>) -> Result<(), Full> {
        if injected == Some(InjectedFault::Torn) {
            let sectors = op.buffers.len() as u64 / SECTOR_BYTES;
            let kept = 1 + self.draw() % (sectors - 1).max(1);
            op.buffers.truncate((kept * SECTOR_BYTES) as usize);
        }
        let token = op.token;
        self.inner.submit(op)?;
        self.marks.extend(injected.map(|injected| (token, injected)));
        Ok(())
    }

    /// Submits the operations whose delay is over to the inner store.
    fn pass_overtaken(&mut self) {
        while let Some(at) = self.overtaken.iter().position(|(when, _)| *when <= self.calls) {
            let (when, op) = self.overtaken.swap_remove(at);
            if let Err(Full(op)) = self.pass(op, None) {
                // Retry later.
                self.overtaken.push((when + 1, op));
                return;
            }
        }
    }

    /// Takes the completions of the inner store and applies the faults drawn.
    fn gather(&mut self) {
        while let Some(mut completion) = self.inner.complete() {
            let mark = self.marks.iter().position(|(token, _)| *token == completion.token);
            match mark.map(|at| self.marks.swap_remove(at).1) {
                Some(InjectedFault::Torn) => completion.result = completion.result.and(Err(IoError::Media)),
                Some(InjectedFault::Delayed) => {
                    let when = self.some_calls_later();
                    self.delayed.push((when, completion));
                    continue;
                }
                Some(InjectedFault::Reordered) => {
                    // After everything that becomes ready in the next call.
                    self.delayed.push((self.calls + 1, completion));
                    continue;
                }
                _ => {}
            }
            self.ready.push_back(completion);
        }
        while let Some(at) = self.delayed.iter().position(|(when, _)| *when <= self.calls) {
            self.ready.push_back(self.delayed.swap_remove(at).1);
        }
    }
}

impl<S: Store> Store for Faulty<S> {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn join(&mut self, registered: &Registered) {
        self.inner.join(registered);
    }

    fn degraded(&self) -> Option<IoError> {
        self.inner.degraded()
    }

    fn degrade(&mut self, fault: IoError) {
        self.inner.degrade(fault);
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        let injected = self.fate(&op);
        let (kind, sector, token) = (op.kind, op.sector, op.token);
        let result = match injected {
            Some(InjectedFault::Refused) => Err(self.draw_fault(kind)),
            Some(InjectedFault::Transient) => Err(IoError::Transient),
            Some(InjectedFault::Lost) => Ok(()),
            Some(InjectedFault::Overtaken) => {
                let when = self.some_calls_later();
                self.overtaken.push((when, op));
                self.faults.note(FaultRecord {
                    injected: InjectedFault::Overtaken,
                    kind,
                    sector,
                    fault: None,
                });
                return Ok(());
            }
            _ => {
                self.pass(op, injected)?;
                let fault = (injected == Some(InjectedFault::Torn)).then_some(IoError::Media);
                if let Some(injected) = injected {
                    self.faults.note(FaultRecord { injected, kind, sector, fault });
                }
                return Ok(());
            }
        };
        self.ready.push_back(Completion { token, result });
        if let Some(injected) = injected {
            self.faults.note(FaultRecord { injected, kind, sector, fault: result.err() });
        }
        Ok(())
    }

    fn kick(&mut self) {
        self.inner.kick();
    }

    fn complete(&mut self) -> Option<Completion> {
        if let Some(completion) = self.ready.pop_front() {
            return Some(completion);
        }
        self.calls += 1;
        self.pass_overtaken();
        self.gather();
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use xblade_store::IoVec;

    use super::*;
    use crate::store::{FakeStore, Order};

    fn op(token: u32, kind: Kind, sector: u64, memory: &mut [u8]) -> Op {
        let mut buffers = IoVec::empty();
        // SAFETY: every test completes its operations before the memory is dropped.
        assert!(unsafe { buffers.push(memory) });
        Op { token, kind, sector, buffers }
    }

    /// Runs operations that all get this fault, and returns how they ended.
    fn suffer(injected: InjectedFault, seed: u64, kind: Kind) -> (Vec<Completion>, FakeStore, Faults) {
        let inner = FakeStore::new(256, 64, Order::Submitted);
        let (mut store, faults) = Faulty::new(inner.clone(), seed);
        faults.set(injected, RATE_ALWAYS);
        let mut memory = vec![[7u8; 2048]; 8];
        let mut ended = Vec::new();
        for (token, memory) in (0..).zip(&mut memory) {
            store.submit(op(token, kind, u64::from(token) * 8, memory)).unwrap();
        }
        for _ in 0..100 {
            ended.extend(std::iter::from_fn(|| store.complete()));
        }
        assert!(store.complete().is_none() && store.overtaken.is_empty() && store.marks.is_empty());
        (ended, inner, faults)
    }

    fn tokens(ended: &[Completion]) -> Vec<u32> {
        ended.iter().map(|completion| completion.token).collect()
    }

    #[test]
    fn each_harm_does_what_it_says_and_everything_ends_once() {
        let written = |store: &FakeStore, n: usize| {
            store.bytes()[n * 4096..][..2048].chunks(512).filter(|sector| sector == &[7; 512]).count()
        };
        for injected in InjectedFault::ALL {
            let (ended, inner, faults) = suffer(injected, 1, Kind::Write);
            let mut sorted = tokens(&ended);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..8).collect::<Vec<_>>(), "{injected:?}");
            let records = faults.records();
            assert!(
                records.len() == 8
                    && records.iter().all(|it| it.injected == injected && it.kind == Kind::Write)
            );
            for completion in &ended {
                let n = completion.token as usize;
                assert_eq!(completion.result.err(), records[n].fault, "{injected:?}");
                match injected {
                    InjectedFault::Refused | InjectedFault::Transient | InjectedFault::Lost => {
                        assert_eq!(written(&inner, n), 0)
                    }
                    InjectedFault::Torn => assert!((1..4).contains(&written(&inner, n))),
                    InjectedFault::Overtaken | InjectedFault::Delayed | InjectedFault::Reordered => {
                        assert_eq!(written(&inner, n), 4)
                    }
                }
            }
            match injected {
                InjectedFault::Refused => {
                    let nospace = |it: &FaultRecord| it.fault == Some(IoError::NoSpace);
                    assert!(records.iter().any(nospace) && !records.iter().all(nospace));
                }
                InjectedFault::Transient => {
                    assert!(records.iter().all(|it| it.fault == Some(IoError::Transient)))
                }
                InjectedFault::Overtaken => {
                    let executed: Vec<_> = inner.executed().iter().map(|it| it.token).collect();
                    assert_ne!(executed, (0..8).collect::<Vec<_>>(), "done in another order");
                }
                InjectedFault::Delayed => assert_ne!(tokens(&ended), sorted),
                _ => {}
            }
        }
    }

    #[test]
    fn one_that_is_reordered_comes_after_those_that_were_done_later() {
        let (mut store, faults) = Faulty::new(FakeStore::new(64, 64, Order::Submitted), 1);
        let (mut first, mut second) = ([0; 512], [0; 512]);
        faults.set(InjectedFault::Reordered, RATE_ALWAYS);
        store.submit(op(1, Kind::Read, 0, &mut first)).unwrap();
        faults.clear();
        store.submit(op(2, Kind::Read, 0, &mut second)).unwrap();
        let ended: Vec<_> = (0..4).filter_map(|_| store.complete()).collect();
        assert_eq!(tokens(&ended), [2, 1]);
    }

    #[test]
    fn the_same_seed_does_the_same() {
        let run = |seed| {
            let (ended, inner, faults) = suffer(InjectedFault::Torn, seed, Kind::Write);
            (ended, inner.bytes(), faults.records())
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5).1, run(6).1);
        let late = |seed| tokens(&suffer(InjectedFault::Delayed, seed, Kind::Read).0);
        assert_eq!(late(5), late(5));
        assert_ne!(late(5), late(6));
    }

    #[test]
    fn only_writes_are_torn_or_lost() {
        for injected in [InjectedFault::Torn, InjectedFault::Lost] {
            let (ended, _, faults) = suffer(injected, 1, Kind::Read);
            assert!(ended.iter().all(|completion| completion.result.is_ok()));
            assert_eq!(faults.records(), []);
        }
    }
}
