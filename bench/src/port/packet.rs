//! AF_PACKET: works on every interface, at the cost of a copy and a share of a system
//! call per frame.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use xblade_link::Facts;
use xblade_wire::ether::ETHERTYPE_AOE;

use super::{BATCH, Port, Received, Tags, filter};

/// Socket buffer size: many times a window of jumbo frames.
const SOCKET_BYTES: libc::c_int = 32 << 20;

/// A raw socket that receives replies with its tags on one interface.
pub struct PacketPort {
    socket: OwnedFd,
    outbox: Batch,
    queued: usize,
    inbox: Batch,
    dropped: u64,
}

impl PacketPort {
    /// Opens it. Needs CAP_NET_RAW.
    pub fn open(interface: &Facts, tags: Tags) -> Result<Self> {
        Self::with_filter(interface, Some(tags))
    }

    /// Opens a port that receives all AoE.
    pub fn open_to_all(interface: &Facts) -> Result<Self> {
        Self::with_filter(interface, None)
    }

    fn with_filter(interface: &Facts, tags: Option<Tags>) -> Result<Self> {
        let socket = open_socket(interface, tags).with_context(|| {
            format!("cannot open a raw socket on {} (run as root, or with CAP_NET_RAW)", interface.name)
        })?;
        // Room for the Ethernet header and two VLAN tags.
        let frame = interface.mtu as usize + 22;
        Ok(Self { socket, outbox: Batch::new(frame), queued: 0, inbox: Batch::new(frame), dropped: 0 })
    }
}

