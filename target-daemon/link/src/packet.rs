//! Frames by the ordinary way, through the stack: for what happens before the
//! XDP program is attached, and for tools.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::sys;

/// EtherType of ATA over Ethernet.
const ETHER_TYPE: u16 = 0x88a2;

/// Sends and receives AoE frames on one interface. Frames start with the
/// Ethernet header; VLAN tags of received frames are taken out by the kernel.
/// Receives copies: other listeners and the stack see the same frames. Hears
/// nothing that an attached XDP program takes, nor what this host sends.
#[derive(Debug)]
pub struct PacketSocket {
    socket: File,
}

impl PacketSocket {
    /// On the interface with this index. Needs CAP_NET_RAW.
    pub fn open(index: u32) -> io::Result<Self> {
        Ok(Self { socket: sys::packet_socket(index, ETHER_TYPE)? })
    }

    /// Sends one whole frame, Ethernet header first. `WouldBlock` when the
    /// interface has more to send than it may hold.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = (&self.socket).write(frame)?;
        if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Waits for a frame up to `timeout`; its length, or None when none came. A
    /// frame longer than `frame` is cut.
    pub fn receive(&self, frame: &mut [u8], timeout: Duration) -> io::Result<Option<usize>> {
        sys::read_within(&self.socket, frame, timeout)
    }
}

/// Readable when a frame waits.
impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
