//! Opening an AF_XDP socket: UMEM, rings, bind, options.

use std::io;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, SocketConfig as XskConfig, UmemConfig};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem as XskUmem};

use super::chunk_table::LANES_MAX;
use super::rings::fill_target;
use super::xsk::{BoundMode, XskFillCompletion, XskRings};
use super::{Lane, Umem};

/// How long to retry a bind while the kernel is still tearing down the previous socket
/// (13–20 ms after a close, and for as long as one of its rings stays mapped).
const REBIND_LIMIT: Duration = Duration::from_secs(2);

/// Frames that one `sendto` may send in copy mode. The kernel's default is 32; since
/// Linux 6.17 it can be raised (XDP_MAX_TX_SKB_BUDGET).
const TX_BUDGET: u32 = 256;

/// Headroom in front of a frame, in addition to the 256 bytes that the kernel keeps. An
/// untagged request has 36 bytes of headers, so its data starts 512 bytes into the chunk.
/// The sectors of a frame that fits in one chunk are therefore aligned for direct I/O and
/// need no copy.
const HEADROOM: u32 = 512 - 36 - 256;

/// Whether to use the driver's zero-copy mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZeroCopy {
    /// Use it if the driver supports it.
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

/// Parameters of the sockets to open.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// Interface name.
    pub interface: String,
    /// Receive queue.
    pub queue: u32,
    /// Chunks in UMEM.
    pub chunks: u32,
    /// Bytes in a chunk: 2048 or 4096.
    pub chunk_bytes: u32,
    /// Entries in the rx ring.
    pub rx_ring: u32,
    /// Entries in the tx ring and in the completion ring.
    pub tx_ring: u32,
    /// Whether the UMEM is on huge pages.
    pub huge_pages: bool,
    /// Zero-copy mode.
    pub zero_copy: ZeroCopy,
    /// Whether to accept frames longer than a chunk, if the kernel supports them (6.6).
    pub multi_fragment: bool,
    /// Whether the interface's current MTU allows such frames.
    pub long_frames: bool,
    /// Busy polling.
    pub busy_poll: Option<BusyPoll>,
}

/// Why the rings could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String, #[source] Option<io::Error>);

/// Opens and binds a socket and fills its rings. Does not touch the XDP program.
///
/// # Errors
///
/// An [`OpenError`].
pub fn open(wanted: &SocketConfig) -> Result<Lane<XskRings>, OpenError> {
    let lane = open_several(wanted, 1)?.pop();
    lane.ok_or_else(|| bind_error(wanted, io::Error::other("there is no socket")))
}

/// As [`open`], but opens `sockets` of them. They share UMEM, fill ring and completion
/// ring; each has its own rx and tx ring. The XDP program decides which of them receives
/// a frame. Opens only one in zero-copy mode with frames longer than a chunk: the kernel
/// cannot keep the sockets' frames apart there.
///
/// # Errors
///
/// An [`OpenError`].
pub fn open_several(wanted: &SocketConfig, sockets: usize) -> Result<Vec<Lane<XskRings>>, OpenError> {
    let (umem, chunk_descriptors) = make_umem(wanted, sockets)?;
    let unusable = || bind_error(wanted, io::Error::other("the UMEM has no memory"));
    let memory = memory_of(&umem, &chunk_descriptors, wanted).ok_or_else(unusable)?;
    let chunk_descriptors: Arc<[FrameDesc]> = chunk_descriptors.into();
    let ((tx, rx, own), mode) = bind(&umem, wanted)?;
    let Some((fill, completion)) = own else {
        return Err(bind_error(wanted, io::Error::other("the UMEM has no rings of its own")));
    };
    let fill_completion =
        XskFillCompletion::new(fill, completion, Arc::clone(&chunk_descriptors), wanted, sockets);
    let rings = |queues| {
        XskRings::new(queues, umem.clone(), Arc::clone(&chunk_descriptors), mode, wanted)
            .map_err(|e| bind_error(wanted, e))
    };
    // With several sockets in zero-copy mode the kernel takes descriptors from them in
    // turn, one by one, and the driver would send pieces of different frames as one frame
    // (xsk_tx_peek_desc, Linux 6.18).
    let sockets = if mode.zero_copy && mode.multi_fragment { 1 } else { sockets };
    let mut all = vec![rings((tx, rx))?];
    for _ in 1..sockets.min(LANES_MAX) {
        // They inherit the mode of the first, regardless of the flags passed here.
        let (tx, rx, _) = bind_once(&umem, wanted, BindFlags::empty()).map_err(|e| bind_error(wanted, e))?;
        all.push(rings((tx, rx))?);
    }
    for rings in &all {
        set_options(rings, wanted)?;
    }
    Ok(Lane::open(all, fill_completion, &memory))
}

