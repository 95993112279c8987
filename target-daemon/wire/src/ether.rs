//! Ethernet addresses and headers.
//!
//! ```text
//!  0      6      12        12+4n
//! ┌──────┬──────┬─────────┬──────┐
//! │ dst  │ src  │ n tags  │ 88a2 │   n = 0, 1, 2; a tag is TPID (2), TCI (2)
//! └──────┴──────┴─────────┴──────┘
//! ```

use std::fmt;
use std::str::FromStr;

use super::DropReason;
use super::bytes::{array, put};
use super::vlan::{UNTAGGED, VLAN_MAX};

/// The EtherType of AoE.
pub const ETHERTYPE_AOE: u16 = 0x88A2;
/// Maximum number of VLAN tags before the EtherType.
pub const TAGS_MAX: usize = 2;

const TAGS: usize = 12;
const TAG_LEN: usize = 4;
const ETHERTYPE_LEN: usize = 2;

/// Tag protocol identifiers: 802.1Q, 802.1ad, and the one used before 802.1ad.
const TPIDS: [u16; 3] = [TPID_8021Q, 0x88A8, 0x9100];

/// The tag of an ordinary VLAN.
const TPID_8021Q: u16 = 0x8100;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it is a group address; broadcast is one.
    pub fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// Whether it is 00:00:00:00:00:00, which no station has.
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a MAC address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MacError(String);

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a MAC address: write six pairs of hex digits, as in 02:00:5e:10:00:01", self.0)
    }
}

impl std::error::Error for MacError {}

impl FromStr for Mac {
    type Err = MacError;

    /// Parses six pairs of hex digits separated by colons.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let pair = |part: &str| {
            // `from_str_radix` would accept a sign.
            let is_pair = part.len() == 2 && !part.starts_with('+');
            is_pair.then(|| u8::from_str_radix(part, 16).ok()).flatten()
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(pair).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| MacError(text.to_owned()))
    }
}

/// The VLAN tags of a frame, in wire format. A reply carries the tags of its request,
/// priority bits included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tags {
    bytes: [u8; TAGS_MAX * TAG_LEN],
    count: u8,
}

impl Tags {
    /// An untagged frame.
    pub const NONE: Self = Self { bytes: [0; TAGS_MAX * TAG_LEN], count: 0 };

    /// Adds an inner tag. `None` if there are two already, or if receivers would not
    /// recognize the TPID as a tag.
    #[must_use]
    pub fn with(mut self, tpid: u16, tci: u16) -> Option<Self> {
        if !TPIDS.contains(&tpid) {
            return None;
        }
        let at = self.len();
        put(&mut self.bytes, at, &tpid.to_be_bytes())?;
        put(&mut self.bytes, at + 2, &tci.to_be_bytes())?;
        self.count += 1;
        Some(self)
    }

    /// Whether there is no tag.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.count == 0
    }

    /// The VLAN of the outer tag; 0 without one, or if it only has a priority.
    #[inline]
    pub fn vlan(&self) -> u16 {
        let [_, _, high, low, ..] = self.bytes;
        u16::from_be_bytes([high, low]) & 0x0fff
    }

    /// The tags of a frame in a VLAN, without priority; none for [`UNTAGGED`].
    pub fn of_vlan(vlan: u16) -> Self {
        let tagged = if vlan == UNTAGGED { None } else { Self::NONE.with(TPID_8021Q, vlan) };
        tagged.unwrap_or(Self::NONE)
    }

    /// The VLAN of the frame: 1 to 4094, or 0 if it is untagged or priority-tagged. The outer
    /// tag decides, since switches separate VLANs by it, and senders choose the inner one.
    /// `None` if that names no VLAN: only 802.1Q tags (0x8100) do, because a switch for
    /// these forwards frames with other tags as untagged ones.
    #[inline]
    pub fn named_vlan(&self) -> Option<u16> {
        if self.count == 0 {
            return Some(UNTAGGED);
        }
        let [tpid_high, tpid_low, tci_high, tci_low, ..] = self.bytes;
        let vlan = u16::from_be_bytes([tci_high, tci_low]) & 0xfff;
        let is_named = u16::from_be_bytes([tpid_high, tpid_low]) == TPID_8021Q && vlan <= VLAN_MAX;
        is_named.then_some(vlan)
    }

    /// Length in bytes: 0, 4 or 8.
    fn len(&self) -> usize {
        usize::from(self.count) * TAG_LEN
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or(&[])
    }
}

/// The link layer of an AoE frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ether {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
    /// VLAN tags.
    pub tags: Tags,
}

