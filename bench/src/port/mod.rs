//! Ports send and receive frames.
//!
//! A port never blocks in `send`, `flush` and `receive`, so that the generator can keep
//! its own time.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
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

    /// The number of frames lost on this side since the last call.
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
            Self::Chunks(memory, frame) if frame.pieces() > 1 => {
                scratch.resize(frame.len(), 0);
                memory.copy_out(frame, scratch);
                scratch
            }
            _ => self.head(),
        }
    }
}

/// Opens a port for each thread, sized for these windows: of the given kind, or else the
/// fastest kind that works. Thread t uses the interface at `t % interfaces.len()`. AF_XDP
/// needs a driver with native XDP and a queue for each thread; `probe` tests the port of a
/// thread with a request.
pub fn open_all(
    interfaces: &[Facts],
    windows: &[u16],
    kind: Option<PortKind>,
    probe: impl Fn(usize, &mut dyn Port) -> Result<()>,
) -> Result<Vec<Box<dyn Port>>> {
    if kind != Some(PortKind::AfPacket) {
        match open_xdp(interfaces, windows, probe) {
            Err(e) if kind.is_none() => eprintln!("note: using af-packet, which is slower: {e:#}"),
            opened => return opened,
        }
    }
    let open = |(thread, interface)| -> Result<Box<dyn Port>> {
        Ok(Box::new(PacketPort::open(interface, Tags::of(thread, windows.len()))?))
    };
    (0..windows.len()).zip(interfaces.iter().cycle()).map(open).collect()
}

/// The nth thread of an interface gets its nth queue.
fn open_xdp(
    interfaces: &[Facts],
    windows: &[u16],
    probe: impl Fn(usize, &mut dyn Port) -> Result<()>,
) -> Result<Vec<Box<dyn Port>>> {
    let mut ports: BTreeMap<usize, Box<dyn Port>> = BTreeMap::new();
    for (first, interface) in interfaces.iter().enumerate() {
        let threads = (first..windows.len()).step_by(interfaces.len());
        ensure!(
            threads.len() <= interface.queues as usize,
            "{} has {} queues for {} threads, and each thread of af-xdp needs one: \
                 use --port af-packet, or more interfaces, or fewer threads",
            interface.name,
            interface.queues,
            threads.len()
        );
        let own: Vec<u16> = threads.clone().map(|thread| windows[thread]).collect();
        for (thread, port) in threads.zip(XdpPort::open_all(interface, &own)?) {
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
