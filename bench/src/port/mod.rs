//! Ports send and receive frames.
//!
//! A port never blocks in `send`, `flush` and `receive`, so that the generator can keep
//! its own time.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xblade_link::Facts;
use xblade_ring::{Frame, Umem};

use crate::args::PortKind;

#[cfg(test)]
pub mod sim;
mod filter;
mod packet;
mod tags;
mod xdp;

pub use packet::{PacketPort, poll};
pub use tags::{THREADS_MAX, Tags};
pub use xdp::{XdpPort, lane};

/// Frames per step.
pub const BATCH: usize = 64;

/// Sends requests and receives replies. Used by one thread at a time.
pub trait Port: Send {
    /// Queues a frame given in two parts. Returns `false` if there is no room now.
    fn send(&mut self, head: &[u8], data: &[u8]) -> io::Result<bool>;

    /// Sends the queued frames.
    fn flush(&mut self) -> io::Result<()>;

    /// Passes the frames that have arrived to `each`, at most [`BATCH`]; returns their
    /// number.
    fn receive(&mut self, each: &mut dyn FnMut(Received<'_>)) -> io::Result<usize>;

    /// Sleeps until a frame arrives or the time limit passes.
    fn wait(&mut self, limit: Duration) -> io::Result<()>;

    /// The number of frames lost on this side so far.
    fn dropped(&mut self) -> io::Result<u64>;

    /// Its name in reports.
    fn name(&self) -> &'static str;
}

/// A received frame.
#[derive(Clone, Copy)]
pub enum Received<'a> {
    /// In one piece.
    Flat(&'a [u8]),
    /// In chunks of UMEM.
    Chunks(&'a Umem, &'a Frame),
}

impl<'a> Received<'a> {
    /// Its first piece, which holds all headers.
    pub fn head(&self) -> &'a [u8] {
        match *self {
            Self::Flat(bytes) => bytes,
            Self::Chunks(memory, frame) => memory.piece(frame, 0),
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Flat(bytes) => bytes.len(),
            Self::Chunks(_, frame) => frame.len(),
        }
    }

    /// The whole frame in one piece; copied to `scratch` if it is in several.
    pub fn whole<'s>(&self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        match *self {
            Self::Flat(bytes) => bytes,
            Self::Chunks(memory, frame) if frame.pieces() == 1 => memory.piece(frame, 0),
            Self::Chunks(memory, frame) => {
                scratch.resize(frame.len(), 0);
                memory.copy_out(frame, scratch);
                scratch
            }
        }
    }
}

/// Tests the port of a thread with a request.
pub type Probe<'a> = &'a dyn Fn(usize, &mut dyn Port) -> Result<()>;

/// Opens a port for each thread on these interfaces, sized for these windows: of the
/// given kind, or else the fastest kind that works. AF_XDP needs a driver with native XDP
/// and a queue for each thread.
pub fn open_all(
    on: &[&Facts],
    windows: &[u16],
    kind: Option<PortKind>,
    probe: Probe<'_>,
) -> Result<Vec<Box<dyn Port>>> {
    match kind {
        Some(PortKind::AfPacket) => open_packet(on),
        Some(PortKind::AfXdp) => open_xdp(on, windows, probe),
        None => open_xdp(on, windows, probe).or_else(|e| {
            eprintln!("note: using af-packet, which is slower: {e:#}");
            open_packet(on)
        }),
    }
}

fn open_packet(on: &[&Facts]) -> Result<Vec<Box<dyn Port>>> {
    let open = |(thread, interface): (usize, &&Facts)| -> Result<Box<dyn Port>> {
        Ok(Box::new(PacketPort::open(interface, Tags::of(thread, on.len()))?))
    };
    on.iter().enumerate().map(open).collect()
}

/// The nth thread of an interface gets its nth queue.
fn open_xdp(on: &[&Facts], windows: &[u16], probe: Probe<'_>) -> Result<Vec<Box<dyn Port>>> {
    let mut ports: BTreeMap<usize, Box<dyn Port>> = BTreeMap::new();
    for interface in on {
        let same = on.iter().enumerate().filter(|(_, other)| other.index == interface.index);
        let users: Vec<usize> = same.map(|(thread, _)| thread).collect();
        if users.iter().any(|thread| ports.contains_key(thread)) {
            continue;
        }
        if users.len() > interface.queues as usize {
            bail!(
                "{} has {} queues for {} threads, and each thread of af-xdp needs one: \
                 use --port af-packet, or more interfaces, or fewer threads",
                interface.name,
                interface.queues,
                users.len()
            );
        }
        let own: Vec<u16> = users.iter().filter_map(|&thread| windows.get(thread).copied()).collect();
        for (thread, port) in users.into_iter().zip(XdpPort::open_all(interface, &own)?) {
            ports.insert(thread, Box::new(port));
        }
    }
    for (thread, port) in &mut ports {
        // Replies may arrive on another queue, where no socket receives them.
        probe(*thread, port.as_mut()).with_context(|| {
            format!("thread {thread} hears no replies on its queue of af-xdp (try --port af-packet)")
        })?;
    }
    Ok(ports.into_values().collect())
}
