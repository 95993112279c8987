//! AF_XDP: a socket on each used receive queue, and the program that redirects the
//! replies to it.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::maps::XskMap;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use xblade_link::Facts;
use xblade_ring::{Frame, Lane, SocketConfig, TxFull, XskRings, ZeroCopy};

use super::{BATCH, Port, Received, packet};

/// Bytes in a chunk of UMEM.
const CHUNK: u32 = 4096;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/initiator.bpf.o"));

/// An AF_XDP socket of an initiator.
pub struct XdpPort {
    lane: Lane<XskRings>,
    received: Vec<Frame>,
    dropped: u64,
    /// Detached when the last port is dropped.
    _program: Arc<Ebpf>,
}

impl XdpPort {
    /// Opens a socket on each of the first queues, sized for these windows, and loads the
    /// program in driver mode.
    pub fn open_all(interface: &Facts, windows: &[u16]) -> Result<Vec<Self>> {
        let mut lanes = Vec::new();
        for (queue, &window) in (0..).zip(windows) {
            lanes.push(lane(interface, queue, ring_size(interface.mtu, window))?);
        }
        let program = Arc::new(attach(interface, &lanes)?);
        let port = |lane| Self {
            lane,
            received: Vec::with_capacity(BATCH),
            dropped: 0,
            _program: Arc::clone(&program),
        };
        Ok(lanes.into_iter().map(port).collect())
    }

    fn compose(&mut self, head: &[u8], mut data: &[u8]) -> Option<Frame> {
        let mut frame = self.lane.allocate(head.len() + data.len()).ok()?;
        for at in 0..frame.pieces() {
            let mut piece = self.lane.umem().piece_mut(&mut frame, at);
            if at == 0 {
                // The head fits into the first chunk.
                let front;
                (front, piece) = piece.split_at_mut(head.len());
                front.copy_from_slice(head);
            }
            // Cannot fail: the pieces are as long as both together.
            let _ = data.read_exact(piece);
        }
        Some(frame)
    }
}

/// A socket on a receive queue, with rings of this size.
pub fn lane(interface: &Facts, queue: u32, entries: u32) -> Result<Lane<XskRings>> {
    Ok(xblade_ring::open(&SocketConfig {
        interface: interface.name.clone(),
        queue,
        chunks: 4 * entries,
        chunk_bytes: CHUNK,
        rx_ring: entries,
        tx_ring: entries,
        huge_pages: false,
        zero_copy: ZeroCopy::Auto,
        multi_fragment: true,
        long_frames: true,
        busy_poll: None,
    })?)
}

/// Entries for twice the frames of a window. Not more, because all chunks of the ring are
/// used in turn and should stay in the cache.
fn ring_size(mtu: u32, window: u16) -> u32 {
    const HEADROOM: u32 = 256;
    let pieces = (mtu + 14).div_ceil(CHUNK - HEADROOM);
    (2 * pieces * u32::from(window)).next_power_of_two().clamp(256, 1 << 14)
}

fn attach(interface: &Facts, lanes: &[Lane<XskRings>]) -> Result<Ebpf> {
    let mut ebpf = EbpfLoader::new().load(OBJECT).context("cannot load the XDP program")?;
    let map = ebpf.map_mut("lanes").context("the XDP program has no map `lanes`")?;
    let mut map = XskMap::try_from(map)?;
    for (queue, lane) in (0..).zip(lanes) {
        let fd = lane.fd().context("the lane has no socket")?;
        map.set(queue, fd, 0).context("cannot enter the socket into the map")?;
    }
    let program: &mut Xdp =
        ebpf.program_mut("initiator").context("the XDP program has no `initiator`")?.try_into()?;
    program.load().context("the kernel refused the XDP program")?;
    let name = &interface.name;
    program.attach(name, XdpMode::Driver).with_context(|| {
        format!("cannot attach an XDP program to {name} in the driver's mode (try --port af-packet)")
    })?;
    Ok(ebpf)
}

impl Port for XdpPort {
    fn send(&mut self, head: &[u8], data: &[u8]) -> io::Result<bool> {
        match self.compose(head, data).map(|frame| self.lane.transmit(frame)) {
            Some(Ok(())) => return Ok(true),
            Some(Err(TxFull(frame))) => self.lane.release(frame),
            None => {}
        }
        self.lane.reclaim();
        Ok(false)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lane.flush().map(|_| ())
    }

    fn receive(&mut self, each: &mut dyn FnMut(Received<'_>)) -> io::Result<usize> {
        let n = self.lane.receive(&mut self.received);
        for frame in &self.received {
            each(Received::Chunks(self.lane.umem(), frame));
        }
        for frame in self.received.drain(..) {
            self.lane.release(frame);
        }
        self.lane.reclaim();
        if n > 0 {
            self.lane.refill();
        }
        Ok(n)
    }

    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        self.lane.fd().map_or(Ok(()), |fd| packet::poll(fd, limit))
    }

    fn dropped(&mut self) -> io::Result<u64> {
        let s = self.lane.statistics()?;
        let ours = self.lane.counters();
        let kernel = s.rx_dropped + s.rx_ring_full + s.fill_ring_empty + s.rx_invalid;
        let all = kernel + ours.bad_descriptors + ours.too_long;
        Ok(all - std::mem::replace(&mut self.dropped, all))
    }

    fn name(&self) -> &'static str {
        "af-xdp"
    }
}
