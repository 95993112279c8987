//! Everything about an export except its data.

use super::acl::Acl;
use super::host_setting::{HostSetting, HostSettings};
use super::mac_list::{ListFull, MacList};
use super::rate::Rates;
use super::segments::{Ingress, Segments};
use crate::store::{Durability, Geometry};
use crate::wire::aoe::Address;
use crate::wire::ether::{Ether, Mac};
use crate::wire::identify::{Identity, Names};
use crate::wire::query::STRING_LEN_MAX;
use crate::wire::{DropReason, mask, reserve};

/// The configuration of an export.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the export.
    pub address: Address,
    /// Whether writes are refused.
    pub read_only: bool,
    /// What an acknowledged write is guaranteed to survive.
    pub durability: Durability,
    /// The strings of IDENTIFY DEVICE.
    pub names: Names,
    /// The interfaces and VLANs that it is served on.
    pub segments: Segments,
    /// Initiators that get replies; the mask list can only restrict this further.
    pub acl: Acl,
    /// Whether initiators may set config string, mask list and reservation.
    pub host_settings: HostSettings,
    /// How many requests are executed in a second, and how much data.
    pub rates: Rates,
}

/// Everything about an export except its data.
#[derive(Debug)]
pub struct State {
    /// The configuration.
    pub settings: Settings,
    /// The size that the store last reported.
    pub geometry: Geometry,
    config: [u8; STRING_LEN_MAX],
    config_len: usize,
    mask: MacList<{ mask::ENTRIES_MAX }>,
    reservation: MacList<{ reserve::ENTRIES_MAX }>,
    revision: u64,
}

impl State {
    /// A state without config string, mask list and reservation.
    pub fn new(settings: Settings, geometry: Geometry) -> Self {
        Self {
            settings,
            geometry,
            config: [0; STRING_LEN_MAX],
            config_len: 0,
            mask: MacList::default(),
            reservation: MacList::default(),
            revision: 0,
        }
    }

    /// Whether a frame with this link layer may get a reply, whatever the request.
    #[inline(always)]
    pub fn admit(&self, ether: &Ether, ingress: Ingress) -> Result<(), DropReason> {
        self.settings.segments.admit(&ether.tags, ingress)?;
        let src = ether.src;
        if !self.settings.acl.admits(src) {
            return Err(DropReason::Acl);
        }
        if !self.mask.is_empty() && !self.mask.contains(src) {
            return Err(DropReason::Mask);
        }
        Ok(())
    }

    /// Whether other initiators hold a reservation that excludes `src`.
    #[inline]
    pub fn is_reserved_against(&self, src: Mac) -> bool {
        !self.reservation.is_empty() && !self.reservation.contains(src)
    }

    /// Whether initiators may discard sectors.
    pub fn trims(&self) -> bool {
        self.geometry.discards && !self.settings.read_only
    }

    /// The content of IDENTIFY DEVICE.
    pub fn identity(&self) -> Identity {
        Identity {
            names: self.settings.names,
            sectors: self.geometry.sectors,
            physical_bytes: self.geometry.physical_bytes,
            trims: self.trims(),
            write_cache: self.settings.durability == Durability::Volatile,
        }
    }

    /// Increases with every change of what initiators can set.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The config string.
    pub fn config(&self) -> &[u8] {
        self.config.get(..self.config_len).unwrap_or(&[])
    }

    /// Replaces the config string. Fails if `string` is longer than [`STRING_LEN_MAX`].
    pub fn set_config(&mut self, string: &[u8]) -> Result<(), ListFull> {
        if self.config() == string {
            return Ok(());
        }
        self.config.get_mut(..string.len()).ok_or(ListFull)?.copy_from_slice(string);
        self.config_len = string.len();
        self.revision += 1;
        Ok(())
    }

    /// The mask list.
    pub fn mask(&self) -> &[Mac] {
        self.mask.as_slice()
    }

    /// Adds `mac` to the mask list unless it is already there.
    pub fn add_to_mask(&mut self, mac: Mac) -> Result<(), ListFull> {
        let changed = self.mask.add(mac)?;
        self.revision += u64::from(changed);
        Ok(())
    }

    /// Removes `mac` from the mask list.
    pub fn delete_from_mask(&mut self, mac: Mac) {
        let changed = self.mask.delete(mac);
        self.revision += u64::from(changed);
    }

