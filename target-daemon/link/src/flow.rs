//! Flow rules of a NIC, which select the receive queue of a frame (`ethtool -N`).

use std::{fmt, io};

use super::sys::{self, FlowSpec};

/// `ETHER_FLOW`: a rule by fields of the Ethernet header.
const ETHER_FLOW: u32 = 0x12;
/// `RX_CLS_LOC_ANY`: the driver chooses the location.
const ANYWHERE: u32 = u32::MAX;

/// The offsets of the fields in `struct ethhdr`.
const DESTINATION: usize = 0;
const SOURCE: usize = 6;
const ETHER_TYPE: usize = 12;

/// The frames that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowMatch {
    /// Frames with these Ethernet header fields; `None` matches any value.
    Ether {
        /// The destination MAC address.
        destination: Option<[u8; 6]>,
        /// The source MAC address.
        source: Option<[u8; 6]>,
        /// The EtherType.
        ether_type: Option<u16>,
    },
    /// Something else, for instance an IP flow.
    Other,
}

/// One flow rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRule {
    /// Its location in the table: lower locations have precedence.
    pub location: u32,
    /// The frames that it matches.
    pub matches: FlowMatch,
    /// The target queue; `None` if the rule has another target or drops the frames.
    pub queue: Option<u32>,
}

impl FlowMatch {
    fn spec(self) -> Option<FlowSpec> {
        let Self::Ether { destination, source, ether_type } = self else { return None };
        let mut spec = FlowSpec { flow_type: ETHER_FLOW, ..FlowSpec::NONE };
        let mut put = |at: usize, bytes: Option<&[u8]>| {
            for (offset, byte) in bytes.unwrap_or_default().iter().enumerate() {
                spec.value[at + offset] = *byte;
                spec.mask[at + offset] = 0xff;
            }
        };
        put(DESTINATION, destination.as_ref().map(<[u8; 6]>::as_slice));
        put(SOURCE, source.as_ref().map(<[u8; 6]>::as_slice));
        put(ETHER_TYPE, ether_type.map(u16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice));
        Some(spec)
    }

    /// A rule that matches part of a field, or other fields as well, is `Other`.
    fn of(spec: &FlowSpec) -> Self {
        let (value, mask) = (&spec.value, &spec.mask);
        let beyond = mask.get(ETHER_TYPE + 2..).is_none_or(|rest| rest.iter().any(|byte| *byte != 0));
        if spec.flow_type != ETHER_FLOW || beyond {
            return Self::Other;
        }
        let fields = (
            field::<6>(value, mask, DESTINATION),
            field::<6>(value, mask, SOURCE),
            field::<2>(value, mask, ETHER_TYPE),
        );
        let (Some(destination), Some(source), Some(ether_type)) = fields else { return Self::Other };
        Self::Ether { destination, source, ether_type: ether_type.map(u16::from_be_bytes) }
    }
}

/// The field at `at`: `Some(None)` if none of its bits are matched, `None` if only some
/// are.
fn field<const N: usize>(value: &[u8], mask: &[u8], at: usize) -> Option<Option<[u8; N]>> {
    let mask: [u8; N] = *mask.get(at..)?.first_chunk()?;
    if mask == [0; N] {
        return Some(None);
    }
    (mask == [0xff; N]).then_some(Some(*value.get(at..)?.first_chunk()?))
}

impl fmt::Display for FlowMatch {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ether { destination, source, ether_type } = self else {
            return to.write_str("frames by other fields");
        };
        to.write_str("frames")?;
        if let Some(kind) = ether_type {
            write!(to, " of EtherType {kind:#06x}")?;
        }
        if let Some(mac) = source {
            write!(to, " from {}", mac_text(*mac))?;
        }
        if let Some(mac) = destination {
            write!(to, " to {}", mac_text(*mac))?;
        }
        Ok(())
    }
}

/// A MAC address as `ip link` prints it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The rules of one interface, in the network namespace of this thread.
pub struct FlowTable {
    interface: String,
}

/// The capacity of a rule table, and who chooses the locations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRoom {
    /// The number of locations; 0 if the driver does not report it.
    pub places: u32,
    /// The driver chooses the location of a new rule.
    pub driver_chooses: bool,
}

