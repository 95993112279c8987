//! VLANs: which one a frame belongs to, and sets of them.

use std::sync::Arc;

use super::ether::Tags;

/// The largest VLAN id; 4095 is reserved.
pub const VLAN_MAX: u16 = 4094;
/// Stands for untagged and priority-tagged frames: VLAN id 0 is no VLAN.
pub const UNTAGGED: u16 = 0;

/// The VLANs whose frames are accepted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Vlans {
    /// Only untagged and priority-tagged frames.
    #[default]
    Untagged,
    /// Those in this set, a bit for each; bit 0 is [`UNTAGGED`].
    Listed(Arc<[u64; 64]>),
    /// All frames, also with tags that name no VLAN.
    Any,
}

impl Vlans {
    /// These ids, each at most [`VLAN_MAX`]; others are left out.
    pub fn listed(ids: impl IntoIterator<Item = u16>) -> Self {
        let mut bits = [0_u64; 64];
        for id in ids.into_iter().filter(|id| *id <= VLAN_MAX) {
            if let Some(word) = bits.get_mut(usize::from(id / 64)) {
                *word |= 1 << (id % 64);
            }
        }
        let [first, rest @ ..] = &bits;
        if *first == 1 && rest.iter().all(|word| *word == 0) {
            return Self::Untagged;
        }
        Self::Listed(Arc::new(bits))
    }

    /// Whether a frame with these tags is accepted.
    #[inline]
    pub fn admit(&self, tags: &Tags) -> bool {
        match self {
            Self::Untagged => tags.named_vlan() == Some(UNTAGGED),
            Self::Listed(bits) => tags.named_vlan().is_some_and(|id| is_in(bits, id)),
            Self::Any => true,
        }
    }

    /// Whether it names VLANs, so that frames have to arrive with their tags.
    pub fn names_some(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// The ids in order; [`UNTAGGED`] for [`Self::Any`].
    pub fn ids(&self) -> impl Iterator<Item = u16> + '_ {
        (UNTAGGED..=VLAN_MAX).filter(move |id| match self {
            Self::Untagged | Self::Any => *id == UNTAGGED,
            Self::Listed(bits) => is_in(bits, *id),
        })
    }
}

#[inline]
fn is_in(bits: &[u64; 64], id: u16) -> bool {
    bits.get(usize::from(id / 64)).is_some_and(|word| word >> (id % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(all: &[(u16, u16)]) -> Tags {
        all.iter().fold(Tags::NONE, |tags, (tpid, tci)| tags.with(*tpid, *tci).unwrap())
    }

    /// The outer tag decides, and only an 802.1Q tag names a VLAN.
    #[test]
    fn each_frame_belongs_to_one_vlan_or_to_none() {
        for (all, vlan) in [
            (&[][..], Some(0)),
            (&[(0x8100, 0xE000)], Some(0)),
            (&[(0x8100, 20)], Some(20)),
            (&[(0x8100, 0xF014)], Some(20)),
            (&[(0x8100, 4094)], Some(4094)),
            (&[(0x8100, 4095)], None),
            (&[(0x88A8, 20)], None),
            (&[(0x88A8, 0)], None),
            (&[(0x9100, 20)], None),
            (&[(0x8100, 20), (0x8100, 30)], Some(20)),
            (&[(0x8100, 0), (0x8100, 30)], Some(0)),
            (&[(0x88A8, 20), (0x8100, 30)], None),
            (&[(0x8100, 20), (0x88A8, 30)], Some(20)),
        ] {
            let tags = tags(all);
            assert_eq!(tags.named_vlan(), vlan, "{all:x?}");
            assert!(Vlans::Any.admit(&tags));
            assert_eq!(Vlans::Untagged.admit(&tags), vlan == Some(0), "{all:x?}");
            for id in [0, 19, 20, 21, 30, 4094] {
                assert_eq!(Vlans::listed([id]).admit(&tags), vlan == Some(id), "{all:x?} in {id}");
            }
            let others = Vlans::listed((0..=VLAN_MAX).filter(|id| Some(*id) != vlan));
            assert!(!others.admit(&tags), "{all:x?}");
        }
    }

    #[test]
    fn a_set_has_what_it_was_given() {
        let ids = |vlans: &Vlans| vlans.ids().collect::<Vec<_>>();
        assert_eq!(ids(&Vlans::listed([4094, 20, 0, 20, 63, 64, 4095])), [0, 20, 63, 64, 4094]);
        assert_eq!((ids(&Vlans::Untagged), ids(&Vlans::Any)), (vec![0], vec![0]));
        assert_eq!(Vlans::listed([0]), Vlans::Untagged);
        assert_eq!(Vlans::listed([1, 2]), Vlans::listed([2, 1]));
        assert!(!Vlans::listed([]).admit(&Tags::NONE));
        assert!(Vlans::listed([0, 1]).names_some() && !Vlans::Any.names_some());
    }
}
