//! The rings of an AF_XDP socket, as plain descriptors.

use std::io;
use std::os::fd::BorrowedFd;

use super::BATCH;

/// One entry of the rx or tx ring. On rx it comes from the kernel: `Lane` checks it
/// before using it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Descriptor {
    /// Offset of the first byte in UMEM.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
    /// Whether the frame continues in the next descriptor.
    pub more: bool,
}

/// The kernel's counters for a socket (XDP_STATISTICS).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RingStatistics {
    /// Frames dropped for a reason not listed below.
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

/// The rx and tx ring of a socket: the kernel's or a fake.
///
/// The caller (`Lane`) maintains the chunk table. It passes an address to `transmit` only
/// if the kernel does not already have its chunk.
pub trait Rings {
    /// The fill and completion ring that belong to them.
    type FillCompletion: FillCompletion;

    /// Number of entries in the rx ring; the tx ring has as many or more.
    fn size(&self) -> u32;

    /// Takes received descriptors; returns their number.
    fn receive(&mut self, out: &mut [Descriptor]) -> usize;

    /// Number of received descriptors that are waiting.
    fn waiting(&mut self) -> usize;

    /// Queues descriptors for sending: all or none. Returns the number queued.
    fn transmit(&mut self, descriptors: &[Descriptor]) -> usize;

    /// Makes the kernel send what is queued, and wakes it for the fill ring if
    /// `fill_asks`. An interface that is down is not an error. Returns the number of
    /// descriptors that the kernel has not taken yet; call again for those.
    fn kick(&mut self, fill_asks: bool) -> io::Result<u32>;

    /// The kernel's counters.
    fn statistics(&self) -> io::Result<RingStatistics>;

    /// The descriptor to poll for received frames; `None` for a fake.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Number of chunks for receiving on a queue with this many sockets: more than their rx rings
/// hold, so that the NIC keeps some while the workers are paused. Some drivers never recover
/// from a receive ring that ran dry (igb in Linux 6.14 to 6.18.16).
pub fn fill_target(rx_ring: u32, sockets: usize) -> u32 {
    rx_ring.saturating_mul(sockets as u32).saturating_add(BATCH as u32)
}

/// The fill and completion ring of a UMEM on a queue. All sockets on the queue share
/// them, so only one thread at a time uses them (`SharedQueues`). As with `Rings`, an
/// address is passed to `fill` only if the kernel does not already have its chunk.
pub trait FillCompletion {
    /// Hands chunks to the kernel for receiving: all of `addrs` or none. Returns the
    /// number handed over.
    fn fill(&mut self, addrs: &[u64]) -> usize;

    /// Takes addresses that the kernel has finished sending; returns their number.
    fn complete(&mut self, out: &mut [u64]) -> usize;

    /// Number of chunks that the kernel should have for receiving ([`fill_target`]).
    fn fill_target(&self) -> u32;

    /// Number of free entries in the fill ring.
    fn fill_room(&mut self) -> u32;

    /// Whether the kernel needs a wakeup after entries were added to the fill ring.
    fn needs_wakeup(&self) -> bool;
}
