//! The system calls of [`super`] that std does not offer, each behind a safe function. All
//! `unsafe` of this module tree is here.

use std::fs::File;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// A non-blocking NETLINK_ROUTE socket, subscribed to the multicast `groups`. It is a
/// [`File`] because netlink needs only `read(2)` and `write(2)`.
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
    // Protocol 0 receives nothing: no frames of other interfaces may arrive between
    // socket() and bind().
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
    // SAFETY: the descriptor is fresh, open and has no other owner.
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

/// Waits until `fd` is readable. Returns false if `timeout` passed first.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up: a remainder below one millisecond must not become a busy loop.
    let millis = timeout.as_micros().div_ceil(1000);
    let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
    // SAFETY: `entry` is one pollfd, alive and exclusive for the whole call.
    Ok(check(unsafe { libc::poll(&raw mut entry, 1, millis) })? > 0)
}

/// `ETHTOOL_GRXCLSRLCNT`: whether the driver chooses the location of a new rule.
pub fn driver_chooses_location(interface: &str) -> io::Result<bool> {
    const CHOOSES: u64 = 1 << 31; // RX_CLS_LOC_SPECIAL
    let mut rules = RxRules::<1>::asking(0x2e);
    ethtool(interface, &mut rules)?;
    Ok(rules.data & CHOOSES != 0)
}

/// The most rules that [`rule_locations`] has room for: more than any ordinary NIC holds.
const LOCATIONS_MAX: usize = 16 * 1024;

/// `ETHTOOL_GRXCLSRLALL`: the locations of all rules, and the number of locations.
pub fn rule_locations(interface: &str) -> io::Result<(Vec<u32>, u64)> {
    let mut rules = Box::new(RxRules::<LOCATIONS_MAX>::asking(0x30));
    rules.count = LOCATIONS_MAX as u32; // how many it may write
    ethtool(interface, &mut *rules)?;
    let found = rules.locations.iter().take(rules.count as usize).copied();
    Ok((found.collect(), rules.data))
}

/// The commands for one rule.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum RuleCommand {
    /// Reads the rule at its location.
    Get = 0x2f,
    /// Removes the rule at its location.
    Delete = 0x31,
    /// Adds the rule.
    Insert = 0x32,
}

/// Executes a command for this rule. Returns what the kernel makes of it.
pub fn rule(interface: &str, command: RuleCommand, spec: FlowSpec) -> io::Result<FlowSpec> {
    let mut rules = RxRules::<1> { spec, ..RxRules::asking(command as u32) };
    ethtool(interface, &mut rules)?;
    Ok(rules.spec)
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
    Flags = 0x25,
    SetFlags = 0x26,
    /// `ethtool_gfeatures`, with as many blocks as the kernel has: at most four, of 4 words.
    Features = 0x3a,
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

/// Marks the structures of `linux/ethtool.h`.
///
/// # Safety
///
/// The type must have the size and layout that the kernel reads and writes for
/// every `command` it is used with, and be valid for every bit pattern.
unsafe trait Ethtool {}

/// The structure of a [`Command`].
#[repr(C)]
struct Structure {
    command: u32,
    words: Words,
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
    /// An empty rule.
    pub const NONE: Self = Self { flow_type: 0, value: [0; 72], mask: [0; 72], cookie: 0, location: 0 };
}

/// `struct ethtool_rxnfc`, with room for `N` locations at its end.
#[repr(C)]
struct RxRules<const N: usize> {
    command: u32,
    flow_type: u32,
    data: u64,
    spec: FlowSpec,
    count: u32,
    locations: [u32; N],
}

impl<const N: usize> RxRules<N> {
    fn asking(command: u32) -> Self {
        Self { command, flow_type: 0, data: 0, spec: FlowSpec::NONE, count: 0, locations: [0; N] }
    }
}

// SAFETY: all integers; it is longer than the structure of any `Command`.
unsafe impl Ethtool for Structure {}
// SAFETY: ethtool_rxnfc is 192 bytes of integers, including the padding at its end; the
// kernel writes no more locations after it than `count`, which is 0 or `N`.
unsafe impl<const N: usize> Ethtool for RxRules<N> {}

const _: () = assert!(size_of::<FlowSpec>() == 168 && size_of::<RxRules<1>>() == 192);

/// Executes the command that `argument` starts with.
fn ethtool<E: Ethtool>(interface: &str, argument: &mut E) -> io::Result<()> {
    // Any socket of the current network namespace will do.
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
    // SAFETY: `request` is a whole ifreq with a terminated name; its data pointer leads to
    // an `E`, which by the trait's contract is what the kernel reads and writes. Both
    // outlive the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, request) })?;
    Ok(())
}

/// The result of `bpf_xdp_query` for an interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct XdpQuery {
    /// Program ids: native, generic, offloaded; 0 for none.
    pub programs: [u32; 3],
    /// `NETDEV_XDP_ACT_*`; also 0 if the kernel does not report them.
    pub features: u64,
    /// The most fragments of a zero-copy frame; 0 if the kernel does not report it.
    pub zero_copy_segments: u32,
}

/// Queries which programs an interface runs, and the XDP features of its driver.
pub fn xdp_query(index: u32) -> io::Result<XdpQuery> {
    let mut answer = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as _,
        ..Default::default()
    };
    // SAFETY: `answer` is whole, contains its own size, and outlives the call.
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

/// Detaches any XDP program from an interface, as `ip link set xdp off` does.
pub fn xdp_detach(index: u32, flags: u32) -> io::Result<()> {
    let no_options = std::ptr::null();
    // SAFETY: no pointers except the options, which may be null.
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

/// Reads once from a non-blocking descriptor. `None` if nothing is available.
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

/// [`read_ready`], but waits up to `timeout` for data.
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
