//! Bytes at rest.
//!
//! A store takes operations by [`submit`](crate::store::Store::submit) and
//! gives each back exactly once by [`complete`](crate::store::Store::complete),
//! in any order: a synchronous engine has the completion ready when `submit`
//! returns, an asynchronous one later. A write that completes without a fault
//! is as durable as the store's [`Durability`](crate::store::Durability) says;
//! there is no later moment (the Linux initiator never flushes).
//!
//! ```text
//! open ──► lock, device, discard
//!   │                        what may be opened at all, and by whom else
//!   ├────► disk ──► io_uring                     files on a disk, devices: past the page cache
//!   │                                            (dio), else through it
//!   └────► MmapStore ──► mapping ──► sigbus      files in memory: reads, volatile writes
//!              └───────► descriptor              their durable writes; all, without io_uring
//! choose                     which of them a file or device gets
//! sharing                    which of them would get in each other's way
//! NullStore, FakeStore       no bytes; bytes in memory in an order of the test's choice
//! Overlap                    which operations may be given to a store together
//! Faulty                     any of them, going wrong now and then, for tests
//! ```

mod io_vec;
mod select;
mod completion_queue;
mod descriptor;
mod device;
mod dio;
mod discard;
pub mod disk;
mod error;
pub mod fake;
mod io_error;
pub mod faulty;
mod identity;
mod lock;
mod mapping;
mod write_cache;
mod memory;
mod mmap;
mod null;
mod open;
mod overlap;
mod ranges;
mod file_facts;
mod sharing;
mod sigbus;

use std::os::fd::BorrowedFd;

use crate::plant::{Bug, planted};

pub use completion_queue::QUEUE_MAX;
pub use error::{Denied, OpenError, Warning, same_bytes, two_ways};
pub use fake::FakeStore;
pub use faulty::Faulty;
pub use identity::{Data, Identity, OpenFile, Replaced};
pub use io_vec::{IoVec, SEGMENTS_MAX};
pub use lock::Holder;
pub use mmap::MmapStore;
pub use null::NullStore;
pub use open::{Access, OpenOptions, Sync, data, examine, in_conflict};
pub use overlap::{Overlap, OverlapFull, Span};
pub use ranges::{Extent, ranges, span};
pub use select::{Opened, open};
pub use sharing::Expected;

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
    /// Forget sectors: the buffers hold the ranges, as DATA SET MANAGEMENT
    /// sends them, and the sectors read as zeros from then on.
    Discard,
    /// Look again at the size of the file or device. Afterwards
    /// [`Store::geometry`] tells it; if it cannot be found out, the old one.
    Measure,
}

impl Kind {
    /// Whether it changes bytes at rest.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Discard)
    }
}

/// One operation, on its way to a store. The memory in `buffers` belongs to
/// the operation until its completion has been returned.
#[derive(Debug)]
pub struct Op {
    /// Comes back in the completion.
    pub token: u32,
    /// What to do.
    pub kind: Kind,
    /// First sector, counted from the start of the export.
    pub sector: u64,
    /// The memory; empty for a flush and a measurement. Its length is a
    /// multiple of [`SECTOR_BYTES`].
    pub buffers: IoVec,
}

impl Op {
    /// Where a read or write starts, in bytes from the start of the export, if
    /// it lies within `geometry` as a whole and is of whole sectors. The same
    /// for a discard, if every [range](ranges) of it lies within, but those say
    /// themselves where they start. All else lies everywhere.
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

/// The end of one operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The token of the operation.
    pub token: u32,
    /// `Ok` only if all of it was done, and for a write if it is as durable
    /// as promised.
    pub result: Result<(), IoError>,
}

/// Why an operation failed. Small and `Copy`: the data path allocates nothing.
/// After a fault the memory of a read, and the sectors of a write, hold old
/// bytes, new bytes or a mixture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoError {
    /// The medium did not give or take the data (EIO, a truncated file).
    Media,
    /// No space left behind a sparse or thin store.
    NoSpace,
    /// The store does not take writes: it was opened so, or a flush failed.
    ReadOnly,
    /// The sectors lie outside the store.
    Range,
    /// Any other error of the system.
    System,
    /// The system could not do it just now (EAGAIN, ENOMEM): nobody is told,
    /// and the initiator sends it again.
    Transient,
}

/// Size and shape of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// The device's own write unit in bytes: 512 or 4096, say.
    pub physical_bytes: u32,
    /// What the store reads and writes at once, in bytes. A write of a part of
    /// such a block is a read, a change and a write of all of it, so two of
    /// them must not run at the same time.
    pub block_bytes: u32,
    /// Whether it can forget sectors ([`Kind::Discard`]).
    pub discards: bool,
}

impl Geometry {
    /// So many sectors, that are read and written one by one and not
    /// forgotten.
    pub fn new(sectors: u64, physical_bytes: u32) -> Self {
        Self { sectors, physical_bytes, block_bytes: SECTOR_BYTES as u32, discards: false }
    }
}

/// What an acknowledged write has survived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// It is on stable storage.
    Durable,
    /// It is in the page cache; a power cut may lose it.
    Volatile,
}

/// The queue is full: nothing was done, and the operation comes back.
#[derive(Debug)]
pub struct Full(pub Op);

/// Memory that the buffers of operations lie in: the UMEM of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemRegion {
    /// Its first byte, as an address.
    pub base: usize,
    /// Its length in bytes.
    pub bytes: usize,
}

/// An engine under an export. Owned and called by one worker.
///
/// An implementation drops the [`Buffers`] of an operation before it returns
/// its completion: from then on the frame behind them is used again.
///
/// It executes operations in any order: that those which touch the same block
/// are not submitted together is the worker's business (see [`Overlap`]).
pub trait Store: Send {
    /// The size last seen when the store was opened or measured.
    fn geometry(&self) -> Geometry;

    /// Told once, before the first operation, where buffers will lie, so that
    /// they can be known to the kernel beforehand. The areas stay mapped for
    /// as long as the store lives.
    fn register(&mut self, areas: &[MemRegion]) {
        let _ = areas;
    }

    /// The fault since which the store takes no more writes, if there was one.
    fn degraded(&self) -> Option<IoError> {
        None
    }

    /// Takes no more writes from now on, as after this fault: a sync of the file
    /// has failed before the store was opened.
    fn degrade(&mut self, fault: IoError) {
        let _ = fault;
    }

    /// Takes an operation, or gives it back if the queue is full.
    fn submit(&mut self, op: Op) -> Result<(), Full>;

    /// These sectors will probably be read next. A hint, to be taken at no cost
    /// or not at all: nothing was checked.
    fn prefetch(&self, sector: u64, sectors: u64) {
        let _ = (sector, sectors);
    }

    /// Does a read or a write at once, if that needs no waiting: then it needs no
    /// place in a queue and no completion, and its token means nothing. `None`:
    /// nothing was done; submit it. Not asked of a store with a descriptor
    /// ([`Store::fd`]).
    fn try_inline(&mut self, op: &mut Op) -> Option<Result<(), IoError>> {
        let _ = op;
        None
    }

    /// Hands what was submitted since the last call to the system, with one
    /// call for all of it, and lets the system hand back what is finished.
    /// Called once a turn, before [`Store::complete`], while anything is under
    /// way or after something was done at once.
    fn kick(&mut self) {}

    /// The next finished operation, if there is one.
    fn complete(&mut self) -> Option<Completion>;

    /// What becomes readable each time that operations may have finished. It is
    /// never read: wait for the edge (EPOLLET). `None` for an engine that is
    /// done when `submit` returns.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
