//! A bell that rings when some interface changes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::sys;

/// Hears of every change to an interface of this network namespace: state,
/// MTU, MAC, coming and going. Tells only that something changed; the answer to
/// it is to read [`super::Facts`] again.
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

    /// Takes everything that waits. True when there was something, also when
    /// the kernel had to throw events away.
    pub fn drain(&self) -> io::Result<bool> {
        // The text of an event is not looked at: cutting it does no harm.
        let mut event = [0; 64];
        let mut changed = false;
        loop {
            match sys::read_ready(&self.socket, &mut event) {
                Ok(None) => return Ok(changed),
                Ok(Some(_)) => changed = true,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Readable when [`LinkEvents::drain`] has something to take.
impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
