//! What exports had counted that went.

use std::collections::BTreeMap;

use crate::observe::{Latency, Tally};
use crate::wire::aoe::Address;

/// Of those that are gone, and of those that went in the change that is under way.
#[derive(Debug, Default)]
pub struct Past {
    /// One that comes at the same address goes on from there.
    left: BTreeMap<Address, Tally>,
    service: Option<Latency>,
}

impl Past {
    /// An export went, in a change that may bring it back.
    pub fn leave(&mut self, address: Address, tally: Tally) {
        self.left.insert(address, tally);
    }

    /// What the one had counted that went from this address in this change.
    pub fn take(&mut self, address: Address) -> Option<Tally> {
        self.left.remove(&address)
    }

    /// The change is made: who went and did not come back is gone.
    pub fn has_changed(&mut self) {
        for tally in std::mem::take(&mut self.left).into_values() {
            self.bury(&tally);
        }
    }

    /// An export is gone.
    pub fn bury(&mut self, tally: &Tally) {
        match &mut self.service {
            Some(service) => service.merge(&tally.service),
            None => self.service = Some(tally.service.clone()),
        }
    }

    /// Service times of those that are gone.
    pub fn service(&self) -> Option<&Latency> {
        self.service.as_ref()
    }
}
