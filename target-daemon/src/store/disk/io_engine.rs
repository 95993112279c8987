//! What a disk store asks of the system, and what it hears.

use std::os::fd::BorrowedFd;

use crate::store::MemRegion;

/// Memory of one transfer. It belongs to the system from
/// [`Kernel::push`] until the outcome of the call has come out of
/// [`Kernel::next`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoSlice {
    /// Its first byte, as an address.
    pub base: usize,
    /// Its length in bytes.
    pub bytes: u32,
}

/// One asynchronous call. Offsets are in bytes, from the start of the file or
/// device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoRequest {
    /// Fill the memory.
    Read {
        /// From here on.
        at: u64,
        /// Into this.
        memory: IoSlice,
    },
    /// Write the memory.
    Write {
        /// From here on.
        at: u64,
        /// This.
        memory: IoSlice,
        /// Finished only when it is on stable storage (RWF_DSYNC).
        stable: bool,
    },
    /// Make stable whatever was written by calls that had finished before this
    /// one was pushed (`fdatasync`).
    Sync,
    /// Forget a range, which reads as zeros from then on.
    Punch {
        /// Its start.
        at: u64,
        /// Its length.
        bytes: u64,
    },
    /// Find out the size of the file or device.
    Measure,
}

/// Bytes moved, or for [`Call::Measure`] the size; else the errno. A transfer
/// may move less than it was asked to, and 0 at the end of the file.
pub type IoResult = Result<u64, i32>;

/// No room for another call: it was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

/// A system that executes calls asynchronously and in any order: io_uring, or
/// for tests a disk in memory.
pub trait IoEngine: Send {
    /// Told once, before the first call, which memory calls will name.
    fn register(&mut self, areas: &[MemRegion]);

    /// Queues a call under an id of the caller's, to be executed from the next
    /// [`Kernel::submit`] on.
    ///
    /// # Errors
    ///
    /// The queue is full.
    fn push(&mut self, id: u32, call: IoRequest) -> Result<(), QueueFull>;

    /// Hands over what is queued, and lets the system hand back what is done.
    /// At most one system call, and none if there is nothing to hand over
    /// either way.
    fn submit(&mut self);

    /// The id and outcome of the next call that is done.
    fn next(&mut self) -> Option<(u32, IoResult)>;

    /// How far a file reaches at this moment, in bytes; `u64::MAX` for what a
    /// write cannot make longer, or where that cannot be told at once.
    fn end(&self) -> u64;

    /// Whether calls would go on, and write to their memory, after this value is
    /// dropped.
    fn goes_on(&self) -> bool;

    /// The time in nanoseconds, from some start.
    fn now_ns(&self) -> u64;

    /// What becomes readable each time that the system has something to hand
    /// back. It is not read, so wait for the edge. `None` for a disk in memory.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}
