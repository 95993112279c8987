//! Waking when an interface changes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::sys;

const RTM_DELLINK: u16 = 17;
/// Of `struct nlmsghdr`, and of `struct ifinfomsg` up to its index.
const HEADER: usize = 16;
/// Other families tell of other things: that an interface has left a bridge.
const AF_UNSPEC: u8 = 0;

/// What has happened since the last look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Something.
    pub any: bool,
    /// These interfaces were removed, or moved to another network namespace;
    /// they may be back, even with the same index.
    pub removed: Vec<u32>,
}

/// Hears of every change to an interface of this network namespace: state,
/// MTU, MAC, coming and going. Tells that something changed, and what is gone;
/// the answer to it is to read [`super::Facts`] again.
#[derive(Debug)]
pub struct LinkEvents {
    socket: File,
}

impl LinkEvents {
    /// Starts to listen. Open it before reading facts, so that no change falls
    /// between.
    pub fn open() -> io::Result<Self> {
        let groups = libc::RTMGRP_LINK.cast_unsigned();
        Ok(Self { socket: sys::route_socket(groups)? })
    }

    /// Takes everything that waits. There was something also when the kernel had
    /// to throw events away.
    pub fn drain(&self) -> io::Result<Changes> {
        // Only the head of an event is looked at: cutting it does no harm.
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

/// The index of the interface that is gone, if that is what the event tells.
fn removed(event: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(*event.get(4..)?.first_chunk()?);
    let family = *event.get(HEADER)?;
    let index = i32::from_ne_bytes(*event.get(HEADER + 4..)?.first_chunk()?);
    (kind == RTM_DELLINK && family == AF_UNSPEC).then_some(index.cast_unsigned())
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