impl Ether {
    /// Parses the link layer of an AoE frame.
    #[inline(never)]
    pub fn parse(frame: &[u8]) -> Result<Self, DropReason> {
        let mac = |at| array(frame, at).map(Mac).ok_or(DropReason::TooShort);
        let word = |at| array(frame, at).map(u16::from_be_bytes).ok_or(DropReason::TooShort);
        let (dst, src) = (mac(0)?, mac(6)?);
        let mut tags = Tags::NONE;
        loop {
            let at = TAGS + tags.len();
            match word(at)? {
                ETHERTYPE_AOE => return Ok(Self { dst, src, tags }),
                tpid if TPIDS.contains(&tpid) => {
                    tags = tags.with(tpid, word(at + 2)?).ok_or(DropReason::NotAoe)?;
                }
                _ => return Err(DropReason::NotAoe),
            }
        }
    }

    /// The link layer of a frame that starts with these bytes, if it is AoE without tags.
    #[inline]
    pub(super) fn untagged<const N: usize>(frame: &[u8; N]) -> Option<Self> {
        let (dst, src, ethertype) = (array(frame, 0)?, array(frame, 6)?, array(frame, TAGS)?);
        let is_aoe = u16::from_be_bytes(ethertype) == ETHERTYPE_AOE;
        is_aoe.then_some(Self { dst: Mac(dst), src: Mac(src), tags: Tags::NONE })
    }

    /// Writes the link layer. Returns its length; `None` if `out` is too short.
    #[inline(always)]
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        put(out, 0, &self.dst.0)?;
        put(out, 6, &self.src.0)?;
        if self.tags.count > 0 {
            put(out, TAGS, self.tags.as_bytes())?;
        }
        put(out, TAGS + self.tags.len(), &ETHERTYPE_AOE.to_be_bytes())?;
        Some(self.len())
    }

    /// Length in bytes, up to the AoE header: 14, 18 or 22.
    #[inline]
    pub(super) fn len(&self) -> usize {
        TAGS + self.tags.len() + ETHERTYPE_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_mac_agree() {
        let mac: Mac = "02:aB:00:10:ff:01".parse().unwrap();
        assert_eq!(mac, Mac([2, 0xab, 0, 0x10, 0xff, 1]));
        assert_eq!(mac.to_string(), "02:ab:00:10:ff:01");
        for text in [
            "",
            "02:ab:00:10:ff",
            "02:ab:00:10:ff:01:02",
            "2:ab:00:10:ff:01",
            "02-ab-00-10-ff-01",
            "+2:ab:00:10:ff:01",
            "0g:ab:00:10:ff:01",
            "02:ab:00:10:ff:01:",
        ] {
            let error = text.parse::<Mac>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("six pairs"), "{error}");
        }
    }

    #[test]
    fn groups_and_zero_are_known() {
        for (mac, multicast, zero) in [
            (Mac::BROADCAST, true, false),
            (Mac([1, 0, 0x5e, 0, 0, 1]), true, false),
            (Mac([2, 0, 0, 0, 0, 0]), false, false),
            (Mac([0; 6]), false, true),
            (Mac([0, 0, 0, 0, 0, 1]), false, false),
        ] {
            assert_eq!((mac.is_multicast(), mac.is_zero()), (multicast, zero), "{mac}");
        }
    }

    /// A link layer: 12 bytes of addresses, then these words.
    fn link(words: &[u16]) -> Vec<u8> {
        let words = words.iter().flat_map(|word| word.to_be_bytes());
        [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2].into_iter().chain(words).collect()
    }

    #[test]
    fn up_to_two_tags_of_three_kinds() {
        for (words, expected) in [
            (&[0x88A2][..], Ok(14)),
            (&[0x8100, 0xE064, 0x88A2], Ok(18)),
            (&[0x88A8, 1, 0x88A2], Ok(18)),
            (&[0x9100, 1, 0x88A2], Ok(18)),
            (&[0x88A8, 7, 0x8100, 8, 0x88A2], Ok(22)),
            (&[0x88A8, 7, 0x8100, 8, 0x8100, 9, 0x88A2], Err(DropReason::NotAoe)),
            (&[0x0800], Err(DropReason::NotAoe)),
            (&[0x8100, 0x88A2, 0x0800], Err(DropReason::NotAoe)),
            (&[0x8100, 1], Err(DropReason::TooShort)),
            (&[0x8100], Err(DropReason::TooShort)),
            (&[], Err(DropReason::TooShort)),
        ] {
            let frame = link(words);
            let parsed = Ether::parse(&frame);
            assert_eq!(parsed.map(|ether| ether.len()), expected, "{words:x?}");
            if let Ok(ether) = parsed {
                let mut out = vec![0xEE; frame.len()];
                assert_eq!(ether.emit(&mut out), Some(frame.len()));
                assert_eq!(out, frame, "tags return as they came");
            }
        }
    }
}