impl Port for PacketPort {
    fn send(&mut self, head: &[u8], data: &[u8]) -> io::Result<bool> {
        if self.queued == BATCH {
            self.flush()?;
        }
        if self.queued == BATCH || !self.outbox.put(self.queued, head, data) {
            return Ok(false);
        }
        self.queued += 1;
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut from = 0;
        while from < self.queued {
            let messages = self.outbox.messages(from, self.queued);
            // SAFETY: each message points to one buffer of the batch, with its
            // length, and all of them live for the call.
            let sent = unsafe {
                let fd = self.socket.as_raw_fd();
                libc::sendmmsg(fd, messages.as_mut_ptr(), messages.len() as u32, libc::MSG_DONTWAIT)
            };
            if sent >= 0 {
                from += sent as usize;
                continue;
            }
            match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                // The link is full or down: a lost request is resent when its reply is
                // overdue.
                e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENETDOWN)) => {
                    break;
                }
                e => return Err(e),
            }
        }
        self.queued = 0;
        Ok(())
    }

    fn receive(&mut self, each: &mut dyn FnMut(Received<'_>)) -> io::Result<usize> {
        self.inbox.lens = [self.inbox.stride; BATCH];
        let messages = self.inbox.messages(0, BATCH);
        // SAFETY: as in `flush`; the kernel writes no more than the length of
        // each buffer.
        let received = unsafe {
            let fd = self.socket.as_raw_fd();
            let flags = libc::MSG_DONTWAIT;
            libc::recvmmsg(fd, messages.as_mut_ptr(), messages.len() as u32, flags, std::ptr::null_mut())
        };
        if received < 0 {
            return match io::Error::last_os_error() {
                e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN)) => Ok(0),
                e => Err(e),
            };
        }
        for at in 0..received as usize {
            each(Received::Flat(self.inbox.get(at)));
        }
        Ok(received as usize)
    }

    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        poll(self.socket.as_fd(), limit)
    }

    fn dropped(&mut self) -> io::Result<u64> {
        // The kernel resets its count on reading. SAFETY: all-zero bytes are a valid
        // `tpacket_stats`.
        let mut stats: libc::tpacket_stats = unsafe { std::mem::zeroed() };
        let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: `stats` and `len` live for the call, and the size is given.
        let status = unsafe {
            let fd = self.socket.as_raw_fd();
            libc::getsockopt(
                fd,
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut len,
            )
        };
        if status < 0 {
            return Err(io::Error::last_os_error());
        }
        self.dropped += u64::from(stats.tp_drops);
        Ok(self.dropped)
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

fn open_socket(interface: &Facts, tags: Option<Tags>) -> io::Result<OwnedFd> {
    // With protocol 0 nothing arrives before the options are set and the socket is bound
    // to its interface.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
    // Refused without CAP_NET_ADMIN; then the system's limit applies.
    for (forced, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        set_option(&socket, libc::SOL_SOCKET, forced, SOCKET_BYTES)
            .or_else(|_| set_option(&socket, libc::SOL_SOCKET, plain, SOCKET_BYTES))?;
    }
    if let Some(tags) = tags {
        filter::attach(socket.as_fd(), tags)?;
    }
    bind(&socket, interface)?;
    Ok(socket)
}

fn set_option(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` lives for the call, and its size is given.
    let status = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bind(socket: &OwnedFd, interface: &Facts) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ETHERTYPE_AOE.to_be();
    address.sll_ifindex = interface.index.cast_signed();
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` lives for the call, and its size is given.
    let status = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Buffers for [`BATCH`] frames, and their message headers for the kernel.
struct Batch {
    bytes: Box<[u8]>,
    stride: usize,
    lens: [usize; BATCH],
    vectors: Box<[libc::iovec]>,
    messages: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers in `vectors` and `messages` point into this batch's own boxes, are
// set again before each call, and are used nowhere else.
unsafe impl Send for Batch {}

impl Batch {
    fn new(frame_bytes: usize) -> Self {
        let stride = frame_bytes.next_multiple_of(64);
        // SAFETY: all-zero bytes are valid for both: null pointers, no bytes.
        let (vector, message) =
            unsafe { (std::mem::zeroed::<libc::iovec>(), std::mem::zeroed::<libc::mmsghdr>()) };
        Self {
            bytes: vec![0; stride * BATCH].into(),
            stride,
            lens: [0; BATCH],
            vectors: vec![vector; BATCH].into(),
            messages: vec![message; BATCH].into(),
        }
    }

    /// Writes a frame into a buffer; `false` if it is too long.
    fn put(&mut self, at: usize, head: &[u8], data: &[u8]) -> bool {
        let (start, len) = (at * self.stride, head.len() + data.len());
        let Some(buffer) = self.bytes.get_mut(start..start + self.stride) else {
            return false;
        };
        let Some((first, rest)) = buffer.split_at_mut_checked(head.len()) else {
            return false;
        };
        let (Some(second), Some(stored)) = (rest.get_mut(..data.len()), self.lens.get_mut(at)) else {
            return false;
        };
        first.copy_from_slice(head);
        second.copy_from_slice(data);
        *stored = len;
        true
    }

    /// A received frame.
    fn get(&self, at: usize) -> &[u8] {
        let len = self.messages.get(at).map_or(0, |m| m.msg_len as usize).min(self.stride);
        let start = at * self.stride;
        self.bytes.get(start..start + len).unwrap_or(&[])
    }

    /// Headers of the frames in the buffers `from..to`.
    fn messages(&mut self, from: usize, to: usize) -> &mut [libc::mmsghdr] {
        self.point();
        self.messages.get_mut(from..to).unwrap_or(&mut [])
    }

    /// Points the headers at the buffers. Done before every call, because the pointers
    /// must not be older than the last use of the buffers.
    fn point(&mut self) {
        let base = self.bytes.as_mut_ptr();
        let all = self.vectors.iter_mut().zip(self.messages.iter_mut()).zip(self.lens);
        for (at, ((vector, message), len)) in all.enumerate() {
            // SAFETY: `bytes` has `BATCH` times `stride` bytes.
            vector.iov_base = unsafe { base.add(at * self.stride) }.cast();
            vector.iov_len = len;
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
        }
    }
}
