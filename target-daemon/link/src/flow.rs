//! Flow rules of a NIC, which select the receive queue of a frame (`ethtool -N`).

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::nic::NicSetting;
use super::sys::{self, FlowSpec, RuleCommand, RxRules};

/// `ETHER_FLOW`: a rule by fields of the Ethernet header.
const ETHER_FLOW: u32 = 0x12;
/// `RX_CLS_LOC_ANY`: the driver chooses the location.
const ANYWHERE: u32 = u32::MAX;

/// The offsets of the fields in `struct ethhdr`.
const DESTINATION: usize = 0;
const SOURCE: usize = 6;
const ETHER_TYPE: usize = 12;

/// Fields of the Ethernet header that a rule matches; `None` matches any value.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub struct FlowMatch {
    /// The destination MAC address.
    pub destination: Option<[u8; 6]>,
    /// The source MAC address.
    pub source: Option<[u8; 6]>,
    /// The EtherType.
    pub ether_type: Option<u16>,
}

/// One flow rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRule {
    /// Its location in the table: lower locations have precedence.
    pub location: u32,
    /// The frames that it matches; `None` if by something else, for instance an IP flow.
    pub matches: Option<FlowMatch>,
    /// The target queue; `None` if the rule has another target or drops the frames.
    pub queue: Option<u32>,
}

impl FlowMatch {
    fn spec(self) -> FlowSpec {
        let mut spec = FlowSpec { flow_type: ETHER_FLOW, ..FlowSpec::at(0) };
        let ether_type = self.ether_type.map(u16::to_be_bytes);
        let fields: [(usize, Option<&[u8]>); 3] = [
            (DESTINATION, self.destination.as_ref().map(|mac| &mac[..])),
            (SOURCE, self.source.as_ref().map(|mac| &mac[..])),
            (ETHER_TYPE, ether_type.as_ref().map(|bytes| &bytes[..])),
        ];
        for (at, bytes) in fields.into_iter().filter_map(|(at, bytes)| Some((at, bytes?))) {
            spec.value[at..at + bytes.len()].copy_from_slice(bytes);
            spec.mask[at..at + bytes.len()].fill(0xff);
        }
        spec
    }

    /// `None` for a rule that matches part of a field, or other fields as well.
    fn of(spec: &FlowSpec) -> Option<Self> {
        let matches = Self {
            destination: field(spec, DESTINATION),
            source: field(spec, SOURCE),
            ether_type: field(spec, ETHER_TYPE).map(u16::from_be_bytes),
        };
        let whole = matches.spec();
        (whole.flow_type == spec.flow_type && whole.mask == spec.mask).then_some(matches)
    }
}

/// The field at `at`, if all of its bits are matched.
fn field<const N: usize>(spec: &FlowSpec, at: usize) -> Option<[u8; N]> {
    let is_matched = spec.mask.get(at..at + N)?.iter().all(|byte| *byte == 0xff);
    spec.value.get(at..)?.first_chunk().copied().filter(|_| is_matched)
}

impl fmt::Display for FlowMatch {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("frames")?;
        if let Some(kind) = self.ether_type {
            write!(to, " of EtherType {kind:#06x}")?;
        }
        if let Some(mac) = self.source {
            write!(to, " from {}", mac_text(mac))?;
        }
        if let Some(mac) = self.destination {
            write!(to, " to {}", mac_text(mac))?;
        }
        Ok(())
    }
}

/// A MAC address as `ip link` prints it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The rules of one NIC. Tests have their own implementation.
pub trait FlowRules {
    /// Whether rules are enabled (`ethtool -K IF ntuple`).
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn is_on(&self) -> io::Result<bool>;

    /// Enables or disables rules. A driver may lose its rules when they are disabled.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no such switch.
    fn switch(&mut self, on: bool) -> io::Result<()>;

    /// The number of locations, 0 if the driver does not report it; `None` if it chooses the
    /// location of a new rule.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no rules.
    fn locations(&self) -> io::Result<Option<u32>>;

    /// All rules, including those of other programs.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no rules.
    fn rules(&self) -> io::Result<Vec<FlowRule>>;

    /// Adds a rule, at `location` or where the driver chooses. Returns its location.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP or EINVAL if the driver does not match these fields, ENOSPC
    /// if there is no room.
    fn insert(&mut self, matches: FlowMatch, queue: u32, location: Option<u32>) -> io::Result<u32>;

    /// Removes the rule at `location`.
    ///
    /// # Errors
    ///
    /// The kernel's; ENOENT if there is none.
    fn remove(&mut self, location: u32) -> io::Result<()>;
}