fn make_umem(wanted: &SocketConfig, sockets: usize) -> Result<(XskUmem, Vec<FrameDesc>), OpenError> {
    let unusable = |what, value, remedy| OpenError(format!("{what} {value} is not usable: {remedy}"), None);
    let ring =
        |what, entries: u32| entries.try_into().map_err(|_| unusable(what, entries, "give a power of two"));
    let chunk =
        || unusable("chunk size", wanted.chunk_bytes, "give 2048 or 4096 (a chunk is at most one page)");
    let config = UmemConfig::builder()
        .frame_size(wanted.chunk_bytes.try_into().map_err(|_| chunk())?)
        .frame_headroom(HEADROOM)
        .fill_queue_size(ring("rx ring size", fill_target(wanted.rx_ring, sockets).next_power_of_two())?)
        .comp_queue_size(ring("tx ring size", wanted.tx_ring)?)
        .build()
        .map_err(|_| chunk())?;
    let bytes = wanted.chunks.checked_mul(wanted.chunk_bytes);
    let (Some(chunks), Some(bytes)) = (NonZeroU32::new(wanted.chunks), bytes) else {
        return Err(unusable("number of chunks", wanted.chunks, "give at least 1, and at most 4 GiB in all"));
    };
    XskUmem::new(config, chunks, wanted.huge_pages).map_err(|e| {
        let (mib, huge) = (bytes >> 20, if wanted.huge_pages { " on huge pages" } else { "" });
        let source = source_of(&e);
        let text = format!(
            "cannot make a UMEM of {mib} MiB{huge}: {source} (lower --rx-ring, raise the limit of locked memory, \
             or reserve huge pages in vm.nr_hugepages)"
        );
        OpenError(text, Some(source))
    })
}

/// The memory of a UMEM whose chunks are all free.
fn memory_of(umem: &XskUmem, chunk_descriptors: &[FrameDesc], wanted: &SocketConfig) -> Option<Umem> {
    let mut first = *chunk_descriptors.first()?;
    let headroom = first.addr();
    // SAFETY: nothing has been handed to the kernel yet, and no other reference into the UMEM
    // exists.
    let mut data = unsafe { umem.data_mut(&mut first) };
    let room = data.cursor().buf_len();
    data.cursor().set_pos(room);
    let start = data.contents_mut().as_mut_ptr();
    // SAFETY: `start` is `headroom` bytes into the mapping.
    let base = NonNull::new(unsafe { start.sub(headroom) })?;
    // SAFETY: the mapping has `chunks * chunk_bytes` bytes and lives as long as any `XskUmem`
    // handle. Only the kernel and `Umem` access it: `XskRings` reads and writes descriptors,
    // never data.
    unsafe { Umem::new(base, wanted.chunks, wanted.chunk_bytes, headroom as u32, Arc::new(umem.clone())) }
}

type Queues = (TxQueue, RxQueue, Option<(FillQueue, CompQueue)>);

