//! The kernel's rings, through xsk-rs. The `unsafe` ring operations of xsk-rs are called
//! only here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue, Umem};

use super::rings::fill_target;
use super::{BATCH, Descriptor, FillCompletion, RingStatistics, Rings, SocketConfig};

/// Maximum number of calls in one kick; the next kick sends the rest.
const KICKS_MAX: u32 = 64;

/// How the socket was bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoundMode {
    pub(super) zero_copy: bool,
    pub(super) multi_fragment: bool,
}

/// The kernel's rx and tx ring of one socket.
///
/// Field order is drop order: the queues hold the socket, which holds the UMEM.
#[derive(Debug)]
pub struct XskRings {
    rx: RxQueue,
    tx: TxQueue,
    umem: Umem,
    /// For each chunk, the descriptor of the address right after the headroom.
    chunk_descriptors: Arc<[FrameDesc]>,
    /// For each chunk, the last descriptor received at any other address. Kept because
    /// xsk-rs cannot make a descriptor for an arbitrary address.
    offset_descriptors: Vec<FrameDesc>,
    chunk_shift: u32,
    tx_size: u32,
    mode: BoundMode,
    busy_poll: bool,
    scratch: [FrameDesc; BATCH],
}

/// The kernel's fill and completion ring of a UMEM at a queue.
#[derive(Debug)]
pub struct XskFillCompletion {
    fill: FillQueue,
    completion: CompQueue,
    chunk_descriptors: Arc<[FrameDesc]>,
    chunk_shift: u32,
    fill_target: u32,
    scratch: [FrameDesc; BATCH],
}

impl XskFillCompletion {
    pub(super) fn new(
        fill: FillQueue,
        completion: CompQueue,
        chunk_descriptors: Arc<[FrameDesc]>,
        wanted: &SocketConfig,
        sockets: usize,
    ) -> Self {
        Self {
            fill,
            completion,
            chunk_descriptors,
            chunk_shift: wanted.chunk_bytes.trailing_zeros(),
            fill_target: fill_target(wanted.rx_ring, sockets),
            scratch: [FrameDesc::default(); BATCH],
        }
    }
}

