//! What exports had counted that went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::observe::{Latency, Tally};
use crate::wire::aoe::Address;
use crate::worker::{Answered, HORIZON_NS};

/// Of those that are gone, and of those that went in the change that is under way.
#[derive(Debug, Default)]
pub struct RemovedExports {
    /// One that comes at the same address goes on from there.
    left: BTreeMap<Address, Tally>,
    service: Option<Latency>,
    /// What was answered at addresses whose exports went a moment ago: copies of it may
    /// still come, and one that comes back knows them.
    answered: BTreeMap<Address, (Instant, Answered)>,
}

/// Copies come within the horizon, counted from the last answer.
const KEPT: Duration = Duration::from_nanos(2 * HORIZON_NS);

impl RemovedExports {
    /// An export went, in a change that may bring it back.
    pub fn leave(&mut self, address: Address, tally: Tally) {
        self.left.insert(address, tally);
    }

    /// What the one had counted that went from this address in this change.
    pub fn take(&mut self, address: Address) -> Option<Tally> {
        self.left.remove(&address)
    }

    /// What the one was answered that went from this address.
    pub fn keep_answered(&mut self, address: Address, answered: Answered) {
        self.answered.insert(address, (Instant::now(), answered));
    }

    /// What was answered at this address, if it is not too long ago.
    pub fn take_answered(&mut self, address: Address) -> Option<Answered> {
        self.forget_answered();
        self.answered.remove(&address).map(|(_, answered)| answered)
    }

    /// Forgets what was answered too long ago.
    pub fn forget_answered(&mut self) {
        self.answered.retain(|_, (since, _)| since.elapsed() < KEPT);
    }

    /// The change is made: who went and did not come back is gone.
    pub fn has_changed(&mut self) {
        for tally in std::mem::take(&mut self.left).into_values() {
            self.add(&tally);
        }
    }

    /// An export is gone.
    pub fn add(&mut self, tally: &Tally) {
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