impl FlowTable {
    /// The table of this interface.
    pub fn of(interface: &str) -> Self {
        Self { interface: interface.to_owned() }
    }

    /// Whether rules are enabled (`ethtool -K IF ntuple`).
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn is_on(&self) -> io::Result<bool> {
        sys::ntuple(&self.interface)
    }

    /// Enables or disables rules. A driver may lose its rules when they are disabled.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no such switch.
    pub fn switch(&self, on: bool) -> io::Result<()> {
        sys::set_ntuple(&self.interface, on)
    }

    /// The capacity of the table.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no rules.
    pub fn room(&self) -> io::Result<FlowRoom> {
        let (_, driver_chooses) = sys::rule_count(&self.interface)?;
        let (_, places) = sys::rule_locations(&self.interface)?;
        Ok(FlowRoom { places: u32::try_from(places).unwrap_or(u32::MAX), driver_chooses })
    }

    /// All rules, including those of other programs.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no rules.
    pub fn rules(&self) -> io::Result<Vec<FlowRule>> {
        let (locations, _) = sys::rule_locations(&self.interface)?;
        let read = |location: u32| {
            let spec = sys::rule_at(&self.interface, location)?;
            let queue = u32::try_from(spec.cookie).ok();
            Ok(FlowRule { location, matches: FlowMatch::of(&spec), queue })
        };
        locations.into_iter().map(read).collect()
    }

    /// Adds a rule, at `location` or where the driver chooses. Returns its location.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP or EINVAL if the driver does not match these fields, ENOSPC
    /// if there is no room.
    pub fn insert(&self, matches: FlowMatch, queue: u32, location: Option<u32>) -> io::Result<u32> {
        let mut spec = matches.spec().ok_or(io::ErrorKind::InvalidInput)?;
        spec.cookie = queue.into();
        spec.location = location.unwrap_or(ANYWHERE);
        sys::insert_rule(&self.interface, spec)
    }

    /// Removes the rule at `location`.
    ///
    /// # Errors
    ///
    /// The kernel's; ENOENT if there is none.
    pub fn remove(&self, location: u32) -> io::Result<()> {
        sys::delete_rule(&self.interface, location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn ether(destination: bool, source: bool, ether_type: bool) -> FlowMatch {
        FlowMatch::Ether {
            destination: destination.then_some([9; 6]),
            source: source.then_some(MAC),
            ether_type: ether_type.then_some(0x88a2),
        }
    }

    #[test]
    fn a_rule_reads_back_as_it_was_written() {
        for bits in 0..8_u8 {
            let rule = ether(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            assert_eq!(FlowMatch::of(&rule.spec().unwrap()), rule, "{bits}");
        }
    }

    #[test]
    fn the_fields_lie_where_ethtool_has_them() {
        let spec = ether(false, true, true).spec().unwrap();
        assert_eq!(spec.flow_type, 0x12);
        assert_eq!(spec.value[..14], [0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 7, 0x88, 0xa2]);
        assert_eq!(spec.mask[..14], [0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert!(spec.value[14..].iter().chain(&spec.mask[14..]).all(|byte| *byte == 0));
    }

    #[test]
    fn a_rule_that_asks_for_more_or_for_less_is_another_one() {
        let spec = ether(false, false, true).spec().unwrap();
        for (at, mask) in [(14, 1), (60, 0xff), (12, 0x0f), (0, 0xff), (6, 0xf0)] {
            let mut other = spec;
            other.mask[at] = mask;
            assert_eq!(FlowMatch::of(&other), FlowMatch::Other, "{at}");
        }
        for flow_type in [0x01, 0x12 | 1 << 31, 0x12 | 1 << 29] {
            assert_eq!(FlowMatch::of(&FlowSpec { flow_type, ..spec }), FlowMatch::Other);
        }
    }

    #[test]
    fn a_match_is_told_in_words() {
        assert_eq!(ether(false, false, true).to_string(), "frames of EtherType 0x88a2");
        let all = "frames of EtherType 0x88a2 from 02:00:00:00:00:07 to 09:09:09:09:09:09";
        assert_eq!(ether(true, true, true).to_string(), all);
    }
}
