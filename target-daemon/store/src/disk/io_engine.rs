//! The interface between a disk store and the system under it.

use super::ring::{Calls, Registered};

/// The memory of one transfer. It belongs to the engine from [`IoEngine::push`] until
/// [`IoEngine::next`] has returned the result of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoSlice {
    /// The address of its first byte.
    pub base: usize,
    /// Its length in bytes.
    pub bytes: u32,
}

/// One asynchronous call. Offsets are in bytes from the start of the file or device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoRequest {
    /// Fill the memory.
    Read {
        /// The offset.
        at: u64,
        /// The destination.
        memory: IoSlice,
    },
    /// Write the memory.
    Write {
        /// The offset.
        at: u64,
        /// The source.
        memory: IoSlice,
        /// Complete only when the data is on stable storage (RWF_DSYNC).
        stable: bool,
    },
    /// Make stable all data written by calls that had finished before this one was pushed
    /// (`fdatasync`).
    Sync,
    /// Discard a range, which reads as zeros from then on.
    Punch {
        /// Its start.
        at: u64,
        /// Its length.
        bytes: u64,
    },
    /// Get the size of the file or device.
    Measure,
}

/// The number of bytes moved, or the size for [`IoRequest::Measure`]; otherwise the errno. A
/// transfer may move less than requested, and moves 0 at the end of the file.
pub type IoResult = Result<u64, i32>;

/// The queue is full; the call was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

/// Executes calls asynchronously and in any order: io_uring, or a simulated disk in tests.
pub trait IoEngine: Send {
    /// Announces the memory that the worker's ring has registered. Called once, before the
    /// first call.
    fn join(&mut self, _registered: &Registered) {}

    /// Queues a call under an id of the caller. Execution may start at the next
    /// [`IoEngine::submit`].
    ///
    /// # Errors
    ///
    /// The queue is full.
    fn push(&mut self, id: u32, call: IoRequest) -> Result<(), QueueFull>;

    /// Submits the queued calls, if the ring of the worker does not.
    fn submit(&mut self) {}

    /// The id and result of the next finished call.
    fn next(&mut self) -> Option<(u32, IoResult)>;

    /// The current end of the file in bytes. `u64::MAX` if a write cannot extend it, or if the
    /// size cannot be found without waiting.
    fn end(&self) -> u64;

    /// Whether calls would continue, and write to their memory, after this value is dropped.
    fn goes_on(&self) -> bool;

    /// Monotonic time in nanoseconds.
    fn now_ns(&self) -> u64;

    /// The calls that the worker's ring executes; `None` for a simulated disk.
    fn calls(&mut self) -> Option<&mut Calls> {
        None
    }
}
