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

/// `ETHTOOL_GDRVINFO`: the driver's name.
pub fn driver(interface: &str) -> io::Result<String> {
    let mut info = DriverInfo { command: 0x3, driver: [0; 32], rest: [0; 160] };
    ethtool(interface, &mut info)?;
    let name = info.driver.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// `ETHTOOL_GCHANNELS`: the number of RX queues in use.
pub fn rx_channels(interface: &str) -> io::Result<u32> {
    let mut channels = Channels { command: 0x3c, ..Channels::default() };
    ethtool(interface, &mut channels)?;
    Ok(channels.rx.saturating_add(channels.combined))
}

/// `rxvlan` of `ETHTOOL_GFLAGS`: whether the NIC strips VLAN tags.
pub fn rx_vlan_offload(interface: &str) -> io::Result<bool> {
    const RXVLAN: u32 = 1 << 8;
    let mut flags = Value { command: 0x25, data: 0 };
    ethtool(interface, &mut flags)?;
    Ok(flags.data & RXVLAN != 0)
}

/// `ETH_FLAG_NTUPLE`: rules that send frames to queues are enabled.
const NTUPLE: u32 = 1 << 27;

/// `ntuple` of `ETHTOOL_GFLAGS`.
pub fn ntuple(interface: &str) -> io::Result<bool> {
    let mut flags = Value { command: 0x25, data: 0 };
    ethtool(interface, &mut flags)?;
    Ok(flags.data & NTUPLE != 0)
}

/// Sets `ntuple` by `ETHTOOL_SFLAGS`, which sets all flags at once.
pub fn set_ntuple(interface: &str, on: bool) -> io::Result<()> {
    let mut flags = Value { command: 0x25, data: 0 };
    ethtool(interface, &mut flags)?;
    flags.command = 0x26;
    flags.data = if on { flags.data | NTUPLE } else { flags.data & !NTUPLE };
    ethtool(interface, &mut flags)
}

/// `ETHTOOL_GRXCLSRLCNT`: the number of rules, and whether the driver chooses the location
/// of a new one.
pub fn rule_count(interface: &str) -> io::Result<(u32, bool)> {
    const CHOOSES: u64 = 1 << 31; // RX_CLS_LOC_SPECIAL
    let mut rules = RxRules::<1>::asking(0x2e);
    ethtool(interface, &mut rules)?;
    Ok((rules.count, rules.data & CHOOSES != 0))
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

/// `ETHTOOL_GRXCLSRULE`: the rule at `location`.
pub fn rule_at(interface: &str, location: u32) -> io::Result<FlowSpec> {
    let mut rules = RxRules::<1>::asking(0x2f);
    rules.spec.location = location;
    ethtool(interface, &mut rules)?;
    Ok(rules.spec)
}

/// `ETHTOOL_SRXCLSRLINS`: adds a rule. Returns its location.
pub fn insert_rule(interface: &str, spec: FlowSpec) -> io::Result<u32> {
    let mut rules = RxRules::<1>::asking(0x32);
    rules.spec = spec;
    ethtool(interface, &mut rules)?;
    Ok(rules.spec.location)
}

/// `ETHTOOL_SRXCLSRLDEL`: removes the rule at `location`.
pub fn delete_rule(interface: &str, location: u32) -> io::Result<()> {
    let mut rules = RxRules::<1>::asking(0x31);
    rules.spec.location = location;
    ethtool(interface, &mut rules)
}

/// `ETHTOOL_GRINGPARAM`: the entries of the receive ring, and the maximum of the NIC.
pub fn rx_ring(interface: &str) -> io::Result<(u32, u32)> {
    let mut words = Words::<9>::asking(0x10);
    ethtool(interface, &mut words)?;
    Ok((words.rest[4], words.rest[0]))
}

/// `ETHTOOL_GCOALESCE` for receiving: the microseconds and frames by which an interrupt may
/// be delayed, and whether the NIC adapts them.
pub fn rx_coalesce(interface: &str) -> io::Result<(u32, u32, bool)> {
    let mut words = Words::<23>::asking(0x0e);
    ethtool(interface, &mut words)?;
    Ok((words.rest[0], words.rest[1], words.rest[9] != 0))
}

/// `ETHTOOL_GPAUSEPARAM`: whether pause frames are obeyed, and whether they are sent.
pub fn pause(interface: &str) -> io::Result<(bool, bool)> {
    let mut words = Words::<4>::asking(0x12);
    ethtool(interface, &mut words)?;
    Ok((words.rest[1] != 0, words.rest[2] != 0))
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

/// A structure of `N` 32-bit integers, the first of which is the command.
#[repr(C)]
struct Words<const N: usize> {
    command: u32,
    /// One extra word, which the kernel does not use.
    rest: [u32; N],
}

impl<const N: usize> Words<N> {
    fn asking(command: u32) -> Self {
        Self { command, rest: [0; N] }
    }
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

// SAFETY: every command used with it has a structure of exactly `N` integers, and there is
// room for one more.
unsafe impl<const N: usize> Ethtool for Words<N> {}
// SAFETY: ethtool_rxnfc is 192 bytes of integers, including the padding at its end; the
// kernel writes no more locations after it than `count`, which is 0 or `N`.
unsafe impl<const N: usize> Ethtool for RxRules<N> {}
// SAFETY: ethtool_drvinfo is 196 bytes, all of them integers or characters.
unsafe impl Ethtool for DriverInfo {}
// SAFETY: ethtool_channels is nine 32-bit integers.
unsafe impl Ethtool for Channels {}
// SAFETY: ethtool_value is two 32-bit integers.
unsafe impl Ethtool for Value {}

const _: () = assert!(size_of::<DriverInfo>() == 196 && size_of::<Channels>() == 36);
const _: () = assert!(size_of::<FlowSpec>() == 168 && size_of::<RxRules<1>>() == 192);

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
