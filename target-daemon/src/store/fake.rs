//! A store in memory whose completions come when, and in the order that, a
//! test wants, and which remembers what it was asked to do.
//!
//! It is a handle: the worker owns one clone, the test keeps another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Completion, Full, Geometry, IoError, IoVec, Kind, Op, SECTOR_BYTES, Store, ranges};

/// When operations are done. An operation touches the bytes at the moment in
/// which it is done, not when it is submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// At once, as a synchronous engine does them.
    Submitted,
    /// When the test calls [`FakeStore::release`].
    Manual,
    /// In an order drawn from the seed, some of them late: same seed, same
    /// order.
    Seeded(u64),
}

/// What the store was asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Logged {
    /// The token of the operation.
    pub token: u32,
    /// What it asked for.
    pub kind: Kind,
    /// Its first sector.
    pub sector: u64,
    /// Its length in sectors.
    pub sectors: u64,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    order: Order,
    geometry: Geometry,
    capacity: usize,
    pending: Vec<Op>,
    done: std::collections::VecDeque<Completion>,
    submitted: Vec<Logged>,
    executed: Vec<Logged>,
    faults: Vec<(Kind, IoError)>,
    at_once: Vec<Kind>,
}

/// Sectors in memory.
#[derive(Clone, Debug)]
pub struct FakeStore(Arc<Mutex<State>>);

impl FakeStore {
    /// A store of `sectors` zeros that holds up to `capacity` operations.
    pub fn new(sectors: u64, capacity: usize, order: Order) -> Self {
        let state = State {
            bytes: vec![0; (sectors * SECTOR_BYTES) as usize],
            order,
            geometry: Geometry::new(sectors, 512),
            capacity,
            pending: Vec::new(),
            done: std::collections::VecDeque::new(),
            submitted: Vec::new(),
            executed: Vec::new(),
            faults: Vec::new(),
            at_once: Vec::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its contents.
    pub fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// Changes the size; the worker sees it by [`Kind::Measure`].
    pub fn resize(&self, sectors: u64) {
        self.state().bytes.resize((sectors * SECTOR_BYTES) as usize, 0);
    }

    /// Whether it forgets sectors; at first it does not.
    pub fn set_discards(&self, discards: bool) {
        self.state().geometry.discards = discards;
    }

    /// Claims to read and write so many bytes at once. Exports take it over
    /// when they are made.
    pub fn set_block_bytes(&self, bytes: u32) {
        self.state().geometry.block_bytes = bytes;
    }

    /// Operations of these kinds are done at once ([`Store::now`]).
    pub fn set_at_once(&self, kinds: &[Kind]) {
        self.state().at_once = kinds.to_vec();
    }

    /// Makes the next operation of this kind that is done fail. Several calls
    /// queue up.
    pub fn fail_next(&self, kind: Kind, fault: IoError) {
        self.state().faults.push((kind, fault));
    }

    /// What was submitted, in that order.
    pub fn submitted(&self) -> Vec<Logged> {
        self.state().submitted.clone()
    }

    /// What was done without a fault, in that order.
    pub fn executed(&self) -> Vec<Logged> {
        self.state().executed.clone()
    }

    /// The tokens of operations not yet done, in the order of submission.
    pub fn pending(&self) -> Vec<u32> {
        self.state().pending.iter().map(|op| op.token).collect()
    }

    /// Does the oldest pending operation with this token now. Returns `false`
    /// if there is none.
    pub fn release(&self, token: u32) -> bool {
        let mut state = self.state();
        let found = state.pending.iter().position(|op| op.token == token);
        found.inspect(|index| state.finish(*index)).is_some()
    }
}

impl State {
    fn finish(&mut self, index: usize) {
        let mut op = self.pending.remove(index);
        let result = self.execute(&mut op);
        if result.is_ok() {
            self.executed.push(logged(&op));
        }
        self.done.push_back(Completion { token: op.token, result });
    }

    fn execute(&mut self, op: &mut Op) -> Result<(), IoError> {
        let start = op.range_in(self.geometry)? as usize;
        if let Some(rule) = self.faults.iter().position(|(kind, _)| *kind == op.kind) {
            return Err(self.faults.remove(rule).1);
        }
        if op.kind == Kind::Measure {
            self.geometry.sectors = self.bytes.len() as u64 / SECTOR_BYTES;
            return Ok(());
        }
        if op.kind == Kind::Discard {
            return self.discard(&op.buffers);
        }
        // Out of the vector only if `resize` has cut it, and nobody has looked.
        let part = self.bytes.get_mut(start..start + op.buffers.len()).ok_or(IoError::Media)?;
        match op.kind {
            Kind::Read => op.buffers.fill(part),
            Kind::Write => op.buffers.copy_to(part),
            Kind::Flush | Kind::Discard | Kind::Measure => 0,
        };
        Ok(())
    }

    fn discard(&mut self, buffers: &IoVec) -> Result<(), IoError> {
        if !self.geometry.discards {
            return Err(IoError::System);
        }
        for range in ranges(buffers) {
            let (start, end) = (range.at as usize, range.end() as usize);
            self.bytes.get_mut(start..end).ok_or(IoError::Media)?.fill(0);
        }
        Ok(())
    }

    /// The next number of the seeded sequence (xorshift64*).
    fn draw(&mut self) -> Option<usize> {
        let Order::Seeded(seed) = &mut self.order else {
            return None;
        };
        *seed = (*seed).max(1);
        *seed ^= *seed >> 12;
        *seed ^= *seed << 25;
        *seed ^= *seed >> 27;
        Some((seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize)
    }
}

fn logged(op: &Op) -> Logged {
    let sectors = op.buffers.len() as u64 / SECTOR_BYTES;
    Logged { token: op.token, kind: op.kind, sector: op.sector, sectors }
}

impl Store for FakeStore {
    fn geometry(&self) -> Geometry {
        self.state().geometry
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        let mut state = self.state();
        if state.pending.len() + state.done.len() >= state.capacity {
            return Err(Full(op));
        }
        state.submitted.push(logged(&op));
        state.pending.push(op);
        if state.order == Order::Submitted {
            state.finish(0);
        }
        Ok(())
    }

    /// What the test wants; and one in four of those that could be, in an order
    /// that is drawn: a worker has to get along with both ways.
    fn try_inline(&mut self, op: &mut Op) -> Option<Result<(), IoError>> {
        let mut state = self.state();
        let drawn = matches!(op.kind, Kind::Read | Kind::Write)
            && state.draw().is_some_and(|drawn| drawn.is_multiple_of(4));
        if !drawn && !state.at_once.contains(&op.kind) {
            return None;
        }
        state.submitted.push(logged(op));
        let result = state.execute(op);
        if result.is_ok() {
            state.executed.push(logged(op));
        }
        Some(result)
    }

    fn complete(&mut self) -> Option<Completion> {
        let mut state = self.state();
        // One call in four finds nothing, as with a disk that takes its time.
        if let Some(drawn) = state.draw()
            && drawn % 4 != 0
            && !state.pending.is_empty()
        {
            let index = drawn / 4 % state.pending.len();
            state.finish(index);
        }
        state.done.pop_front()
    }
}
