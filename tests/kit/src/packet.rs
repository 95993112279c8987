//! A raw socket that sees frames as they were on the wire.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::namespace::Space;

/// Longer than any frame.
const FRAME_BYTES: usize = 16 << 10;

/// Receive buffer: room for a whole window of jumbo frames.
const BUFFER_BYTES: i32 = 16 << 20;

/// An AF_PACKET socket on one interface. Receives no frames that this host sends.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket on an interface in `space`.
    pub fn within(space: &Space, interface: &str) -> io::Result<Self> {
        let interface = interface.to_owned();
        space.run(move || Self::open(&interface))
    }

    /// Opens a socket on an interface of this thread's namespace.
    pub fn open(interface: &str) -> io::Result<Self> {
        let name = std::ffi::CString::new(interface)?;
        // SAFETY: a null-terminated string that outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let all = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: no pointers.
        let fd =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(all)) };
        check(fd)?;
        // SAFETY: a new descriptor that nothing else owns.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: plain numbers, for which zero is valid.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = all;
        address.sll_ifindex = index as i32;
        // SAFETY: the address has that size and outlives the call.
        check(unsafe {
            libc::bind(fd, (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t)
        })?;
        let on = 1;
        socket.option(libc::SOL_PACKET, libc::PACKET_AUXDATA, on)?;
        socket.option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, on)?;
        socket.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER_BYTES)?;
        Ok(socket)
    }

    /// Makes frames go straight to the driver, through the queue of the sending core.
    pub fn bypass_queueing(&self) -> io::Result<()> {
        self.option(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)
    }

    /// Sends a frame, VLAN tags and all.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the frame outlives the call.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        check(sent as i32).map(|_| ())
    }

    /// The next AoE frame, if one arrives within `window`. Other frames on the link come
    /// from the kernel.
    pub fn receive(&self, window: Duration) -> io::Result<Option<Vec<u8>>> {
        self.receive_if(window, is_aoe)
    }

    /// The next frame that is wanted, if one arrives within `window`. The kernel removes the
    /// outer VLAN tag of a frame; this puts it back.
    pub fn receive_if(
        &self,
        window: Duration,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Option<Vec<u8>>> {
        let end = Instant::now() + window;
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // SAFETY: one entry, as passed.
            if check(unsafe { libc::poll(&raw mut poll, 1, left.as_micros().div_ceil(1000) as i32) })? == 0 {
                return Ok(None);
            }
            let frame = self.take()?;
            if is_wanted(&frame) {
                return Ok(Some(frame));
            }
        }
    }

    fn take(&self) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; FRAME_BYTES];
        let mut control = [0u64; 16];
        let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: plain numbers and pointers, for which zero is valid.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: both buffers have the passed lengths and outlive the call.
        let len = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        frame.truncate(check(len as i32)? as usize);
        // SAFETY: the kernel has filled in the message.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        if header.is_null() {
            return Ok(frame);
        }
        // SAFETY: the only control message requested has this type.
        let aux: libc::tpacket_auxdata =
            unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
        if aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
            let known = aux.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
            let tpid = if known { aux.tp_vlan_tpid } else { 0x8100 };
            let tag = [tpid.to_be_bytes(), aux.tp_vlan_tci.to_be_bytes()].concat();
            frame.splice(12..12, tag);
        }
        Ok(frame)
    }

    fn option(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        // SAFETY: the value is an `int` and outlives the call.
        check(unsafe { libc::setsockopt(self.0.as_raw_fd(), level, option, (&raw const value).cast(), 4) })
            .map(|_| ())
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Whether it is AoE after at most two tags.
fn is_aoe(frame: &[u8]) -> bool {
    [12, 16, 20].into_iter().any(|at| frame.get(at..at + 2) == Some(&[0x88, 0xA2]))
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
