//! The system calls of [`super`] that std does not offer, each behind a safe
//! function. All `unsafe` of this module tree is here.

use std::fs::File;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// A non-blocking NETLINK_ROUTE socket that hears the multicast `groups`.
/// Reading and writing go through [`File`]: `read(2)` and `write(2)` are all
/// that netlink needs.
pub fn route_socket(groups: u32) -> io::Result<File> {
    let fd = socket(libc::AF_NETLINK, libc::NETLINK_ROUTE)?;
    // SAFETY: an all-zero sockaddr_nl is a valid value.
    let mut address: libc::sockaddr_nl = unsafe { zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    bind(&fd, &address)?;
    Ok(File::from(fd))
}

/// A non-blocking AF_PACKET socket for frames of `ether_type` on one interface.
pub fn packet_socket(index: u32, ether_type: u16) -> io::Result<File> {
    // Protocol 0 hears nothing: frames of other interfaces must not slip in
    // between socket() and bind().
    let fd = socket(libc::AF_PACKET, 0)?;
    // SAFETY: an all-zero sockaddr_ll is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = ether_type.to_be();
    address.sll_ifindex = index.cast_signed();
    bind(&fd, &address)?;
    Ok(File::from(fd))
}

fn socket(family: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(family, kind, protocol) })?;
    // SAFETY: the descriptor is fresh, open and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `A` is one of the kernel's socket address structures.
fn bind<A>(fd: &OwnedFd, address: &A) -> io::Result<()> {
    let len = size_of::<A>() as libc::socklen_t;
    let address = std::ptr::from_ref(address).cast();
    // SAFETY: `address` points to `len` readable bytes for the whole call.
    check(unsafe { libc::bind(fd.as_raw_fd(), address, len) })?;
    Ok(())
}

/// Waits until `fd` is readable; false when `timeout` passed first.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up: a rest below one millisecond must not become a busy loop.
    let millis = timeout.as_micros().div_ceil(1000);
    let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
    // SAFETY: `entry` is one pollfd, alive and exclusive for the whole call.
    Ok(check(unsafe { libc::poll(&raw mut entry, 1, millis) })? > 0)
}

/// What `ETHTOOL_GDRVINFO` tells: the driver's name.
pub fn driver(interface: &str) -> io::Result<String> {
    let mut info = DriverInfo { command: 0x3, driver: [0; 32], rest: [0; 160] };
    ethtool(interface, &mut info)?;
    let name = info.driver.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// What `ETHTOOL_GCHANNELS` tells: the number of RX queues in use.
pub fn rx_channels(interface: &str) -> io::Result<u32> {
    let mut channels = Channels { command: 0x3c, ..Channels::default() };
    ethtool(interface, &mut channels)?;
    Ok(channels.rx.saturating_add(channels.combined))
}

/// What `ETHTOOL_GFLAGS` tells of `rxvlan`: whether the NIC takes tags out.
pub fn rx_vlan_offload(interface: &str) -> io::Result<bool> {
    const RXVLAN: u32 = 1 << 8;
    let mut flags = Value { command: 0x25, data: 0 };
    ethtool(interface, &mut flags)?;
    Ok(flags.data & RXVLAN != 0)
}

/// Marks the structures of `linux/ethtool.h`.
///
/// # Safety
///
/// The type must have the size and layout that the kernel reads and writes for
/// every `command` it is used with, and be valid for every bit pattern.
unsafe trait Ethtool {}

/// `struct ethtool_drvinfo`, of which the driver's name is used.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

// SAFETY: ethtool_drvinfo is 196 bytes, all of them integers or characters.
unsafe impl Ethtool for DriverInfo {}
// SAFETY: ethtool_channels is nine 32-bit integers.
unsafe impl Ethtool for Channels {}
// SAFETY: ethtool_value is two 32-bit integers.
unsafe impl Ethtool for Value {}

const _: () = assert!(size_of::<DriverInfo>() == 196 && size_of::<Channels>() == 36);

fn ethtool<E: Ethtool>(interface: &str, argument: &mut E) -> io::Result<()> {
    // Any socket of the current network namespace serves.
    let socket = UnixDatagram::unbound()?;
    // SAFETY: an all-zero ifreq is a valid value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    let last = request.ifr_name.len() - 1; // stays 0: the name is a C string
    if interface.len() > last {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(argument).cast();
    let request = &raw mut request;
    // SAFETY: `request` is a whole ifreq with a terminated name; its data
    // pointer leads to an `E`, which by the trait's contract is what the
    // kernel reads and writes. Both outlive the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, request) })?;
    Ok(())
}

/// What `bpf_xdp_query` tells of an interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct XdpQuery {
    /// Program ids: native, generic, offloaded; 0 for none.
    pub programs: [u32; 3],
    /// `NETDEV_XDP_ACT_*`; 0 also when the kernel does not tell.
    pub features: u64,
    /// Most fragments of a zero-copy frame; 0 when the kernel does not tell.
    pub zero_copy_segments: u32,
}

/// Asks the kernel which programs an interface runs, and which XDP features
/// its driver has.
pub fn xdp_query(index: u32) -> io::Result<XdpQuery> {
    let mut answer = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as _,
        ..Default::default()
    };
    // SAFETY: `answer` is whole, says its own size, and outlives the call.
    let code = unsafe { libbpf_sys::bpf_xdp_query(index.cast_signed(), 0, &raw mut answer) };
    if code < 0 {
        return Err(io::Error::from_raw_os_error(-code));
    }
    Ok(XdpQuery {
        programs: [answer.drv_prog_id, answer.skb_prog_id, answer.hw_prog_id],
        features: answer.feature_flags,
        zero_copy_segments: answer.xdp_zc_max_segs,
    })
}

/// Takes any XDP program off an interface, as `ip link set xdp off` does.
pub fn xdp_detach(index: u32, flags: u32) -> io::Result<()> {
    let no_options = std::ptr::null();
    // SAFETY: no pointers but the options, which may be null.
    let code = unsafe { libbpf_sys::bpf_xdp_detach(index.cast_signed(), flags, no_options) };
    if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(()) }
}

/// RLIMIT_MEMLOCK: (soft, hard), in bytes.
pub fn memlock() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole rlimit, exclusive for the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets both values of RLIMIT_MEMLOCK to unlimited.
pub fn unlimit_memlock() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a whole rlimit that outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) })?;
    Ok(())
}

/// Reads once from a non-blocking descriptor; None when it has nothing.
pub fn read_ready(mut file: &File, into: &mut [u8]) -> io::Result<Option<usize>> {
    use std::io::Read as _;
    loop {
        match file.read(into) {
            Ok(len) => return Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// [`read_ready`], but waits up to `timeout` for something to come.
pub fn read_within(file: &File, into: &mut [u8], timeout: Duration) -> io::Result<Option<usize>> {
    let deadline = std::time::Instant::now() + timeout;
    loop {
        if let Some(len) = read_ready(file, into)? {
            return Ok(Some(len));
        }
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match wait_readable(file.as_fd(), left) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
