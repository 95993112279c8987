//! One operation in progress.

use super::IoSlice;
use super::bounce::{Bounce, WIDE_BYTES};
use crate::{IoVec, Kind, Op, ranges};

/// What an operation waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Reading its blocks.
    Read,
    /// Reading the blocks of which it changes only a part.
    Fill,
    /// Writing its blocks.
    Write,
    /// A sync begun after its last write.
    Sync,
    /// Discarding the next of its ranges.
    Punch,
    /// The size.
    Measure,
}

/// One operation in progress: what it requested, the blocks it covers on the disk, and its
/// progress.
#[derive(Debug)]
pub struct Slot {
    /// Of the operation.
    pub token: u32,
    /// Of the operation. If `in_place`, the kernel owns the frame during a call.
    pub buffers: IoVec,
    /// What it waits for.
    pub step: Step,
    /// Where its blocks start on the disk, in bytes.
    at: u64,
    /// The length of its blocks in bytes.
    bytes: u32,
    /// Bytes of its first block in front of the requested ones.
    skip: u32,
    /// The age of a write in flight, from `Commit`.
    pub age: Option<u32>,
    /// Bytes moved in this step; for a discard, entries done.
    moved: u32,
    /// The kernel transfers directly from and to the frame, without a copy.
    in_place: bool,
}

impl Slot {
    /// An operation `at` bytes into a disk that is accessed in blocks of `block` bytes.
    pub fn new(op: Op, at: u64, block: u32) -> Self {
        let (start, end) = (at - at % u64::from(block), at + op.buffers.len() as u64);
        let bytes = end.next_multiple_of(u64::from(block)) - start;
        let step = match op.kind {
            Kind::Read => Step::Read,
            Kind::Write if bytes == op.buffers.len() as u64 => Step::Write,
            Kind::Write => Step::Fill,
            Kind::Flush => Step::Sync,
            Kind::Discard => Step::Punch,
            Kind::Measure => Step::Measure,
        };
        Self {
            token: op.token,
            in_place: is_whole(&op.buffers, at, block),
            buffers: op.buffers,
            step,
            at: start,
            bytes: bytes as u32,
            skip: (at - start) as u32,
            age: None,
            moved: 0,
        }
    }

    /// The bytes that it needs in a bounce buffer, if any.
    pub fn bounces(&self) -> Option<u32> {
        let moves = matches!(self.step, Step::Read | Step::Fill | Step::Write);
        (moves && !self.in_place).then_some(self.bytes)
    }

    /// Whether its blocks fit into its bounce buffer, if it needs one.
    pub fn fits(&self) -> bool {
        self.in_place || self.bytes as usize <= WIDE_BYTES
    }

    /// Begins to write all of its blocks, at this age.
    pub fn begin_write(&mut self, age: u32) {
        (self.step, self.age, self.moved) = (Step::Write, Some(age), 0);
    }

    /// Records the number of bytes moved. Returns whether the step is complete.
    pub fn advance(&mut self, bytes: u64) -> bool {
        self.moved = self.moved.saturating_add(bytes.min(u64::from(u32::MAX)) as u32);
        self.moved >= self.bytes
    }

    /// Where the rest of the step lies on the disk, and in which memory.
    pub fn rest(&self, place: usize, bounce: &Bounce) -> (u64, IoSlice) {
        let all = match self.buffers.iovecs() {
            [only] if self.in_place => IoSlice { base: only.iov_base as usize, bytes: self.bytes },
            _ => bounce.piece(place, self.bytes),
        };
        let rest = IoSlice { base: all.base + self.moved as usize, bytes: self.bytes - self.moved };
        (self.at + u64::from(self.moved), rest)
    }

    /// The next range to discard, in bytes from the start of the export.
    pub fn next_range(&mut self) -> Option<ranges::Extent> {
        let (entry, extent) = ranges::next(&self.buffers, self.moved as usize)?;
        self.moved = entry as u32 + 1;
        Some(extent)
    }

    /// Copies the data of a write to the memory that the kernel takes it from.
    pub fn load(&self, place: usize, bounce: &mut Bounce) -> bool {
        self.in_place || bounce.put(place, self.bytes, self.skip, &self.buffers)
    }

    /// Copies the data of a read to its buffers.
    pub fn unload(&mut self, place: usize, bounce: &Bounce) -> bool {
        self.in_place || bounce.take(place, self.bytes, self.skip, &mut self.buffers)
    }
}

/// Whether the disk can use these bytes in place: whole blocks, in one piece, block-aligned in
/// memory too.
fn is_whole(buffers: &IoVec, at: u64, block: u32) -> bool {
    let [only] = buffers.iovecs() else { return false };
    let aligned = |n: u64| n.is_multiple_of(u64::from(block));
    aligned(at) && aligned(only.iov_base as u64) && aligned(only.iov_len as u64)
}