impl XskRings {
    pub(super) fn new(
        (tx, rx): (TxQueue, RxQueue),
        umem: Umem,
        chunk_descriptors: Arc<[FrameDesc]>,
        mode: BoundMode,
        wanted: &SocketConfig,
    ) -> io::Result<Self> {
        let rings = Self {
            rx,
            tx,
            umem,
            offset_descriptors: chunk_descriptors.to_vec(),
            chunk_descriptors,
            chunk_shift: wanted.chunk_bytes.trailing_zeros(),
            tx_size: wanted.tx_ring,
            mode,
            busy_poll: wanted.busy_poll.is_some(),
            scratch: [FrameDesc::default(); BATCH],
        };
        if let Some(socket) = rings.fd() {
            // AF_XDP sends in no other way.
            fcntl_setfl(socket, OFlags::NONBLOCK)?;
        }
        Ok(rings)
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// Makes the kernel send what is in the tx ring. By a `write` of nothing: for a `sendto`, whose
    /// address the sandbox has to look at, the kernel runs all filters each time.
    fn wake_up(&self) -> io::Result<()> {
        let Some(socket) = self.fd() else { return Ok(()) };
        match rustix::io::write(socket, &[]) {
            // The next kick sends the rest, or the link is down.
            Ok(_) | Err(Errno::NOBUFS | Errno::AGAIN | Errno::BUSY | Errno::NETDOWN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the NIC accesses the UMEM directly.
    pub fn zero_copy(&self) -> bool {
        self.mode.zero_copy
    }

    /// Whether a frame may be longer than a chunk.
    pub fn multi_fragment(&self) -> bool {
        self.mode.multi_fragment
    }

    /// The descriptor of an address, with its length set.
    fn describe(&self, descriptor: &Descriptor) -> Option<FrameDesc> {
        let chunk = (descriptor.addr >> self.chunk_shift) as usize;
        let at_home = self.chunk_descriptors.get(chunk).filter(|d| d.addr() as u64 == descriptor.addr);
        let mut desc = match at_home {
            Some(desc) => *desc,
            None => *self.offset_descriptors.get(chunk).filter(|d| d.addr() as u64 == descriptor.addr)?,
        };
        // SAFETY: this only sets the length inside `desc`. The slice made for that covers
        // a chunk that, according to `Lane`'s chunk table, the kernel does not have, and
        // no reference into it is alive during this call.
        unsafe { self.umem.data_mut(&mut desc) }.cursor().set_pos(descriptor.len as usize);
        desc.set_options(u32::from(descriptor.more));
        Some(desc)
    }
}

impl Rings for XskRings {
    type FillCompletion = XskFillCompletion;

    fn size(&self) -> u32 {
        self.tx_size
    }

    fn receive(&mut self, out: &mut [Descriptor]) -> usize {
        let wanted = out.len().min(BATCH);
        let Some(scratch) = self.scratch.get_mut(..wanted) else {
            return 0;
        };
        // SAFETY: the overwritten descriptors are copies.
        let n = unsafe { self.rx.consume(scratch) };
        for (to, desc) in out.iter_mut().zip(scratch.iter()).take(n) {
            let chunk = desc.addr() >> self.chunk_shift;
            if self.chunk_descriptors.get(chunk).is_some_and(|home| home.addr() != desc.addr())
                && let Some(stray) = self.offset_descriptors.get_mut(chunk)
            {
                *stray = *desc;
            }
            *to = Descriptor {
                addr: desc.addr() as u64,
                len: desc.lengths().data() as u32,
                more: desc.has_more_frames(),
            };
        }
        n
    }

    fn waiting(&mut self) -> usize {
        self.rx.nb_avail_exact() as usize
    }

    fn transmit(&mut self, descriptors: &[Descriptor]) -> usize {
        let mut descs = [FrameDesc::default(); BATCH];
        for (to, descriptor) in descs.iter_mut().zip(descriptors) {
            let Some(desc) = self.describe(descriptor) else { return 0 };
            *to = desc;
        }
        // SAFETY: as in `fill`: these chunks belonged to a frame until now, and the chunk
        // table has moved them to `Tx`.
        unsafe { self.tx.produce(descs.get(..descriptors.len()).unwrap_or(&[])) }
    }

    fn kick(&mut self, fill_asks: bool) -> io::Result<u32> {
        if self.busy_poll || fill_asks {
            self.rx.poll(0)?;
        }
        let mut queued = self.tx_size - self.tx.nb_free_exact();
        for _ in 0..KICKS_MAX {
            if queued == 0 || !self.tx.needs_wakeup() {
                break;
            }
            self.wake_up()?;
            let left = self.tx_size - self.tx.nb_free_exact();
            if left >= queued {
                // No progress: the link is down or its queue is full.
                break;
            }
            queued = left;
        }
        Ok(queued)
    }

    fn statistics(&self) -> io::Result<RingStatistics> {
        let s = self.rx.fd().xdp_statistics()?;
        Ok(RingStatistics {
            rx_dropped: s.rx_dropped(),
            rx_ring_full: s.rx_ring_full(),
            fill_ring_empty: s.rx_fill_ring_empty_descs(),
            rx_invalid: s.rx_invalid_descs(),
            tx_invalid: s.tx_invalid_descs(),
            tx_ring_empty: s.tx_ring_empty_descs(),
        })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the socket stays open as long as `rx`, which is borrowed.
        Some(unsafe { BorrowedFd::borrow_raw(self.rx.fd().as_raw_fd()) })
    }
}

impl FillCompletion for XskFillCompletion {
    fn fill(&mut self, addrs: &[u64]) -> usize {
        let mut descs = [FrameDesc::default(); BATCH];
        for (to, addr) in descs.iter_mut().zip(addrs) {
            let Some(home) = self.chunk_descriptors.get((addr >> self.chunk_shift) as usize) else {
                return 0;
            };
            *to = *home;
        }
        // SAFETY: the addresses belong to this UMEM, and `Lane`'s chunk table hands out
        // only chunks that neither the kernel nor a frame has.
        unsafe { self.fill.produce(descs.get(..addrs.len()).unwrap_or(&[])) }
    }

    fn complete(&mut self, out: &mut [u64]) -> usize {
        let wanted = out.len().min(BATCH);
        let Some(scratch) = self.scratch.get_mut(..wanted) else {
            return 0;
        };
        // SAFETY: the overwritten descriptors are copies.
        let n = unsafe { self.completion.consume(scratch) };
        for (to, desc) in out.iter_mut().zip(scratch.iter()).take(n) {
            *to = desc.addr() as u64;
        }
        n
    }

    fn fill_target(&self) -> u32 {
        self.fill_target
    }

    fn fill_room(&mut self) -> u32 {
        self.fill.nb_free_exact()
    }

    fn needs_wakeup(&self) -> bool {
        self.fill.needs_wakeup()
    }
}
