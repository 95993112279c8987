//! Lists the interfaces of the current network namespace through NETLINK_ROUTE. Not from
//! `/sys`, which may show those of another namespace.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use libc::{
    IFLA_ADDRESS, IFLA_ALT_IFNAME, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINK_NETNSID,
    IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NUM_RX_QUEUES, IFLA_PROP_LIST, IFLA_STATS64, IFLA_XDP,
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK,
};

use super::sys;

/// The kernel replies from memory; a longer wait is an error.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The most that the kernel returns in one read.
const READ_MAX: usize = 32 * 1024;

const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;

/// Of `IFLA_INFO_DATA` of a VLAN interface, in `linux/if_link.h`.
const IFLA_VLAN_ID: u16 = 1;

/// The length of `struct nlmsghdr`.
pub const HEADER: usize = 16;
const IFINFO: usize = 16; // struct ifinfomsg

/// The upper bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

/// One interface, as reported by RTM_GETLINK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Index in this network namespace.
    pub index: u32,
    /// ARPHRD_*: 1 is Ethernet, 772 the loopback.
    pub kind: u16,
    /// IFF_*.
    pub flags: u32,
    /// The hardware address; 6 bytes on Ethernet.
    pub address: Vec<u8>,
    /// Its MTU.
    pub mtu: u32,
    /// The queues with which the interface was created, at least those in use.
    pub rx_queues: u32,
    /// Its alternative names.
    pub alt_names: Vec<String>,
    /// The index of its bridge, bond or similar master; 0 if none.
    pub master: u32,
    /// The index of the interface on which it was created, as for a VLAN, in this network
    /// namespace; 0 if none.
    pub lower: u32,
    /// The VLAN of a VLAN interface.
    pub vlan: Option<u16>,
    /// Frames received.
    pub received: u64,
    /// Frames that arrived and were lost for want of buffers, or for a reason that the
    /// driver does not name.
    pub lost: u64,
}

impl Interface {
    /// All its names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(&self.alt_names)
    }

    /// Whether this is one of its names.
    pub fn is_called(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    /// Whether it lies directly on `lower`.
    pub fn lies_on(&self, lower: &Self) -> bool {
        self.index != lower.index && (self.lower == lower.index || lower.master == self.index)
    }
}

/// Every interface of the current network namespace.
///
/// # Errors
///
/// Those of the netlink socket.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut socket = sys::route_socket(0)?;
    socket.write_all(&request(RTM_GETLINK, NLM_F_DUMP, 0, &[]))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; READ_MAX];
    while !gather(read(&socket, &mut buffer)?, &mut found)? {}
    Ok(found)
}

/// Attaches an XDP program as `ip link` does. The kernel's answer has its reason in words,
/// unlike that to a bpf_link. `Ok` has that reason, or `None` if the program is attached.
/// After an error it may be attached.
pub fn attach(index: u32, program: BorrowedFd<'_>, flags: u32) -> io::Result<Option<String>> {
    const IFLA_XDP_FD: u16 = 1;
    const IFLA_XDP_FLAGS: u16 = 3;
    let fd = attribute(IFLA_XDP_FD, &program.as_raw_fd().to_ne_bytes());
    let xdp = [fd, attribute(IFLA_XDP_FLAGS, &flags.to_ne_bytes())].concat();
    let mut socket = sys::route_socket(0)?;
    sys::with_reasons(&socket)?;
    socket.write_all(&request(RTM_SETLINK, NLM_F_ACK, index, &attribute(IFLA_XDP | NESTED, &xdp)))?;
    let mut buffer = vec![0; READ_MAX];
    let answer = read(&socket, &mut buffer)?;
    match (u16_at(answer, 4), u32_at(answer, HEADER)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(None),
        (Some(NLMSG_ERROR), Some(_)) => Ok(Some(reason(answer).unwrap_or_default())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The kernel's reason in a refusal.
fn reason(answer: &[u8]) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    const CAPPED: u16 = 0x100;
    let flags = u16_at(answer, 6)?;
    // The request follows: its header, or all of it.
    let request = if flags & CAPPED == 0 { u32_at(answer, HEADER + 4)? as usize } else { HEADER };
    let mut reasons = attributes(answer.get(HEADER + 4 + align(request)..)?);
    reasons.find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG).map(|(_, value)| text(value))
}

fn read<'a>(socket: &File, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let len = sys::read_within(socket, buffer, ANSWER_WITHIN)?;
    let len = len.ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))?;
    Ok(buffer.get(..len).unwrap_or_default())
}

