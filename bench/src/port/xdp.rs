//! AF_XDP: a socket on each receive queue that is used, and the program that
//! sends the replies there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::maps::XskMap;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use xblade::link::Facts;
use xblade::ring::{self, Frame, Lane, SocketConfig, TxFull, XskRings, ZeroCopy};

use super::{BATCH, Port, Received, packet};

/// Bytes in a chunk of UMEM.
const CHUNK: u32 = 4096;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/initiator.bpf.o"));

/// An AF_XDP socket of an initiator.
pub struct XdpPort {
    lane: Lane<XskRings>,
    received: Vec<Frame>,
    /// Detaches the program when the last one is dropped.
    _program: Arc<Ebpf>,
}

impl XdpPort {
    /// Opens a socket on each of the first queues, for so many requests in flight
    /// on each, and loads the program, in the driver's mode.
    pub fn open_all(interface: &Facts, windows: &[u16]) -> Result<Vec<Self>> {
        let mut lanes = Vec::new();
        for (queue, &window) in (0..).zip(windows) {
            lanes.push(lane(interface, queue, ring_size(interface.mtu, window))?);
        }
        let program = Arc::new(attach(interface, &lanes)?);
        let port = |lane| Self { lane, received: Vec::with_capacity(BATCH), _program: Arc::clone(&program) };
        Ok(lanes.into_iter().map(port).collect())
    }

    fn compose(&mut self, head: &[u8], data: &[u8]) -> Option<Frame> {
        let mut frame = self.lane.allocate(head.len() + data.len()).ok()?;
        let memory = self.lane.umem();
        // The head always fits into the first chunk.
        let (mut head, mut data) = (head, data);
        for at in 0..frame.pieces() {
            let piece = memory.piece_mut(&mut frame, at);
            let piece = take_from(&mut head, piece);
            take_from(&mut data, piece);
        }
        Some(frame)
    }
}

/// A socket on a receive queue, with rings of so many entries.
pub fn lane(interface: &Facts, queue: u32, entries: u32) -> Result<Lane<XskRings>> {
    Ok(ring::open(&SocketConfig {
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

/// Entries for twice the frames of a window. Not more than it takes: all chunks
/// of the ring are used in turn, and should stay in the cache.
fn ring_size(mtu: u32, window: u16) -> u32 {
    const HEADROOM: u32 = 256;
    let pieces = (mtu + 14).div_ceil(CHUNK - HEADROOM);
    (2 * pieces * u32::from(window)).next_power_of_two().clamp(256, 1 << 14)
}

/// Moves as many bytes as fit from the front of `from` to `to`; returns the
/// rest of `to`.
fn take_from<'a>(from: &mut &[u8], to: &'a mut [u8]) -> &'a mut [u8] {
    let n = from.len().min(to.len());
    let (now, later) = from.split_at(n);
    let (filled, rest) = to.split_at_mut(n);
    filled.copy_from_slice(now);
    *from = later;
    rest
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
    program.attach(&interface.name, XdpMode::Driver).with_context(|| {
        format!(
            "cannot attach an XDP program to {} in the driver's mode (try --port af-packet)",
            interface.name
        )
    })?;
    Ok(ebpf)
}

impl Port for XdpPort {
    fn send(&mut self, head: &[u8], data: &[u8]) -> io::Result<bool> {
        let Some(frame) = self.compose(head, data) else {
            self.lane.reclaim();
            return Ok(false);
        };
        if let Err(TxFull(frame)) = self.lane.transmit(frame) {
            self.lane.release(frame);
            self.lane.reclaim();
            return Ok(false);
        }
        Ok(true)
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
        match self.lane.fd() {
            Some(fd) => packet::poll(fd, limit),
            None => Ok(()),
        }
    }

    fn dropped(&mut self) -> io::Result<u64> {
        let s = self.lane.statistics()?;
        let ours = self.lane.counters();
        Ok(s.rx_dropped
            + s.rx_ring_full
            + s.fill_ring_empty
            + s.rx_invalid
            + ours.bad_descriptors
            + ours.too_long)
    }

    fn name(&self) -> &'static str {
        "af-xdp"
    }
}
