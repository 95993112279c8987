//! Counters and replies of removed exports.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::observe::{Latency, Tally};
use crate::wire::aoe::Address;
use crate::worker::{Answered, HORIZON_NS};

/// Of exports that are gone, and of those removed by the change in progress.
#[derive(Debug, Default)]
pub struct RemovedExports {
    /// Counters that a new export at the same address continues from.
    left: BTreeMap<Address, Tally>,
    service: Option<Latency>,
    /// Requests answered recently at addresses whose exports were removed. Duplicates may
    /// still arrive, and a returning export recognizes them.
    answered: BTreeMap<Address, (Instant, Answered)>,
}

/// Duplicates arrive within the horizon, counted from the last reply.
const KEPT: Duration = Duration::from_nanos(2 * HORIZON_NS);

impl RemovedExports {
    /// Stores the counters of an export removed by a change that may add it again.
    pub fn leave(&mut self, address: Address, tally: Tally) {
        self.left.insert(address, tally);
    }

    /// Takes the counters of the export that this change removed from this address.
    pub fn take(&mut self, address: Address) -> Option<Tally> {
        self.left.remove(&address)
    }

    /// Stores what the removed export at this address has answered.
    pub fn keep_answered(&mut self, address: Address, answered: Answered) {
        self.answered.insert(address, (Instant::now(), answered));
    }

    /// Takes what was answered at this address, if it is recent enough.
    pub fn take_answered(&mut self, address: Address) -> Option<Answered> {
        self.forget_answered();
        self.answered.remove(&address).map(|(_, answered)| answered)
    }

    /// Drops answers that are too old.
    pub fn forget_answered(&mut self) {
        self.answered.retain(|_, (since, _)| since.elapsed() < KEPT);
    }

    /// Ends a change: exports that did not return are gone.
    pub fn has_changed(&mut self) {
        for tally in std::mem::take(&mut self.left).into_values() {
            self.add(&tally);
        }
    }

    /// Adds the counters of an export that is gone.
    pub fn add(&mut self, tally: &Tally) {
        match &mut self.service {
            Some(service) => service.merge(&tally.service),
            None => self.service = Some(tally.service.clone()),
        }
    }

    /// The service times of exports that are gone.
    pub fn service(&self) -> Option<&Latency> {
        self.service.as_ref()
    }
}