/// Binds in the best mode that is both allowed and possible.
fn bind(umem: &XskUmem, wanted: &SocketConfig) -> Result<(Queues, BoundMode), OpenError> {
    // Zero copy is worth more than frames longer than a chunk, unless the interface has
    // such frames.
    let modes = match wanted.long_frames {
        true => [(true, true), (false, true), (true, false), (false, false)],
        false => [(true, true), (true, false), (false, true), (false, false)],
    };
    let mut refusal = io::Error::from_raw_os_error(libc::EINVAL);
    for (zero_copy, multi_fragment) in modes {
        let unwanted =
            (zero_copy && wanted.zero_copy == ZeroCopy::Off) || (multi_fragment && !wanted.multi_fragment);
        if unwanted {
            continue;
        }
        let copy = if zero_copy { BindFlags::XDP_ZEROCOPY } else { BindFlags::XDP_COPY };
        let fragments = if multi_fragment { BindFlags::XDP_USE_SG } else { BindFlags::empty() };
        match bind_patiently(umem, wanted, copy | fragments) {
            Ok(queues) => return Ok((queues, BoundMode { zero_copy, multi_fragment })),
            Err(e) => refusal = e,
        }
    }
    Err(bind_error(wanted, refusal))
}

fn bind_patiently(umem: &XskUmem, wanted: &SocketConfig, mode: BindFlags) -> io::Result<Queues> {
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

fn bind_once(umem: &XskUmem, wanted: &SocketConfig, mode: BindFlags) -> io::Result<Queues> {
    let ring = |n: u32| n.try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    let config = XskConfig::builder()
        .rx_queue_size(ring(wanted.rx_ring)?)
        .tx_queue_size(ring(wanted.tx_ring)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(mode | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let interface: Interface =
        wanted.interface.parse().map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: libxdp must not attach a program if a socket of this UMEM is already on
    // this interface and queue, and it attaches none (INHIBIT_PROG_LOAD). If the socket
    // there has another UMEM, the bind fails.
    unsafe { Socket::new(config, umem, &interface, wanted.queue) }.map_err(|e| source_of(&e))
}

fn bind_error(wanted: &SocketConfig, source: io::Error) -> OpenError {
    let hint = match source.raw_os_error() {
        Some(libc::EBUSY) => " (another process has a socket on this queue)",
        Some(libc::EINVAL) => " (the queue must exist, and the driver take AF_XDP sockets)",
        Some(libc::ENOBUFS) => " (raise the limit of locked memory)",
        Some(libc::EPERM) => " (run as root, or with CAP_NET_RAW)",
        _ => "",
    };
    let SocketConfig { interface, queue, .. } = wanted;
    let text = format!("cannot bind an AF_XDP socket to {interface} queue {queue}: {source}{hint}");
    OpenError(text, Some(source))
}

/// The OS error inside an xsk-rs error.
fn source_of(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let inner = error.source().and_then(|e| e.downcast_ref::<io::Error>());
    match inner.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}

fn set_options(rings: &XskRings, wanted: &SocketConfig) -> Result<(), OpenError> {
    const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
    // Older kernels do not have this option; then each call sends 32 frames.
    let _ = set_option(rings, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, TX_BUDGET.min(wanted.tx_ring));
    let Some(busy) = wanted.busy_poll else {
        return Ok(());
    };
    let options = [
        ("SO_PREFER_BUSY_POLL", libc::SO_PREFER_BUSY_POLL, 1),
        ("SO_BUSY_POLL", libc::SO_BUSY_POLL, busy.micros),
        ("SO_BUSY_POLL_BUDGET", libc::SO_BUSY_POLL_BUDGET, busy.budget),
    ];
    for (option, name, value) in options {
        set_option(rings, libc::SOL_SOCKET, name, value).map_err(|source| {
            let text = format!("cannot set {option} on {}: {source}", wanted.interface);
            OpenError(text, Some(source))
        })?;
    }
    Ok(())
}

fn set_option(rings: &XskRings, level: libc::c_int, name: libc::c_int, value: u32) -> io::Result<()> {
    let fd = rings.raw_fd();
    // SAFETY: `value` lives for the whole call, and its size is passed.
    let status = unsafe {
        libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<u32>() as libc::socklen_t)
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
