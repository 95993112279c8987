//! The kernel's rings, through xsk-rs: the only place that calls its `unsafe`
//! ring operations.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, SocketConfig, UmemConfig};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

use super::{BATCH, Descriptor, Memory, RingStatistics, Rings};

/// How long a bind is repeated while the kernel still tears down the socket
/// that was bound before (13–20 ms after a close, and for as long as one of its
/// rings stays mapped).
const REBIND_LIMIT: Duration = Duration::from_secs(2);

/// Frames that one `sendto` may send in copy mode, where the kernel lets us
/// raise it from 32 (XDP_MAX_TX_SKB_BUDGET, Linux 6.17).
const TX_BUDGET: u32 = 256;

/// Most `sendto` calls in one kick; what is left goes with the next one.
const KICKS_MAX: u32 = 64;

/// Whether to use the driver's zero-copy mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZeroCopy {
    /// Where the driver has it.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// Busy polling of the NIC from this thread (SO_PREFER_BUSY_POLL).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusyPoll {
    /// SO_BUSY_POLL, in microseconds.
    pub micros: u32,
    /// SO_BUSY_POLL_BUDGET, in frames.
    pub budget: u32,
}

/// What to open.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Interface name.
    pub interface: String,
    /// Receive queue.
    pub queue: u32,
    /// Chunks in UMEM.
    pub chunks: u32,
    /// Bytes in a chunk: 2048 or 4096.
    pub chunk_bytes: u32,
    /// Entries of the rx ring; the fill ring has as many.
    pub rx_ring: u32,
    /// Entries of the tx ring; the completion ring has as many.
    pub tx_ring: u32,
    /// UMEM on huge pages.
    pub huge_pages: bool,
    /// Zero-copy mode.
    pub zero_copy: ZeroCopy,
    /// Busy polling.
    pub busy_poll: Option<BusyPoll>,
}

