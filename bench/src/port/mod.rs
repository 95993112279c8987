//! Where frames leave and arrive.
//!
//! A port never blocks in `send`, `flush` and `receive`: the generator's clock
//! is its own.

use std::io;
use std::time::Duration;

use anyhow::Result;
use xblade::link::Facts;
use xblade::ring::{Frame, Memory};

use crate::args::PortKind;

#[cfg(test)]
pub mod fake;
mod packet;
mod xdp;

pub use packet::{PacketPort, poll};
pub use xdp::XdpPort;

/// Frames moved in one step.
pub const BATCH: usize = 64;

/// Sends requests and receives what comes back.
pub trait Port {
    /// Queues a frame, in two parts. `false` if there is no room now.
    fn send(&mut self, head: &[u8], data: &[u8]) -> io::Result<bool>;

    /// Sends what is queued.
    fn flush(&mut self) -> io::Result<()>;

    /// Hands over the frames that have arrived, at most [`BATCH`]; returns how
    /// many.
    fn receive(&mut self, each: &mut dyn FnMut(Received<'_>)) -> io::Result<usize>;

    /// Sleeps until a frame arrives or the time is over.
    fn wait(&mut self, limit: Duration) -> io::Result<()>;

    /// Frames that arrived and were lost on this side, so far.
    fn dropped(&mut self) -> io::Result<u64>;

    /// What it is, for reports.
    fn name(&self) -> &'static str;
}

/// A frame that has arrived.
#[derive(Clone, Copy)]
pub enum Received<'a> {
    /// In one piece.
    Flat(&'a [u8]),
    /// In chunks of UMEM.
    Chunks(&'a Memory, &'a Frame),
}

impl<'a> Received<'a> {
    /// Its first piece, which holds all headers.
    pub fn head(&self) -> &'a [u8] {
        match *self {
            Self::Flat(bytes) => bytes,
            Self::Chunks(memory, frame) => memory.piece(frame, 0),
        }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        match self {
            Self::Flat(bytes) => bytes.len(),
            Self::Chunks(_, frame) => frame.len(),
        }
    }

    /// All bytes in one piece; copied into `scratch` if they are not.
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

/// Opens a port of this kind, for this many requests in flight.
pub fn open(interface: &Facts, kind: PortKind, window: u16) -> Result<Box<dyn Port>> {
    Ok(match kind {
        PortKind::AfPacket => Box::new(PacketPort::open(interface)?),
        PortKind::AfXdp => Box::new(XdpPort::open(interface, window)?),
    })
}

/// Opens the port that was asked for, or else the fastest that works: AF_XDP
/// needs a driver with native XDP.
pub fn open_best(interface: &Facts, kind: Option<PortKind>, window: u16) -> Result<Box<dyn Port>> {
    if let Some(kind) = kind {
        return open(interface, kind, window);
    }
    open(interface, PortKind::AfXdp, window).or_else(|e| {
        eprintln!("note: using af-packet, which is slower: {e:#}");
        open(interface, PortKind::AfPacket, window)
    })
}
