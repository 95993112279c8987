//! The rings of an AF_XDP socket, as plain descriptors.

use std::io;
use std::os::fd::BorrowedFd;

/// One entry of the rx or tx ring. Comes from the kernel, so nothing in it is
/// believed before `Lane` has checked it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Descriptor {
    /// Offset in UMEM of the first byte.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
    /// Whether the frame goes on in the next descriptor.
    pub more: bool,
}

/// What the kernel counts for a socket (XDP_STATISTICS).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RingStatistics {
    /// Frames dropped for other reasons than those below.
    pub rx_dropped: u64,
    /// Frames dropped because the rx ring was full.
    pub rx_ring_full: u64,
    /// Frames dropped because the fill ring was empty.
    pub fill_ring_empty: u64,
    /// Fill entries that the kernel refused.
    pub rx_invalid: u64,
    /// Tx entries that the kernel refused.
    pub tx_invalid: u64,
    /// Times that the kernel found nothing to send.
    pub tx_ring_empty: u64,
}

/// The rx and tx ring of a socket: the kernel's or a fake's.
///
/// The caller (`Lane`) keeps the chunk table: an address goes to `transmit` only when
/// its chunk is not with the kernel already.
pub trait Rings {
    /// The fill and completion ring that go with them.
    type FillCompletion: FillCompletion;

    /// Takes received descriptors; returns how many.
    fn receive(&mut self, out: &mut [Descriptor]) -> usize;

    /// How many received descriptors wait.
    fn waiting(&mut self) -> usize;

    /// Queues descriptors for sending: all of them, or none. Returns how many.
    fn transmit(&mut self, descriptors: &[Descriptor]) -> usize;

    /// Makes the kernel send what is queued, and look at the fill ring if that
    /// asks for it. An interface that is down is not an error. Returns how
    /// many descriptors the kernel has not taken yet; kick again for those.
    fn kick(&mut self, fill_asks: bool) -> io::Result<u32>;

    /// The kernel's counters.
    fn statistics(&self) -> io::Result<RingStatistics>;

    /// What to wait on for received frames; `None` for a fake.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// The fill and completion ring of a UMEM at a queue. All sockets there share
/// them, so one thread at a time uses them (`SharedQueues`), and, as with `Rings`, an
/// address goes to `fill` only when its chunk is not with the kernel already.
pub trait FillCompletion {
    /// Hands chunks to the kernel for receiving: all of `addrs`, or none.
    /// Returns how many.
    fn fill(&mut self, addrs: &[u64]) -> usize;

    /// Takes addresses that the kernel has finished sending; returns how many.
    fn complete(&mut self, out: &mut [u64]) -> usize;

    /// Entries that the fill ring has.
    fn fill_size(&self) -> u32;

    /// How many of them are free.
    fn fill_room(&mut self) -> u32;

    /// Whether the kernel wants to be told when the fill ring has entries.
    fn needs_wakeup(&self) -> bool;
}
