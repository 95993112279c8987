//! One operation under way.

use super::IoSlice;
use super::bounce::{Bounce, WIDE_BYTES};
use crate::store::{IoVec, Kind, Op, ranges};

/// What an operation waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The blocks that it reads.
    Read,
    /// The blocks of which it changes a part, to be read first.
    Fill,
    /// The blocks that it writes.
    Write,
    /// A sync that was begun after its last write.
    Sync,
    /// The next of its ranges to be forgotten.
    Punch,
    /// The size.
    Measure,
}

/// One operation under way: what it wants, which blocks of the disk that is,
/// and how far it has come.
#[derive(Debug)]
pub struct Slot {
    /// From the operation.
    pub token: u32,
    /// From the operation.
    pub kind: Kind,
    /// From the operation. The frame is the system's if `in_place`.
    pub buffers: IoVec,
    /// What it waits for.
    pub step: Step,
    /// Where its blocks start on the disk, in bytes.
    at: u64,
    /// Their length in bytes.
    bytes: u32,
    /// Bytes in front of what it wants, in its first block.
    skip: u32,
    /// Of a write that the disk works on, from `Commit`.
    pub age: u32,
    /// Bytes moved in this step; of a discard, entries that are done.
    moved: u32,
    /// The system moves its bytes from and to the frame, not by a copy.
    in_place: bool,
}

impl Slot {
    /// An operation that starts `at` bytes into the disk, which is read and
    /// written in blocks of `block` bytes.
    pub fn new(op: Op, at: u64, block: u32) -> Self {
        let (start, end) = (at - at % u64::from(block), at + op.buffers.len() as u64);
        let bytes = end.next_multiple_of(u64::from(block)) - start;
        Self {
            token: op.token,
            kind: op.kind,
            in_place: is_whole(&op.buffers, at, block),
            buffers: op.buffers,
            step: Step::Read,
            at: start,
            bytes: bytes as u32,
            skip: (at - start) as u32,
            age: 0,
            moved: 0,
        }
    }

    /// Whether its blocks hold nothing but what it wants.
    pub fn is_aligned(&self) -> bool {
        self.bytes as usize == self.buffers.len()
    }

    /// Whether its place has room for its blocks, if it needs one.
    pub fn fits(&self) -> bool {
        self.in_place || self.bytes as usize <= WIDE_BYTES
    }

    /// Begins a step that moves all of its blocks.
    pub fn begin(&mut self, step: Step) {
        self.step = step;
        self.moved = 0;
    }

    /// Notes that so many bytes were moved; whether that was the last of them.
    pub fn advance(&mut self, bytes: u64) -> bool {
        self.moved = self.moved.saturating_add(bytes.min(u64::from(u32::MAX)) as u32);
        self.moved >= self.bytes
    }

    /// Where on the disk the rest of the step lies, and in which memory.
    pub fn rest(&self, place: usize, bounce: &Bounce) -> (u64, IoSlice) {
        let all = match self.buffers.iovecs() {
            [only] if self.in_place => IoSlice { base: only.iov_base as usize, bytes: self.bytes },
            _ => bounce.piece(place, self.bytes),
        };
        let rest = IoSlice { base: all.base + self.moved as usize, bytes: self.bytes - self.moved };
        (self.at + u64::from(self.moved), rest)
    }

    /// The next range to be forgotten, in bytes from the start of the export.
    pub fn next_range(&mut self) -> Option<ranges::Extent> {
        let (entry, extent) = ranges::next(&self.buffers, self.moved as usize)?;
        self.moved = entry as u32 + 1;
        Some(extent)
    }

    /// Puts what it writes where the system takes it from.
    pub fn load(&self, place: usize, bounce: &mut Bounce) -> bool {
        self.in_place || bounce.put(place, self.bytes, self.skip, &self.buffers)
    }

    /// Puts what was read where it is wanted.
    pub fn unload(&mut self, place: usize, bounce: &Bounce) -> bool {
        self.in_place || bounce.take(place, self.bytes, self.skip, &mut self.buffers)
    }
}

/// Whether the disk can take these bytes as they lie: whole blocks, in one
/// piece, aligned to a block in memory too.
fn is_whole(buffers: &IoVec, at: u64, block: u32) -> bool {
    let [only] = buffers.iovecs() else { return false };
    let aligned = |n: u64| n.is_multiple_of(u64::from(block));
    aligned(at) && aligned(only.iov_base as u64) && aligned(only.iov_len as u64)
}