    /// Clears a value.
    pub fn clear(&mut self, setting: HostSetting) {
        // Nothing is too long.
        let _ = match setting {
            HostSetting::Config => self.set_config(&[]),
            HostSetting::Mask if self.mask.is_empty() => Ok(()),
            HostSetting::Mask => {
                self.mask = MacList::default();
                self.revision += 1;
                Ok(())
            }
            HostSetting::Reservation => self.set_reservation(std::iter::empty()),
        };
    }

    /// The initiators that hold the reservation.
    pub fn reservation(&self) -> &[Mac] {
        self.reservation.as_slice()
    }

    /// Replaces the reservation. Changes nothing if `macs` has more than
    /// [`reserve::ENTRIES_MAX`] entries.
    pub fn set_reservation(&mut self, macs: impl Iterator<Item = Mac> + Clone) -> Result<(), ListFull> {
        if macs.clone().eq(self.reservation.as_slice().iter().copied()) {
            return Ok(());
        }
        self.reservation.replace(macs)?;
        self.revision += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ether::Tags;
    use crate::wire::identify::Text;

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    fn state(acl: &[u8]) -> State {
        let settings = Settings {
            address: Address { shelf: 7, slot: 3 },
            read_only: false,
            durability: Durability::Durable,
            names: Names { serial: Text::new("7.3:ab"), firmware: Text::new("1"), model: Text::new("m") },
            segments: Segments::default(),
            acl: Acl::new(acl.iter().copied().map(mac)),
            host_settings: HostSettings::Allow,
            rates: Rates::default(),
        };
        State::new(settings, Geometry::new(100, 4096))
    }

    #[test]
    fn both_lists_admit_and_the_static_one_comes_first() {
        for (acl, mask, src, expected) in [
            (&[][..], &[][..], 1, Ok(())),
            (&[1], &[], 1, Ok(())),
            (&[1], &[], 2, Err(DropReason::Acl)),
            (&[], &[1], 1, Ok(())),
            (&[], &[1], 2, Err(DropReason::Mask)),
            (&[1, 2], &[1], 2, Err(DropReason::Mask)),
            (&[1], &[2], 2, Err(DropReason::Acl)),
        ] {
            let mut state = state(acl);
            for &last in mask {
                state.add_to_mask(mac(last)).unwrap();
            }
            let ether = Ether { dst: mac(9), src: mac(src), tags: Tags::NONE };
            assert_eq!(state.admit(&ether, Ingress::default()), expected, "{acl:?} {mask:?} {src}");
        }
    }

    #[test]
    fn what_was_saved_is_in_force_again() {
        let saved = crate::shelf::Saved {
            config: b"a".to_vec(),
            mask: vec![mac(1)],
            reservation: vec![mac(2), mac(3)],
        };
        let mut state = state(&[]);
        saved.restore(&mut state).unwrap();
        assert_eq!(crate::shelf::Saved::of(&state), saved);
    }

    #[test]
    fn revision_grows_with_changes_only() {
        let mut state = state(&[]);
        let mut seen = 0;
        let mut step = |state: &State, changed: bool, what: &str| {
            assert_eq!(state.revision() > seen, changed, "{what}");
            seen = state.revision();
        };
        state.set_config(b"a").unwrap();
        step(&state, true, "set");
        state.set_config(b"a").unwrap();
        step(&state, false, "same set");
        state.add_to_mask(mac(1)).unwrap();
        step(&state, true, "add");
        state.add_to_mask(mac(1)).unwrap();
        step(&state, false, "same add");
        state.delete_from_mask(mac(2));
        step(&state, false, "delete of an absent one");
        state.delete_from_mask(mac(1));
        step(&state, true, "delete");
        state.set_reservation([mac(1)].into_iter()).unwrap();
        step(&state, true, "reserve");
        state.set_reservation([mac(1)].into_iter()).unwrap();
        step(&state, false, "same reserve");
        assert!(state.set_reservation(std::iter::repeat_n(mac(1), 241)).is_err());
        assert!(state.set_config(&[0; 1025]).is_err());
        step(&state, false, "refused ones");
        assert_eq!((state.config(), state.reservation()), (&b"a"[..], &[mac(1)][..]));
    }

    #[test]
    fn shorter_string_leaves_nothing_of_a_longer_one() {
        let mut state = state(&[]);
        state.set_config(&[7; 1024]).unwrap();
        assert_eq!(state.config(), [7; 1024]);
        state.set_config(b"ab").unwrap();
        assert_eq!(state.config(), b"ab");
        state.set_config(b"").unwrap();
        assert_eq!(state.config(), b"");
    }
}
