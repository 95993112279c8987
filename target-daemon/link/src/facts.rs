//! The properties of an interface, as reported by the kernel.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{fmt, fs, io};

use libbpf_sys::bpf_xdp_query_opts;

use super::netlink::{self, Interface, text};
use super::nic::NicSetting;
use super::sys::{self, Command};

const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

// NETDEV_XDP_ACT_*, linux/netdev.h.
const ACT_BASIC: u64 = 1 << 0;
const ACT_XSK_ZEROCOPY: u64 = 1 << 3;
const ACT_RX_SG: u64 = 1 << 5;

/// Drivers of interfaces to which the kernel passes frames without their outer tag, whatever
/// their features say: it removes the tag on the interface below.
const UNTAGGING: [&str; 5] = ["bonding", "bridge", "ipvlan", "macvlan", "team"];

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the network stack, for any driver.
    Generic,
    /// In the NIC.
    Offload,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offload => "offload",
        })
    }
}

/// The state of an interface at the time of [`Facts::read`]; read it again after a
/// [`super::LinkEvents`] event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Name, as in `ip link`.
    pub name: String,
    /// Index in this network namespace.
    pub index: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// The MTU: bytes after the Ethernet header and its tags.
    pub mtu: u32,
    /// RX queues in use, at least 1. If the driver does not report them, the number with
    /// which the interface was created.
    pub queues: u32,
    /// The most rx queues that it can use.
    pub queues_max: u32,
    /// Name of the driver; empty if unknown.
    pub driver: String,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier.
    pub carrier: bool,
    /// Is a loopback interface.
    pub loopback: bool,
    /// Removes VLAN tags from received frames before an XDP program sees them.
    pub strips_tags: bool,
    /// May drop frames of VLANs that have no VLAN interface.
    pub filters_vlans: bool,
    /// Supports native XDP. `None`, here and below: kernels before 6.3 do not report
    /// features, and newer ones report none for a driver without native XDP.
    pub native: Option<bool>,
    /// Supports multi-buffer frames in native XDP: jumbo frames.
    pub rx_sg: Option<bool>,
    /// Supports zero-copy AF_XDP.
    pub zero_copy: Option<bool>,
    /// The most fragments of a zero-copy frame; below 2, no jumbo frames.
    pub zero_copy_segments: u32,
    /// The mode and id of each attached XDP program.
    pub attached: Vec<(XdpMode, u32)>,
}

impl Facts {
    /// Whether the kernel removes VLAN tags, so that no setting of this interface keeps them.
    pub fn is_untagging(&self) -> bool {
        UNTAGGING.contains(&self.driver.as_str())
    }

    /// Whether it can send and receive frames.
    pub fn is_live(&self) -> bool {
        self.up && self.carrier
    }

    /// [`Self::queues`], read again.
    pub fn queues_again(&self) -> u32 {
        channels(&self.name).unwrap_or(self.queues)
    }

    /// The rx queues that the kernel delivers to at present. More than [`Self::queues`] if
    /// the XDP program made the driver add some (virtio_net). Reads `/sys`, which may show an
    /// interface of another namespace: then it may be too many, up to [`Self::queues_max`].
    pub fn queues_now(&self) -> u32 {
        let sys = Path::new("/sys/class/net").join(&self.name);
        // Another network namespace may have an interface of this name.
        let index = fs::read_to_string(sys.join("ifindex")).unwrap_or_default();
        let queues = fs::read_dir(sys.join("queues")).ok().filter(|_| index.trim() == self.index.to_string());
        let rx =
            queues.into_iter().flatten().flatten().filter(|q| q.file_name().as_bytes().starts_with(b"rx-"));
        self.queues.max(rx.count() as u32).min(self.queues_max)
    }
}