/// A request for the interface at `index`, or for all.
fn request(kind: u16, flags: libc::c_int, index: u32, attributes: &[u8]) -> Vec<u8> {
    let flags = (NLM_F_REQUEST | flags) as u16;
    let mut bytes = ((HEADER + IFINFO + attributes.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend([kind, flags].map(u16::to_ne_bytes).concat());
    bytes.resize(HEADER + 4, 0); // sequence, port, family and type: any
    bytes.extend(index.to_ne_bytes());
    bytes.resize(HEADER + IFINFO, 0);
    bytes.extend(attributes);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(align(bytes.len()), 0);
    bytes
}

/// Adds the interfaces of one read. Returns true after the last.
fn gather(mut bytes: &[u8], found: &mut Vec<Interface>) -> io::Result<bool> {
    while let (Some(len), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let Some(body) = bytes.get(HEADER..len as usize) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = u32_at(body, 0).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(-code));
            }
            RTM_NEWLINK => found.extend(interface(body)),
            _ => {}
        }
        bytes = bytes.get(align(len as usize)..).unwrap_or_default();
    }
    Ok(false)
}

fn interface(body: &[u8]) -> Option<Interface> {
    let mut interface = Interface {
        kind: u16_at(body, 2)?,
        index: u32_at(body, 4)?,
        flags: u32_at(body, 8)?,
        ..Interface::default()
    };
    let mut is_elsewhere = false;
    for (kind, value) in attributes(body.get(IFINFO..)?) {
        let number = || u32_at(value, 0);
        match kind {
            IFLA_ADDRESS => interface.address = value.to_vec(),
            IFLA_IFNAME => interface.name = text(value),
            IFLA_MTU => interface.mtu = number()?,
            IFLA_LINK => interface.lower = number()?,
            IFLA_MASTER => interface.master = number()?,
            IFLA_NUM_RX_QUEUES => interface.rx_queues = number()?,
            // rtnl_link_stats64: rx_packets; rx_dropped, rx_over_errors, rx_fifo_errors and
            // rx_missed_errors.
            IFLA_STATS64 => {
                let lost = [6, 11, 14, 15].iter().filter_map(|index| u64_at(value, 8 * index));
                interface.received = u64_at(value, 0).unwrap_or_default();
                interface.lost = lost.fold(0, u64::wrapping_add);
            }
            IFLA_LINK_NETNSID => is_elsewhere = true,
            IFLA_LINKINFO => {
                let info = |wanted| attributes(value).find(|(kind, _)| *kind == wanted);
                let kind = info(IFLA_INFO_KIND).map(|(_, value)| text(value)).unwrap_or_default();
                // The other end of a veth pair is not below it.
                is_elsewhere |= kind == "veth";
                let data = info(IFLA_INFO_DATA).filter(|_| kind == "vlan");
                let id = data.and_then(|(_, data)| attributes(data).find(|(kind, _)| *kind == IFLA_VLAN_ID));
                interface.vlan = id.and_then(|(_, id)| u16_at(id, 0));
            }
            IFLA_PROP_LIST => {
                let names = attributes(value).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
                interface.alt_names = names.map(|(_, value)| text(value)).collect();
            }
            _ => {}
        }
    }
    if is_elsewhere {
        interface.lower = 0;
    }
    Some(interface)
}

/// The kind and value of each attribute.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (len, kind) = (usize::from(u16_at(rest, 0)?), u16_at(rest, 2)?);
        let value = rest.get(4..len)?;
        rest = rest.get(align(len)..).unwrap_or_default();
        Some((kind & TYPE_MASK, value))
    })
}

/// A C string.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(value.get(..end.unwrap_or(value.len())).unwrap_or_default()).into()
}

