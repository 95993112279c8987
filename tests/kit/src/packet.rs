//! A raw socket that sees frames as they were on the wire.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use xblade_wire::ether::Mac;

use crate::namespace::Space;

/// Longer than any frame.
const FRAME_BYTES: usize = 16 << 10;

/// Receive buffer: room for a whole window of jumbo frames.
const BUFFER_BYTES: i32 = 16 << 20;

/// As in <asm/sockios.h>, on machines of 64 bits.
const SIOCGSTAMPNS: libc::c_ulong = 0x8907;

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

    /// From now on receives only what is sent to this address.
    pub fn receive_only(&self, to: Mac) -> io::Result<()> {
        self.filter(to, u32::MAX, 0)
    }

    /// From now on only counts what is sent to other addresses ([`Self::count`]). Receives
    /// nothing, so that frames that nobody takes cost little.
    pub fn count_others(&self, than: Mac) -> io::Result<()> {
        self.filter(than, 0, 1)?;
        self.option(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?;
        self.count().map(|_| ())
    }

    /// A filter that returns one of these for frames to an address and to others: the
    /// number of bytes to receive.
    fn filter(&self, Mac([a, b, c, d, e, f]): Mac, same: u32, other: u32) -> io::Result<()> {
        let load = libc::BPF_LD | libc::BPF_ABS;
        let (jump, end) = (libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET);
        let high = u32::from_be_bytes([a, b, c, d]);
        let low = u16::from_be_bytes([e, f]).into();
        let mut program = [
            (load | libc::BPF_W, 0, 0, 0),
            (jump, 0, 2, high),
            (load | libc::BPF_H, 0, 0, 4),
            (jump, 1, 0, low),
            (end, 0, 0, other),
            (end, 0, 0, same),
        ]
        .map(|(code, jt, jf, k)| libc::sock_filter { code: code as u16, jt, jf, k });
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        let (len, fd) = (size_of_val(&program) as libc::socklen_t, self.0.as_raw_fd());
        // SAFETY: the program, and what it points to, outlive the call.
        check(unsafe {
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const program).cast(), len)
        })
        .map(|_| ())
    }

    /// Number of frames that arrived since the last call, received or not.
    pub fn count(&self) -> io::Result<u32> {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut len = size_of_val(&stats) as libc::socklen_t;
        let (to, fd) = ((&raw mut stats).cast(), self.0.as_raw_fd());
        // SAFETY: both have room for what is written, and outlive the call.
        check(unsafe { libc::getsockopt(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, to, &raw mut len) })?;
        Ok(stats.tp_packets)
    }

    /// Time since the arrival of the frame received last. The kernel notes it from the first
    /// call on.
    pub fn age(&self) -> io::Result<Duration> {
        // SAFETY: plain numbers, for which zero is valid.
        let (mut arrived, mut now): (libc::timespec, libc::timespec) = unsafe { zeroed() };
        // SAFETY: as the call wants it, and outlives it.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCGSTAMPNS, &raw mut arrived) })?;
        // SAFETY: a clock that exists; the time outlives the call.
        check(unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) })?;
        let ns = |time: libc::timespec| time.tv_sec * 1_000_000_000 + time.tv_nsec;
        Ok(Duration::from_nanos((ns(now) - ns(arrived)).max(0) as u64))
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