/// Why the [`Facts`] could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// No such interface in this network namespace.
    #[error("interface `{name}` does not exist: there are {}", listed(there))]
    Missing {
        /// The requested name.
        name: String,
        /// The existing names, without the loopback.
        there: Vec<String>,
    },
    /// Its addresses are not MAC addresses.
    #[error("interface `{name}` is not Ethernet (hardware type {kind}): AoE needs Ethernet")]
    NotEthernet {
        /// The interface.
        name: String,
        /// ARPHRD_*.
        kind: u16,
    },
    /// A kernel query failed.
    #[error("cannot read {what} of interface `{name}`")]
    Kernel {
        /// What was queried.
        what: &'static str,
        /// The interface.
        name: String,
        /// The kernel's error.
        source: io::Error,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Facts {
    /// Reads the facts of an interface by its name or an alternative name, in the network
    /// namespace of this thread.
    pub fn read(name: &str) -> Result<Self, FactsError> {
        let kernel = |what| {
            let name = name.to_owned();
            move |source| FactsError::Kernel { what, name, source }
        };
        let all = netlink::interfaces().map_err(kernel("the link state"))?;
        let link = find(all, name)?;
        let mac = mac_of(&link)?;
        let xdp = sys::xdp_query(link.index).map_err(kernel("the XDP state"))?;
        let driver = driver(&link.name).unwrap_or_default();
        let feature = |bit| (xdp.feature_flags != 0).then_some(xdp.feature_flags & bit != 0);
        Ok(Self {
            index: link.index,
            mac,
            mtu: link.mtu,
            queues: queues(&link),
            queues_max: link.rx_queues.max(queues(&link)),
            up: link.flags & libc::IFF_UP.cast_unsigned() != 0,
            carrier: link.flags & libc::IFF_LOWER_UP.cast_unsigned() != 0,
            loopback: link.kind == ARPHRD_LOOPBACK,
            strips_tags: UNTAGGING.contains(&driver.as_str())
                || NicSetting::STRIPPING.iter().any(|setting| is_on(*setting, &link.name)),
            filters_vlans: is_on(NicSetting::RX_VLAN_FILTER, &link.name),
            native: feature(ACT_BASIC),
            rx_sg: feature(ACT_RX_SG),
            zero_copy: feature(ACT_XSK_ZEROCOPY),
            zero_copy_segments: xdp.xdp_zc_max_segs,
            attached: attached(&xdp),
            driver,
            name: link.name,
        })
    }
}

fn find(all: Vec<Interface>, name: &str) -> Result<Interface, FactsError> {
    let others = all.iter().filter(|link| link.kind != ARPHRD_LOOPBACK);
    let there = others.map(|link| link.name.clone()).collect();
    let found = all.into_iter().find(|link| link.is_called(name));
    found.ok_or_else(|| FactsError::Missing { name: name.to_owned(), there })
}

fn mac_of(link: &Interface) -> Result<[u8; 6], FactsError> {
    let known = matches!(link.kind, ARPHRD_ETHER | ARPHRD_LOOPBACK);
    let mac = link.address.as_slice().try_into().ok().filter(|_| known);
    mac.ok_or_else(|| FactsError::NotEthernet { name: link.name.clone(), kind: link.kind })
}

fn queues(link: &Interface) -> u32 {
    channels(&link.name).unwrap_or(link.rx_queues.max(1))
}

fn channels(interface: &str) -> Option<u32> {
    // The words 4 and 7 of ethtool_channels: receive queues, and those that also send.
    let channels = sys::ethtool_words(interface, Command::Channels, [0; 50]).ok()?;
    Some(channels[4].saturating_add(channels[7])).filter(|used| *used > 0)
}

fn is_on(setting: NicSetting, interface: &str) -> bool {
    setting.read(interface).is_ok_and(|on| on != 0)
}

fn driver(interface: &str) -> io::Result<String> {
    let words = sys::ethtool_words(interface, Command::Driver, [0; 50])?;
    let name: Vec<u8> = words[..8].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(text(&name))
}

/// The programs that an interface runs.
pub(super) fn attached(xdp: &bpf_xdp_query_opts) -> Vec<(XdpMode, u32)> {
    let programs = [
        (XdpMode::Native, xdp.drv_prog_id),
        (XdpMode::Generic, xdp.skb_prog_id),
        (XdpMode::Offload, xdp.hw_prog_id),
    ];
    programs.into_iter().filter(|(_, id)| *id != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_known_as_such() {
        let facts = Facts::read("lo").unwrap();
        assert!(facts.loopback);
        assert_eq!(facts.mac, [0; 6]);
        assert!(facts.queues >= 1);
    }

    #[test]
    fn a_missing_interface_is_told_with_those_there_are() {
        let link = |name: &str, kind| Interface { name: name.into(), kind, ..Interface::default() };
        let all = [link("lo", ARPHRD_LOOPBACK), link("eth1", ARPHRD_ETHER), link("eth2", ARPHRD_ETHER)];
        for (count, there) in [(3, "eth1, eth2"), (2, "eth1"), (1, "none")] {
            let text = find(all[..count].to_vec(), "eth3").unwrap_err().to_string();
            assert_eq!(text, format!("interface `eth3` does not exist: there are {there}"));
        }
    }

    #[test]
    fn an_address_of_another_kind_is_refused() {
        let link = |kind, address: &[u8]| Interface {
            name: "x".into(),
            kind,
            address: address.to_vec(),
            ..Interface::default()
        };
        assert_eq!(mac_of(&link(ARPHRD_ETHER, &[2, 0, 0, 0, 0, 1])).unwrap(), [2, 0, 0, 0, 0, 1]);
        for (kind, address) in [(32, [0; 20].as_slice()), (65534, &[]), (ARPHRD_ETHER, &[1])] {
            let error = mac_of(&link(kind, address)).unwrap_err();
            assert!(matches!(error, FactsError::NotEthernet { .. }));
        }
    }

    #[test]
    fn only_real_program_ids_count_as_attached() {
        let none = bpf_xdp_query_opts::default();
        assert_eq!(attached(&none), []);
        let two = bpf_xdp_query_opts { skb_prog_id: 7, hw_prog_id: 9, ..none };
        assert_eq!(attached(&two), [(XdpMode::Generic, 7), (XdpMode::Offload, 9)]);
    }
}