/// The rules of the interface with this name, in the network namespace of this thread.
pub struct FlowTable(pub String);

impl FlowTable {
    fn call(&self, command: RuleCommand, spec: FlowSpec) -> io::Result<Box<RxRules>> {
        sys::rules(&self.0, command, spec, 0)
    }

    /// Flags of the table, and the locations of its rules. mlx5 fails if it is asked for more
    /// rules than it has.
    fn list(&self) -> io::Result<(u64, Box<RxRules>)> {
        let table = self.call(RuleCommand::Count, FlowSpec::at(0))?;
        Ok((table.data, sys::rules(&self.0, RuleCommand::List, FlowSpec::at(0), table.count)?))
    }
}

impl FlowRules for FlowTable {
    fn is_on(&self) -> io::Result<bool> {
        Ok(NicSetting::NTUPLE.read(&self.0)? != 0)
    }

    fn switch(&mut self, on: bool) -> io::Result<()> {
        NicSetting::NTUPLE.write(&self.0, on.into())
    }

    fn locations(&self) -> io::Result<Option<u32>> {
        const CHOOSES: u64 = 1 << 31; // RX_CLS_LOC_SPECIAL
        let (flags, list) = self.list()?;
        Ok((flags & CHOOSES == 0).then(|| u32::try_from(list.data).unwrap_or(u32::MAX)))
    }

    fn rules(&self) -> io::Result<Vec<FlowRule>> {
        // Some drivers list rules even for a NIC that cannot have any (igb).
        let ntuple = NicSetting::NTUPLE;
        if ntuple.is_fixed(&self.0) && ntuple.read(&self.0).is_ok_and(|on| on == 0) {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        let (_, all) = self.list()?;
        let read = |location: &u32| {
            let spec = self.call(RuleCommand::Get, FlowSpec::at(*location))?.spec;
            let queue = u32::try_from(spec.cookie).ok();
            Ok(FlowRule { location: *location, matches: FlowMatch::of(&spec), queue })
        };
        all.locations.iter().take(all.count as usize).map(read).collect()
    }

    fn insert(&mut self, matches: FlowMatch, queue: u32, location: Option<u32>) -> io::Result<u32> {
        let location = location.unwrap_or(ANYWHERE);
        let spec = FlowSpec { cookie: queue.into(), location, ..matches.spec() };
        Ok(self.call(RuleCommand::Insert, spec)?.spec.location)
    }

    fn remove(&mut self, location: u32) -> io::Result<()> {
        self.call(RuleCommand::Delete, FlowSpec::at(location)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn ether(destination: bool, source: bool, ether_type: bool) -> FlowMatch {
        FlowMatch {
            destination: destination.then_some([9; 6]),
            source: source.then_some(MAC),
            ether_type: ether_type.then_some(0x88a2),
        }
    }

    #[test]
    fn a_rule_reads_back_as_it_was_written() {
        for bits in 0..8_u8 {
            let rule = ether(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            assert_eq!(FlowMatch::of(&rule.spec()), Some(rule), "{bits}");
        }
    }

    #[test]
    fn the_fields_lie_where_ethtool_has_them() {
        let spec = ether(false, true, true).spec();
        assert_eq!(spec.flow_type, 0x12);
        assert_eq!(spec.value[..14], [0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 7, 0x88, 0xa2]);
        assert_eq!(spec.mask[..14], [0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert!(spec.value[14..].iter().chain(&spec.mask[14..]).all(|byte| *byte == 0));
    }

    #[test]
    fn a_rule_that_asks_for_more_or_for_less_is_another_one() {
        let spec = ether(false, false, true).spec();
        for (at, mask) in [(14, 1), (60, 0xff), (12, 0x0f), (0, 0xff), (6, 0xf0)] {
            let mut other = spec;
            other.mask[at] = mask;
            assert_eq!(FlowMatch::of(&other), None, "{at}");
        }
        for flow_type in [0x01, 0x12 | 1 << 31, 0x12 | 1 << 29] {
            assert_eq!(FlowMatch::of(&FlowSpec { flow_type, ..spec }), None);
        }
    }

    #[test]
    fn a_match_is_told_in_words() {
        assert_eq!(ether(false, false, true).to_string(), "frames of EtherType 0x88a2");
        let all = "frames of EtherType 0x88a2 from 02:00:00:00:00:07 to 09:09:09:09:09:09";
        assert_eq!(ether(true, true, true).to_string(), all);
    }
}
