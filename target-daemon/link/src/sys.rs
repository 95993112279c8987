//! The system calls of [`super`] that std and rustix do not offer, each behind a safe
//! function. All `unsafe` of this module tree is here.

use std::fs::File;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use libbpf_sys::{bpf_xdp_attach_opts, bpf_xdp_query_opts};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

/// A non-blocking NETLINK_ROUTE socket, subscribed to the multicast `groups`. It is a
/// [`File`] because netlink needs only `read(2)` and `write(2)`.
pub fn route_socket(groups: u32) -> io::Result<File> {
    bound(AddressFamily::NETLINK, &SocketAddrNetlink::new(0, groups))
}

/// A non-blocking AF_PACKET socket for frames of `ether_type` on one interface.
pub fn packet_socket(index: u32, ether_type: u16) -> io::Result<File> {
    let address = PacketAddress(libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: ether_type.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    });
    bound(AddressFamily::PACKET, &address)
}

/// A socket with protocol 0, which is NETLINK_ROUTE. As an AF_PACKET socket it receives
/// nothing: no frames of other interfaces may arrive between socket() and bind().
fn bound(family: AddressFamily, address: &impl SocketAddrArg) -> io::Result<File> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::RAW, flags, None)?;
    bind(&socket, address)?;
    Ok(socket.into())
}

struct PacketAddress(libc::sockaddr_ll);

// SAFETY: it passes the address of a whole sockaddr_ll, and its size.
unsafe impl SocketAddrArg for PacketAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f((&raw const self.0).cast(), size_of::<libc::sockaddr_ll>() as SocketAddrLen)
    }
}

/// Reads once from a non-blocking descriptor. `None` if nothing is available.
pub fn read_ready(file: &File, into: &mut [u8]) -> io::Result<Option<usize>> {
    match retry_on_intr(|| rustix::io::read(file, &mut *into)) {
        Err(Errno::AGAIN) => Ok(None),
        read => Ok(Some(read?)),
    }
}

/// [`read_ready`], but waits up to `timeout` for data.
pub fn read_within(file: &File, into: &mut [u8], timeout: Duration) -> io::Result<Option<usize>> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match read_ready(file, into)? {
            None if !left.is_zero() => {}
            read => return Ok(read),
        }
        let left = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            waited => drop(waited?),
        }
    }
}

/// The commands of `linux/ethtool.h` whose structures consist of 32-bit words and fit in
/// [`Words`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// `ethtool_drvinfo`, 49 words with the command: the longest.
    Driver = 0x3,
    Coalesce = 0xe,
    SetCoalesce = 0xf,
    Rings = 0x10,
    SetRings = 0x11,
    Pause = 0x12,
    SetPause = 0x13,
    /// `ethtool_gfeatures`, with as many blocks as the kernel has: at most four, of 4 words.
    Features = 0x3a,
    /// `ethtool_sfeatures`, with at most four blocks of 2 words.
    SetFeatures = 0x3b,
    /// `ethtool_gstrings`; see [`feature_names`].
    Strings = 0x1b,
    Channels = 0x3c,
}

/// The words of a structure after its command.
pub type Words = [u32; 50];

/// Executes an ethtool command with this structure. Returns what the kernel makes of it.
pub fn ethtool_words(interface: &str, command: Command, words: Words) -> io::Result<Words> {
    let mut structure = Structure { command: command as u32, words };
    ethtool(interface, &mut structure)?;
    Ok(structure.words)
}

/// The structure of a [`Command`].
#[repr(C)]
struct Structure {
    command: u32,
    words: Words,
}

/// More than a kernel has.
const NAMES_MAX: usize = 256;

/// `struct ethtool_gstrings`, with room for names at its end.
#[repr(C)]
struct Strings {
    command: u32,
    set: u32,
    count: u32,
    names: [[u8; 32]; NAMES_MAX],
}

/// The names of the features of an interface, padded with zeros, in the order of their bits
/// in [`Command::Features`].
pub fn feature_names(interface: &str) -> io::Result<Vec<[u8; 32]>> {
    const ETH_SS_FEATURES: u32 = 4;
    let (command, set) = (Command::Strings as u32, ETH_SS_FEATURES);
    let mut strings = Box::new(Strings { command, set, count: 0, names: [[0; 32]; NAMES_MAX] });
    ethtool(interface, &mut *strings)?;
    Ok(strings.names.iter().take(strings.count as usize).copied().collect())
}

/// The commands for flow rules.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum RuleCommand {
    /// `ETHTOOL_GRXCLSRLCNT`: the number of rules, and whether the driver chooses the location
    /// of a new one.
    Count = 0x2e,
    /// `ETHTOOL_GRXCLSRULE`: the rule at its location.
    Get = 0x2f,
    /// `ETHTOOL_GRXCLSRLALL`: the locations of all rules, and the number of locations.
    List = 0x30,
    /// `ETHTOOL_SRXCLSRLDEL`: removes the rule at its location.
    Delete = 0x31,
    /// `ETHTOOL_SRXCLSRLINS`: adds a rule.
    Insert = 0x32,
}

