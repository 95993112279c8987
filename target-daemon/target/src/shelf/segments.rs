//! The segments that an export is served on: interfaces, and VLANs of them.

use std::sync::Arc;

use crate::wire::DropReason;
use crate::wire::ether::Tags;
use crate::wire::vlan::Vlans;

/// How a request arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// Index of the interface.
    pub interface: u16,
    /// The NIC removes VLAN tags, so a frame may be of another VLAN than its tags say.
    pub strips_tags: bool,
}

/// The segments that an export is served on. By default those without a tag on every
/// interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// The VLANs.
    pub vlans: Vlans,
    /// Indexes of the interfaces; `None` for all.
    pub interfaces: Option<Arc<[u16]>>,
}

impl Segments {
    /// Whether the export is served on an interface.
    #[inline]
    pub fn has(&self, interface: u16) -> bool {
        self.interfaces.as_ref().is_none_or(|interfaces| interfaces.contains(&interface))
    }

    /// Whether the export is served there at all. Without the tag that the NIC has removed,
    /// the inner one, which senders choose freely, would decide: an export that names VLANs
    /// is not served then.
    #[inline]
    pub fn is_served(&self, ingress: Ingress) -> bool {
        self.has(ingress.interface) && !(ingress.strips_tags && self.vlans.names_some())
    }

    /// Checks that a frame with these tags is of one of the segments.
    #[inline(always)]
    pub fn admit(&self, tags: &Tags, ingress: Ingress) -> Result<(), DropReason> {
        // Nearly always.
        if tags.is_none() && matches!(self.vlans, Vlans::Untagged) && self.interfaces.is_none() {
            return Ok(());
        }
        self.admit_other(tags, ingress)
    }

    #[inline(never)]
    fn admit_other(&self, tags: &Tags, ingress: Ingress) -> Result<(), DropReason> {
        if self.is_served(ingress) && self.vlans.admit(tags) {
            return Ok(());
        }
        Err(if self.has(ingress.interface) { DropReason::Vlan } else { DropReason::Interface })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_of_the_interface_and_of_the_vlan() {
        let tag = |id| Tags::NONE.with(0x8100, id).unwrap();
        let only = |interfaces: &[u16]| Some(Arc::from(interfaces));
        let (untagged, some) = (Vlans::Untagged, Vlans::listed([0, 20]));
        for (vlans, interfaces, tags, interface, strips_tags, expected) in [
            (&untagged, None, Tags::NONE, 7, false, Ok(())),
            (&untagged, None, Tags::NONE, 7, true, Ok(())),
            (&untagged, None, tag(20), 7, false, Err(DropReason::Vlan)),
            (&untagged, only(&[1, 7]), Tags::NONE, 7, false, Ok(())),
            (&untagged, only(&[1, 6]), Tags::NONE, 7, false, Err(DropReason::Interface)),
            (&some, only(&[7]), tag(20), 7, false, Ok(())),
            (&some, only(&[7]), Tags::NONE, 7, false, Ok(())),
            (&some, only(&[7]), tag(21), 7, false, Err(DropReason::Vlan)),
            (&some, only(&[7]), tag(20), 7, true, Err(DropReason::Vlan)),
            (&some, only(&[7]), Tags::NONE, 7, true, Err(DropReason::Vlan)),
            (&Vlans::Any, None, tag(20), 7, true, Ok(())),
        ] {
            let segments = Segments { vlans: vlans.clone(), interfaces };
            let ingress = Ingress { interface, strips_tags };
            assert_eq!(segments.admit(&tags, ingress), expected, "{segments:?} {tags:?} {ingress:?}");
        }
    }
}
