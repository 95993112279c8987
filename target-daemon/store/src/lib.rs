//! Storage engines: how the bytes of an export are read, written and made durable.
//!
//! A store accepts operations by [`submit`](crate::Store::submit) and returns each
//! exactly once by [`complete`](crate::Store::complete), in any order. A synchronous
//! engine has the completion ready when `submit` returns, an asynchronous one later. A
//! write that completes without an error is as durable as the store's
//! [`Durability`](crate::Durability) promises. There is no later point at which it
//! could become durable: the Linux initiator never flushes.
//!
//! ```text
//! open ──► lock, device, discard
//!   │                        what may be opened at all, and who else may use it
//!   ├────► disk ──► io_uring                     files on a disk, devices: with O_DIRECT (dio),
//!   │                                            else through the page cache
//!   └────► MmapStore ──► mapping ──► sigbus      files in memory: reads, volatile writes
//!              └───────► descriptor              their durable writes; without io_uring, all I/O
//! select                     which of them a file or device gets
//! sharing                    which exports would interfere with each other
//! RamStore                   no file: `ram`, `null`
//! engine, options            the names of the engines, the options of an export
//! Overlap                    which operations may be submitted to a store together
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod io_vec;
mod select;
mod completion_queue;
mod descriptor;
mod device;
mod dio;
mod engine;
mod options;
mod ram;
mod size;
pub mod disk;
mod error;
mod io_error;
mod handed;
mod identity;
mod lock;
mod mapping;
mod memory;
mod mmap;
mod open;
mod overlap;
/// Bugs to plant in test builds.
pub mod plant;
mod ranges;
mod file_facts;
mod sharing;
mod sigbus;

use crate::plant::{Bug, planted};

pub use completion_queue::QUEUE_MAX;
pub use disk::{Calls, KernelWork, Registered, Ring};
pub use engine::{ENGINES, Engine, StoreSpec};
pub use error::{Beside, OpenError, OpenErrorKind, Problem, Warning};
pub use handed::{DESCRIPTORS_MAX, Handed};
pub use identity::{Data, Identity, OpenFile, Replaced};
pub use io_vec::{IoVec, SEGMENTS_MAX};
pub use open::{Access, OpenOptions, Sync};
pub use options::{AUTO, Conflict, NONE, OPTIONS, Opt, Options, Setting, Takes, Value};
pub use overlap::{Overlap, OverlapFull, Span};
pub use ram::RamStore;
pub use ranges::{Extent, ranges, span};
pub use select::{Opened, open};
pub use sharing::Expected;
pub use size::{exactly, in_largest_unit, parse_bytes, rate};

/// Bytes in a sector, the unit of every AoE request.
pub const SECTOR_BYTES: u64 = 512;

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Fill the buffers from the store.
    Read,
    /// Put the buffers into the store.
    Write,
    /// Make every completed write stable.
    Flush,
    /// Discard sectors: the buffers hold the ranges, as DATA SET MANAGEMENT sends them. The
    /// sectors read as zeros from then on.
    Discard,
    /// Query the size of the file or device again. [`Store::geometry`] then returns it, or
    /// the old size if the query failed.
    Measure,
}

impl Kind {
    /// Whether it changes stored bytes.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Discard)
    }
}

/// One operation. The memory in `buffers` belongs to the operation until its completion is
/// returned.
#[derive(Debug)]
pub struct Op {
    /// Returned in the completion.
    pub token: u32,
    /// What to do.
    pub kind: Kind,
    /// First sector, counted from the start of the export.
    pub sector: u64,
    /// The memory; empty for a flush and a measurement. Its length is a multiple of
    /// [`SECTOR_BYTES`].
    pub buffers: IoVec,
}

impl Op {
    /// The start of a read or write in bytes from the start of the export, if it consists
    /// of whole sectors and lies completely within `geometry`. A discard is checked the
    /// same way, for every [range](ranges), but returns 0 because its ranges hold their own
    /// starts. Other kinds always return 0.
    #[inline]
    pub fn range_in(&self, geometry: Geometry) -> Result<u64, IoError> {
        match self.kind {
            Kind::Read | Kind::Write => {}
            Kind::Discard => return ranges::check(&self.buffers, geometry).map(|()| 0),
            Kind::Flush | Kind::Measure => return Ok(0),
        }
        let bytes = self.buffers.len() as u64;
        let end = self.sector.checked_add(bytes / SECTOR_BYTES).ok_or(IoError::Range)?;
        let start = self.sector.checked_mul(SECTOR_BYTES).ok_or(IoError::Range)?;
        let sectors = geometry.sectors + u64::from(planted(Bug::OffByOneAtEnd));
        if bytes.is_multiple_of(SECTOR_BYTES) && end <= sectors { Ok(start) } else { Err(IoError::Range) }
    }
}

