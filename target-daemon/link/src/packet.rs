//! A packet socket, which sends and receives frames through the network stack. Used before
//! the XDP program is attached, and by tools.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::sys;

/// EtherType of ATA over Ethernet.
const ETHER_TYPE: u16 = 0x88a2;

/// Sends and receives AoE frames on one interface. Frames start with the Ethernet header;
/// the kernel strips VLAN tags from received frames. Received frames are copies: other
/// listeners and the stack see the same frames. Does not receive frames that an attached
/// XDP program takes, nor frames sent by this host.
#[derive(Debug)]
pub struct PacketSocket {
    socket: File,
}

impl PacketSocket {
    /// Opens a socket on the interface with this index. Needs CAP_NET_RAW.
    pub fn open(index: u32) -> io::Result<Self> {
        Ok(Self { socket: sys::packet_socket(index, ETHER_TYPE)? })
    }

    /// Sends one whole frame, Ethernet header first. Returns `WouldBlock` if the
    /// interface's send queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = (&self.socket).write(frame)?;
        if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Waits up to `timeout` for a frame. Returns its length, or `None` if none arrived. A
    /// frame longer than `frame` is truncated.
    pub fn receive(&self, frame: &mut [u8], timeout: Duration) -> io::Result<Option<usize>> {
        sys::read_within(&self.socket, frame, timeout)
    }
}

/// Readable when a frame is pending.
impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
