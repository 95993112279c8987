//! AF_PACKET: works on every interface, at the cost of a copy and a share of a system
//! call per frame.

use std::array;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use xblade_link::{Facts, PacketSocket};

use super::{BATCH, Port, Received, Tags, filter};

/// Socket buffer size: many times a window of jumbo frames.
const SOCKET_BYTES: libc::c_int = 32 << 20;

/// A raw socket that receives replies with its tags on one interface.
pub struct PacketPort {
    socket: PacketSocket,
    /// The first `queued` of them are to be sent.
    outbox: [Vec<u8>; BATCH],
    queued: usize,
    inbox: [Vec<u8>; BATCH],
}

impl PacketPort {
    /// Opens it. Needs CAP_NET_RAW.
    pub fn open(interface: &Facts, tags: Tags) -> Result<Self> {
        let socket = open_socket(interface.index, tags).with_context(|| {
            format!("cannot open a raw socket on {} (run as root, or with CAP_NET_RAW)", interface.name)
        })?;
        // Room for the Ethernet header and two VLAN tags.
        let frames = || array::from_fn(|_| vec![0; interface.mtu as usize + 22]);
        let mut port = Self { socket, outbox: frames(), queued: 0, inbox: frames() };
        // What arrived before the filter was there.
        while port.receive(&mut |_| {})? > 0 {}
        Ok(port)
    }

    fn fd(&self) -> libc::c_int {
        self.socket.as_fd().as_raw_fd()
    }
}

impl Port for PacketPort {
    fn send(&mut self, head: &[u8], data: &[u8]) -> io::Result<bool> {
        if self.queued == BATCH {
            self.flush()?;
        }
        let frame = &mut self.outbox[self.queued];
        frame.clear();
        frame.extend_from_slice(head);
        frame.extend_from_slice(data);
        self.queued += 1;
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.queued == 0 {
            return Ok(());
        }
        let mut vectors = vectors(&mut self.outbox);
        let mut messages = messages(&mut vectors);
        let mut left = &mut messages[..std::mem::take(&mut self.queued)];
        while !left.is_empty() {
            // SAFETY: each message points to a vector, and that to a frame of the outbox with
            // its length; all of them live for the call.
            let sent = unsafe {
                libc::sendmmsg(self.fd(), left.as_mut_ptr(), left.len() as u32, libc::MSG_DONTWAIT)
            };
            match check(sent) {
                Ok(sent) => left = &mut left[sent..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The link is full or down: a lost request is resent when its reply is
                // overdue.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENETDOWN)) => {
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn receive(&mut self, each: &mut dyn FnMut(Received<'_>)) -> io::Result<usize> {
        let mut vectors = vectors(&mut self.inbox);
        let mut messages = messages(&mut vectors);
        let (first, flags, forever) = (messages.as_mut_ptr(), libc::MSG_DONTWAIT, std::ptr::null_mut());
        // SAFETY: as in `flush`; the kernel writes no more than the length of each frame.
        let received = check(unsafe { libc::recvmmsg(self.fd(), first, BATCH as u32, flags, forever) });
        let received = match received {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN)) => 0,
            received => received?,
        };
        for (frame, message) in self.inbox.iter().zip(&messages).take(received) {
            each(Received::Flat(frame.get(..message.msg_len as usize).unwrap_or(frame)));
        }
        Ok(received)
    }

    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        poll(self.socket.as_fd(), limit)
    }

    fn dropped(&mut self) -> io::Result<u64> {
        // SAFETY: all-zero bytes are a valid `tpacket_stats`.
        let mut stats: libc::tpacket_stats = unsafe { std::mem::zeroed() };
        let mut len = size_of_val(&stats) as libc::socklen_t;
        let (level, name) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
        // The kernel resets its count on reading. SAFETY: `stats` and `len` live for the call,
        // and the size is given.
        check(unsafe { libc::getsockopt(self.fd(), level, name, (&raw mut stats).cast(), &raw mut len) })?;
        Ok(stats.tp_drops.into())
    }

    fn name(&self) -> &'static str {
        "af-packet"
    }
}

/// Sleeps until `fd` is readable or the time limit passes.
pub fn poll(fd: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    let limit = Timespec::try_from(limit).ok();
    match event::poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], limit.as_ref()) {
        Err(error) if error != Errno::INTR => Err(error.into()),
        _ => Ok(()),
    }
}

fn open_socket(index: u32, tags: Tags) -> io::Result<PacketSocket> {
    let socket = PacketSocket::open(index)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1)?;
    // Refused without CAP_NET_ADMIN; then the system's limit applies.
    for (forced, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        set_option(&socket, libc::SOL_SOCKET, forced, &SOCKET_BYTES)
            .or_else(|_| set_option(&socket, libc::SOL_SOCKET, plain, &SOCKET_BYTES))?;
    }
    filter::attach(&socket, tags)?;
    Ok(socket)
}

/// Sets a socket option, whose value is a `T` for the kernel.
pub fn set_option<T>(socket: &impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let (fd, len) = (socket.as_fd().as_raw_fd(), size_of::<T>() as libc::socklen_t);
    // SAFETY: `value` lives for the call, and its size is given; the kernel checks what it
    // points to.
    check(unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), len) }).map(|_| ())
}

/// What a system call returned, or its error.
fn check(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn vectors(frames: &mut [Vec<u8>; BATCH]) -> [libc::iovec; BATCH] {
    array::from_fn(|at| {
        let frame = &mut frames[at];
        libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() }
    })
}

/// A message for each of these vectors.
fn messages(vectors: &mut [libc::iovec; BATCH]) -> [libc::mmsghdr; BATCH] {
    array::from_fn(|at| {
        // SAFETY: all-zero bytes are a valid `mmsghdr`.
        let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        message.msg_hdr.msg_iov = &raw mut vectors[at];
        message.msg_hdr.msg_iovlen = 1;
        message
    })
}
