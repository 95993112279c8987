//! Events for changes of interfaces.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::netlink::{HEADER, u16_at, u32_at};
use super::sys;

/// Other address families report other events, for example that an interface has left a
/// bridge.
const AF_UNSPEC: u8 = 0;

/// The changes since the last call.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Whether there was any.
    pub any: bool,
    /// Interfaces that were removed, or moved to another network namespace. They may be
    /// back, even with the same index.
    pub removed: Vec<u32>,
}

/// Receives an event for every change of an interface in this network namespace: state,
/// MTU, MAC, addition and removal. Reports that something changed, and which interfaces are
/// gone; the caller then reads [`super::Facts`] again.
#[derive(Debug)]
pub struct LinkEvents {
    socket: File,
}

impl LinkEvents {
    /// Starts listening. Open it before reading facts, so that no change is missed in
    /// between.
    pub fn open() -> io::Result<Self> {
        let groups = libc::RTMGRP_LINK.cast_unsigned();
        Ok(Self { socket: sys::route_socket(groups)? })
    }

    /// Takes all pending events. `any` is also set if the kernel had to discard events.
    pub fn drain(&self) -> io::Result<Changes> {
        // Only the start of an event is parsed, so truncation does no harm.
        let mut event = [0; 64];
        let mut changes = Changes::default();
        loop {
            match sys::read_ready(&self.socket, &mut event) {
                Ok(None) => return Ok(changes),
                Ok(Some(len)) => {
                    changes.any = true;
                    changes.removed.extend(event.get(..len).and_then(removed));
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changes.any = true,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The index of the removed interface, if this is a removal event.
fn removed(event: &[u8]) -> Option<u32> {
    let (kind, family, index) = (u16_at(event, 4)?, *event.get(HEADER)?, u32_at(event, HEADER + 4)?);
    (kind == libc::RTM_DELLINK && family == AF_UNSPEC).then_some(index)
}

/// Readable when [`LinkEvents::drain`] has something to take.
impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, family: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[16] = family;
        bytes[20..24].copy_from_slice(&7_i32.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_the_end_of_an_interface_is_one() {
        let (unspec, bridge) = (libc::AF_UNSPEC as u8, libc::AF_BRIDGE as u8);
        assert_eq!(removed(&event(libc::RTM_DELLINK, unspec)), Some(7));
        assert_eq!(removed(&event(libc::RTM_DELLINK, bridge)), None);
        assert_eq!(removed(&event(libc::RTM_NEWLINK, unspec)), None);
        for len in 0..24 {
            assert_eq!(removed(&event(libc::RTM_DELLINK, unspec)[..len]), None, "{len}");
        }
    }
}