/// The result of one operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The token of the operation.
    pub token: u32,
    /// `Ok` only if all of it was done and, for a write, if it is as durable as promised.
    pub result: OpResult,
}

/// `Ok` only if all of an operation was done.
pub type OpResult = Result<(), IoError>;

/// Why an operation failed. Small and `Copy`: the data path allocates nothing. After an
/// error, the memory of a read and the sectors of a write hold old bytes, new bytes or a
/// mixture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoError {
    /// The medium did not read or write the data (EIO, a truncated file).
    Media,
    /// No space left under a sparse or thin store.
    NoSpace,
    /// The store refuses writes: it was opened read-only, or a flush failed.
    ReadOnly,
    /// The sectors lie outside the store.
    Range,
    /// Any other system error.
    System,
    /// The system could not do it at the moment (EAGAIN, ENOMEM). No reply is sent, and the
    /// initiator retransmits.
    Transient,
}

/// Size and block sizes of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// The device's internal write unit in bytes, for example 512 or 4096.
    pub physical_bytes: u32,
    /// The block size of reads and writes, in bytes. A write of part of a block is a
    /// read-modify-write of the whole block, so two of them must not run at the same time.
    pub block_bytes: u32,
    /// Whether it supports [`Kind::Discard`].
    pub discards: bool,
}

impl Geometry {
    /// A geometry with this number of sectors, accessed in single sectors, without
    /// discards.
    pub fn new(sectors: u64, physical_bytes: u32) -> Self {
        Self { sectors, physical_bytes, block_bytes: SECTOR_BYTES as u32, discards: false }
    }
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// It is on stable storage.
    #[default]
    Durable,
    /// It is in the page cache; a power failure may lose it.
    Volatile,
}

/// The queue is full: nothing was done, and the operation is returned.
#[derive(Debug)]
pub struct Full(pub Op);

/// Memory that holds the buffers of operations: the UMEM of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemRegion {
    /// The address of its first byte.
    pub base: usize,
    /// Its length in bytes.
    pub bytes: usize,
}

/// The engine of an export. Owned and called by one worker.
///
/// An implementation drops the [`IoVec`] of an operation before it returns the completion:
/// from then on the frame behind it is reused.
///
/// It executes operations in any order. The worker makes sure that operations on the same
/// block are not submitted together (see [`Overlap`]).
pub trait Store: Send {
    /// The size when the store was opened or last measured.
    fn geometry(&self) -> Geometry;

    /// Announces the memory that the ring of its worker has registered. Called once, before
    /// the first operation.
    fn join(&mut self, _registered: &Registered) {}

    /// The error since which the store refuses writes, if there was one.
    fn degraded(&self) -> Option<IoError> {
        None
    }

    /// Refuses writes from now on, as after this error: a sync of the file failed before
    /// the store was opened.
    fn degrade(&mut self, _fault: IoError) {}

    /// Accepts an operation, or returns it if the queue is full.
    fn submit(&mut self, op: Op) -> Result<(), Full>;

    /// Hints that these sectors will probably be read or written next. Must be cheap, or do nothing.
    /// The arguments are unchecked.
    fn prefetch(&self, _sector: u64, _sectors: u64) {}

    /// Executes a read or write inline, if that needs no waiting. It then needs no queue
    /// entry and no completion, and its token is ignored. `None`: nothing was done; submit
    /// it. Not called on a store that uses the worker's ring ([`Store::calls`]).
    fn try_inline(&mut self, _op: &mut Op) -> Option<OpResult> {
        None
    }

    /// Starts what can be started, and collects what has finished. Called in every turn, before
    /// [`Store::complete`], in which an operation was submitted or executed inline, or a call has
    /// finished; without [`Store::calls`] while anything is in flight; and every 100 ms.
    fn kick(&mut self) {}

    /// The next finished operation, if there is one.
    fn complete(&mut self) -> Option<Completion>;

    /// Its calls through the ring of its worker. `None` for an engine that completes operations
    /// within `submit`, or has to be polled.
    fn calls(&mut self) -> Option<&mut Calls> {
        None
    }
}