/// `struct ethtool_rx_flow_spec`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlowSpec {
    /// `*_FLOW`, with flags.
    pub flow_type: u32,
    /// Header fields, and those of the extension.
    pub value: [u8; 72],
    /// The bits of `value` that are matched.
    pub mask: [u8; 72],
    /// The queue; all ones: drop.
    pub cookie: u64,
    /// The location in the table.
    pub location: u32,
}

impl FlowSpec {
    /// The rule at a location; matches nothing yet.
    pub const fn at(location: u32) -> Self {
        Self { flow_type: 0, value: [0; 72], mask: [0; 72], cookie: 0, location }
    }
}

/// More than any ordinary NIC holds.
const LOCATIONS_MAX: usize = 16 * 1024;

/// `struct ethtool_rxnfc`, with room for locations at its end.
#[repr(C)]
pub struct RxRules {
    command: u32,
    flow_type: u32,
    /// The number of locations, or flags.
    pub data: u64,
    /// The rule.
    pub spec: FlowSpec,
    /// The number of rules.
    pub count: u32,
    /// Their locations.
    pub locations: [u32; LOCATIONS_MAX],
}

/// Executes a command for flow rules. `count` is the number of locations to list. Returns
/// what the kernel makes of it.
pub fn rules(interface: &str, command: RuleCommand, spec: FlowSpec, count: u32) -> io::Result<Box<RxRules>> {
    let (command, count) = (command as u32, count.min(LOCATIONS_MAX as u32));
    let rules = RxRules { command, flow_type: 0, data: 0, spec, count, locations: [0; LOCATIONS_MAX] };
    let mut rules = Box::new(rules);
    ethtool(interface, &mut *rules)?;
    Ok(rules)
}

/// Marks the structures of `linux/ethtool.h`.
///
/// # Safety
///
/// The type must have the size and layout that the kernel reads and writes for
/// every `command` it is used with, and be valid for every bit pattern.
unsafe trait Ethtool {}

// SAFETY: all integers; it is longer than the structure of any `Command`.
unsafe impl Ethtool for Structure {}
// SAFETY: 12 bytes, then 32 for each feature, of which the kernel has 64 or a few more: far
// fewer than there is room for.
unsafe impl Ethtool for Strings {}
// SAFETY: ethtool_rxnfc is 192 bytes of integers, including the padding at its end; the
// kernel writes no more locations after it than `count`, for which there is room.
unsafe impl Ethtool for RxRules {}

const _: () = assert!(size_of::<FlowSpec>() == 168 && size_of::<RxRules>() >= 188 + 4 * LOCATIONS_MAX);

/// Executes the command that `argument` starts with.
fn ethtool<E: Ethtool>(interface: &str, argument: &mut E) -> io::Result<()> {
    // Any socket of the current network namespace will do.
    // Every socket takes these calls, and a process that serves may make no others.
    let socket = route_socket(0)?;
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
    // SAFETY: `request` is a whole ifreq with a terminated name; its data pointer leads to
    // an `E`, which by the trait's contract is what the kernel reads and writes. Both
    // outlive the call.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, request) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Queries which programs an interface runs (ids, 0 for none), and the XDP features of its
/// driver (0 if the kernel does not report them).
pub fn xdp_query(index: u32) -> io::Result<bpf_xdp_query_opts> {
    let mut answer = bpf_xdp_query_opts { sz: size_of::<bpf_xdp_query_opts>() as _, ..Default::default() };
    // SAFETY: `answer` is whole, contains its own size, and outlives the call.
    check(unsafe { libbpf_sys::bpf_xdp_query(index.cast_signed(), 0, &raw mut answer) })?;
    Ok(answer)
}

/// Makes the kernel add its reasons to acknowledgements on this netlink socket.
pub fn with_reasons(socket: &File) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` lives for the whole call, and its size is passed.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    })
}

/// Detaches this XDP program from an interface, and no other.
pub fn xdp_detach(index: u32, flags: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let sz = size_of::<bpf_xdp_attach_opts>() as _;
    let options = bpf_xdp_attach_opts { sz, old_prog_fd: program.as_raw_fd(), ..Default::default() };
    // SAFETY: `options` is whole, contains its own size, and outlives the call.
    check(unsafe { libbpf_sys::bpf_xdp_detach(index.cast_signed(), flags, &raw const options) })
}

/// libbpf returns negative error numbers.
fn check(code: libc::c_int) -> io::Result<()> {
    if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(()) }
}