/// Netlink pads everything to four bytes.
fn align(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// The number at an offset.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The number at an offset.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }

    fn new_link() -> Vec<u8> {
        let mut body = vec![0, 0];
        body.extend(1_u16.to_ne_bytes());
        body.extend(7_u32.to_ne_bytes());
        body.extend(0x1043_u32.to_ne_bytes());
        body.resize(IFINFO, 0);
        body.extend(attribute(IFLA_IFNAME, b"eth7\0"));
        body.extend(attribute(99, b"unknown"));
        body.extend(attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 7]));
        body.extend(attribute(IFLA_MTU, &9000_u32.to_ne_bytes()));
        body.extend(attribute(IFLA_NUM_RX_QUEUES, &4_u32.to_ne_bytes()));
        body.extend(attribute(IFLA_LINK, &3_u32.to_ne_bytes()));
        body.extend(attribute(IFLA_MASTER, &9_u32.to_ne_bytes()));
        body.extend(attribute(IFLA_STATS64, &(1..17_u64).flat_map(u64::to_ne_bytes).collect::<Vec<_>>()));
        let names =
            [attribute(IFLA_ALT_IFNAME, b"enp7s0\0"), attribute(IFLA_ALT_IFNAME, b"storage\0")].concat();
        body.extend(attribute(IFLA_PROP_LIST | 0x8000, &names));
        message(RTM_NEWLINK, &body)
    }

    #[test]
    fn an_answer_becomes_interfaces_until_done() {
        let mut found = Vec::new();
        assert!(!gather(&[new_link(), new_link()].concat(), &mut found).unwrap());
        assert!(gather(&message(NLMSG_DONE, &[0; 4]), &mut found).unwrap());
        let want = Interface {
            name: "eth7".into(),
            index: 7,
            kind: 1,
            flags: 0x1043,
            address: vec![2, 0, 0, 0, 0, 7],
            mtu: 9000,
            rx_queues: 4,
            alt_names: vec!["enp7s0".into(), "storage".into()],
            master: 9,
            lower: 3,
            vlan: None,
            received: 1,
            lost: 7 + 12 + 15 + 16,
        };
        assert_eq!(found, [want.clone(), want]);
    }

    #[test]
    fn what_lies_on_what_is_told_by_indexes() {
        let link = |index, lower, master| Interface { index, lower, master, ..Interface::default() };
        let (nic, vlan, bridge) = (link(2, 0, 9), link(3, 2, 0), link(9, 0, 0));
        assert!(vlan.lies_on(&nic) && bridge.lies_on(&nic));
        assert!(!nic.lies_on(&vlan) && !nic.lies_on(&bridge) && !vlan.lies_on(&bridge));
        // The other end of a pair, or one in another namespace, is not below.
        for apart in [
            attribute(IFLA_LINK_NETNSID, &[0; 4]),
            attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"veth\0")),
        ] {
            let mut message = new_link();
            message.extend(apart);
            assert_eq!(interface(&message[HEADER..]).unwrap().lower, 0);
        }
    }

    #[test]
    fn a_vlan_interface_has_its_vlan() {
        let data = attribute(IFLA_INFO_DATA, &attribute(IFLA_VLAN_ID, &20_u16.to_ne_bytes()));
        for (kind, vlan) in [(&b"vlan\0"[..], Some(20)), (b"vxlan\0", None)] {
            let info = [attribute(IFLA_INFO_KIND, kind), data.clone()].concat();
            let mut message = new_link();
            message.extend(attribute(IFLA_LINKINFO, &info));
            let found = interface(&message[HEADER..]).unwrap();
            assert_eq!((found.vlan, found.lower), (vlan, 3));
        }
    }

    #[test]
    fn an_error_answer_is_the_error_it_names() {
        let code = (-libc::EPERM).to_ne_bytes();
        let error = gather(&message(NLMSG_ERROR, &code), &mut Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_cut_or_lying_answer_neither_panics_nor_loops() {
        let whole = new_link();
        for len in 0..whole.len() {
            let _ = gather(&whole[..len], &mut Vec::new());
        }
        for at in 0..whole.len() {
            for value in [0, 1, 3, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = gather(&bytes, &mut Vec::new());
            }
        }
    }

    #[test]
    fn the_kernel_lists_the_loopback() {
        let lo = interfaces().unwrap().into_iter().find(|one| one.name == "lo").unwrap();
        assert_eq!((lo.kind, lo.address.len()), (772, 6));
        assert!(lo.rx_queues >= 1);
    }
}