/// Why the rings could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A size that the kernel would refuse.
    #[error("{what} {value} is not usable: {remedy}")]
    Size {
        /// Which size.
        what: &'static str,
        /// Its value.
        value: u32,
        /// What to do.
        remedy: &'static str,
    },
    /// No memory for the UMEM.
    #[error(
        "cannot make a UMEM of {mib} MiB{huge}: {source} (lower --umem-chunks, raise the limit of \
         locked memory, or reserve huge pages in vm.nr_hugepages)"
    )]
    Umem {
        /// Its size.
        mib: u64,
        /// " on huge pages", or nothing.
        huge: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The socket could not be bound.
    #[error("cannot bind an AF_XDP socket to {interface} queue {queue}: {source}{hint}")]
    Bind {
        /// Interface name.
        interface: String,
        /// Queue.
        queue: u32,
        /// What to do, where known.
        hint: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A socket option was refused.
    #[error("cannot set {option} on {interface}: {source}")]
    Option {
        /// Interface name.
        interface: String,
        /// Option name.
        option: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// The kernel's rings of one socket.
///
/// Field order is drop order: the queues hold the socket, which holds the UMEM.
#[derive(Debug)]
pub struct XskRings {
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    umem: Umem,
    /// A descriptor for each chunk, at the address behind the headroom.
    homes: Vec<FrameDesc>,
    /// The last descriptor received in each chunk whose frame did not start
    /// there: xsk-rs makes no descriptor for an address of ours.
    strays: Vec<FrameDesc>,
    chunk_shift: u32,
    fill_size: u32,
    tx_size: u32,
    zero_copy: bool,
    busy_poll: bool,
    scratch: [FrameDesc; BATCH],
}

/// Opens and binds a socket. The XDP program is not touched.
pub fn open(wanted: &Wanted) -> Result<(XskRings, Memory), OpenError> {
    let (umem, homes) = make_umem(wanted)?;
    let memory = memory_of(&umem, &homes, wanted)?;
    let (socket, zero_copy) = bind(&umem, wanted)?;
    let (tx, rx, Some((fill, completion))) = socket else {
        return Err(bind_error(wanted, io::Error::other("the UMEM has no rings of its own")));
    };
    let rings = XskRings {
        rx,
        tx,
        fill,
        completion,
        umem,
        strays: homes.clone(),
        homes,
        chunk_shift: wanted.chunk_bytes.trailing_zeros(),
        fill_size: wanted.rx_ring,
        tx_size: wanted.tx_ring,
        zero_copy,
        busy_poll: wanted.busy_poll.is_some(),
        scratch: [FrameDesc::default(); BATCH],
    };
    rings.set_options(wanted)?;
    Ok((rings, memory))
}

fn make_umem(wanted: &Wanted) -> Result<(Umem, Vec<FrameDesc>), OpenError> {
    let size = |what, value, remedy| OpenError::Size { what, value, remedy };
    let power = "give a power of two";
    let chunk = "give 2048 or 4096 (a chunk is at most one page)";
    let config = UmemConfig::builder()
        .frame_size(wanted.chunk_bytes.try_into().map_err(|_| size("chunk size", wanted.chunk_bytes, chunk))?)
        .fill_queue_size(wanted.rx_ring.try_into().map_err(|_| size("rx ring size", wanted.rx_ring, power))?)
        .comp_queue_size(wanted.tx_ring.try_into().map_err(|_| size("tx ring size", wanted.tx_ring, power))?)
        .build()
        .map_err(|_| size("chunk size", wanted.chunk_bytes, chunk))?;
    let fits = wanted.chunks.checked_mul(wanted.chunk_bytes).is_some();
    let chunks = NonZeroU32::new(wanted.chunks).filter(|_| fits).ok_or(size(
        "number of chunks",
        wanted.chunks,
        "give at least 1, and at most 4 GiB in all",
    ))?;
    Umem::new(config, chunks, wanted.huge_pages).map_err(|e| OpenError::Umem {
        mib: u64::from(wanted.chunks) * u64::from(wanted.chunk_bytes) >> 20,
        huge: if wanted.huge_pages { " on huge pages" } else { "" },
        source: source_of(&e),
    })
}

fn memory_of(umem: &Umem, homes: &[FrameDesc], wanted: &Wanted) -> Result<Memory, OpenError> {
    let area = || {
        let mut first = *homes.first()?;
        let headroom = first.addr();
        // SAFETY: nothing has been handed to the kernel yet, and no other
        // reference into the UMEM exists.
        let mut data = unsafe { umem.data_mut(&mut first) };
        let room = data.cursor().buf_len();
        data.cursor().set_pos(room);
        let start = data.contents_mut().as_mut_ptr();
        // SAFETY: `start` is `headroom` bytes into the mapping.
        let base = NonNull::new(unsafe { start.sub(headroom) })?;
        // SAFETY: the mapping has `chunks * chunk_bytes` bytes and lives as
        // long as a `Umem` handle does; only the kernel and `Memory` use it:
        // `XskRings` reads and writes descriptors, never data.
        unsafe {
            Memory::new(base, wanted.chunks, wanted.chunk_bytes, headroom as u32, Arc::new(umem.clone()))
        }
    };
    area().ok_or(OpenError::Size {
        what: "number of chunks",
        value: wanted.chunks,
        remedy: "give at least 1, and at most 4 GiB in all",
    })
}

type Queues = (TxQueue, RxQueue, Option<(FillQueue, CompQueue)>);

/// Zero-copy where wanted and possible, else copy mode; says which.
fn bind(umem: &Umem, wanted: &Wanted) -> Result<(Queues, bool), OpenError> {
    if wanted.zero_copy == ZeroCopy::Auto
        && let Ok(queues) = bind_patiently(umem, wanted, BindFlags::XDP_ZEROCOPY)
    {
        return Ok((queues, true));
    }
    let queues = bind_patiently(umem, wanted, BindFlags::XDP_COPY).map_err(|e| bind_error(wanted, e))?;
    Ok((queues, false))
}

fn bind_patiently(umem: &Umem, wanted: &Wanted, mode: BindFlags) -> io::Result<Queues> {
    let started = Instant::now();
    loop {
        match bind_once(umem, wanted, mode) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && started.elapsed() < REBIND_LIMIT => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn bind_once(umem: &Umem, wanted: &Wanted, mode: BindFlags) -> io::Result<Queues> {
    let ring = |n: u32| n.try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    let config = SocketConfig::builder()
        .rx_queue_size(ring(wanted.rx_ring)?)
        .tx_queue_size(ring(wanted.tx_ring)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(mode | BindFlags::XDP_USE_NEED_WAKEUP | BindFlags::XDP_USE_SG)
        .build();
    let interface: Interface =
        wanted.interface.parse().map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: the UMEM is fresh, so no other socket of it shares this
    // interface and queue; a socket of another UMEM there makes the bind fail.
    unsafe { Socket::new(config, umem, &interface, wanted.queue) }.map_err(|e| source_of(&e))
}

fn bind_error(wanted: &Wanted, source: io::Error) -> OpenError {
    let hint = match source.raw_os_error() {
        Some(libc::EBUSY) => " (another process has a socket on this queue)",
        Some(libc::EINVAL) => " (Linux 6.6 or newer is needed; the queue must exist)",
        Some(libc::ENOBUFS) => " (raise the limit of locked memory)",
        Some(libc::EPERM) => " (run as root, or with CAP_NET_RAW)",
        _ => "",
    };
    OpenError::Bind { interface: wanted.interface.clone(), queue: wanted.queue, hint, source }
}

/// The system's error inside one of xsk-rs.
fn source_of(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let inner = error.source().and_then(|e| e.downcast_ref::<io::Error>());
    match inner.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}

impl XskRings {
    /// Whether the NIC reads and writes UMEM itself.
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    fn set_options(&self, wanted: &Wanted) -> Result<(), OpenError> {
        const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
        // An older kernel does not know it: then 32 frames go with each call.
        let _ = self.set_option(libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, TX_BUDGET.min(wanted.tx_ring));
        let Some(busy) = wanted.busy_poll else {
            return Ok(());
        };
        let options = [
            ("SO_PREFER_BUSY_POLL", libc::SO_PREFER_BUSY_POLL, 1),
            ("SO_BUSY_POLL", libc::SO_BUSY_POLL, busy.micros),
            ("SO_BUSY_POLL_BUDGET", libc::SO_BUSY_POLL_BUDGET, busy.budget),
        ];
        for (option, name, value) in options {
            self.set_option(libc::SOL_SOCKET, name, value).map_err(|source| OpenError::Option {
                interface: wanted.interface.clone(),
                option,
                source,
            })?;
        }
        Ok(())
    }

    fn set_option(&self, level: libc::c_int, name: libc::c_int, value: u32) -> io::Result<()> {
        let fd = self.rx.fd().as_raw_fd();
        // SAFETY: `value` lives for the call, and its size is given.
        let status = unsafe {
            libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<u32>() as libc::socklen_t)
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The descriptor of an address, with its length set.
    fn describe(&self, descriptor: &Descriptor) -> Option<FrameDesc> {
        let chunk = (descriptor.addr >> self.chunk_shift) as usize;
        let at_home = self.homes.get(chunk).filter(|d| d.addr() as u64 == descriptor.addr);
        let mut desc = match at_home {
            Some(desc) => *desc,
            None => *self.strays.get(chunk).filter(|d| d.addr() as u64 == descriptor.addr)?,
        };
        // SAFETY: only the length inside `desc` is set; the slice that is made
        // for it covers a chunk that `Lane`'s ledger says is not the kernel's,
        // and no reference into it is alive during this call.
        unsafe { self.umem.data_mut(&mut desc) }.cursor().set_pos(descriptor.len as usize);
        desc.set_options(u32::from(descriptor.more));
        Some(desc)
    }
}

impl Rings for XskRings {
    fn receive(&mut self, out: &mut [Descriptor]) -> usize {
        let wanted = out.len().min(BATCH);
        let Some(scratch) = self.scratch.get_mut(..wanted) else {
            return 0;
        };
        // SAFETY: the descriptors that are overwritten are copies.
        let n = unsafe { self.rx.consume(scratch) };
        for (to, desc) in out.iter_mut().zip(scratch.iter()).take(n) {
            let chunk = desc.addr() >> self.chunk_shift;
            if self.homes.get(chunk).is_some_and(|home| home.addr() != desc.addr())
                && let Some(stray) = self.strays.get_mut(chunk)
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

    fn fill(&mut self, addrs: &[u64]) -> usize {
        let mut descs = [FrameDesc::default(); BATCH];
        let mut n = 0;
        for (to, addr) in descs.iter_mut().zip(addrs) {
            let Some(home) = self.homes.get((addr >> self.chunk_shift) as usize) else {
                return 0;
            };
            *to = *home;
            n += 1;
        }
        // SAFETY: the addresses belong to this UMEM, and `Lane`'s ledger hands
        // out only chunks that neither the kernel nor a frame has.
        unsafe { self.fill.produce(descs.get(..n).unwrap_or(&[])) }
    }

    fn transmit(&mut self, descriptors: &[Descriptor]) -> usize {
        let mut descs = [FrameDesc::default(); BATCH];
        let mut n = 0;
        for (to, descriptor) in descs.iter_mut().zip(descriptors) {
            let Some(desc) = self.describe(descriptor) else {
                return 0;
            };
            *to = desc;
            n += 1;
        }
        // SAFETY: as in `fill`: these chunks were a frame's until now, and the
        // ledger has moved them to `Tx`.
        unsafe { self.tx.produce(descs.get(..n).unwrap_or(&[])) }
    }

    fn complete(&mut self, out: &mut [u64]) -> usize {
        let wanted = out.len().min(BATCH);
        let Some(scratch) = self.scratch.get_mut(..wanted) else {
            return 0;
        };
        // SAFETY: the descriptors that are overwritten are copies.
        let n = unsafe { self.completion.consume(scratch) };
        for (to, desc) in out.iter_mut().zip(scratch.iter()).take(n) {
            *to = desc.addr() as u64;
        }
        n
    }

    fn kick(&mut self) -> io::Result<u32> {
        if self.busy_poll || self.fill.needs_wakeup() {
            self.rx.poll(0)?;
        }
        let mut queued = self.tx_size - self.tx.nb_free_exact();
        for _ in 0..KICKS_MAX {
            if queued == 0 || !self.tx.needs_wakeup() {
                break;
            }
            self.tx.wakeup()?;
            let left = self.tx_size - self.tx.nb_free_exact();
            if left >= queued {
                // No progress: the link is down or its queue full.
                break;
            }
            queued = left;
        }
        Ok(queued)
    }

    fn fill_size(&self) -> u32 {
        self.fill_size
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
