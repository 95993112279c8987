//! One of several compared outcomes: a target in a round.

use serde::{Deserialize, Serialize};

use super::{Outcome, Spread};

/// A target in a round.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Sample {
    /// Its name in reports.
    pub target: String,
    /// Which round, from 1.
    pub round: usize,
    /// Its measurement.
    pub outcome: Outcome,
    /// The machine meanwhile.
    pub machine: Machine,
}

/// The target's machine during a measurement.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Machine {
    /// Fraction of the time of the load that the target's core was busy.
    pub target_core_busy: f64,
    /// Fraction of the time that the generator's core was busy; `None` on another host.
    pub generator_core_busy: Option<f64>,
    /// Fraction of the time that the generator's core was in the kernel, including
    /// interrupts. On a veth pair the receiver's path runs on the sender's core.
    pub generator_core_kernel: Option<f64>,
    /// Fraction of the time of these cores that a hypervisor gave to others.
    pub steal: f64,
    /// Frames that both ends dropped.
    pub dropped: u64,
}

/// The ratio of the rates of two targets.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Ratio {
    /// The target.
    pub target: String,
    /// The target that it is compared with.
    pub to: String,
    /// Its values over all rounds.
    #[serde(flatten)]
    pub rounds: Spread,
}

impl Sample {
    /// Whether the target was reached over a network.
    pub fn has_network(&self) -> bool {
        !self.outcome.setup.exports.is_empty()
    }

    /// Frames dropped on the way.
    pub fn dropped(&self) -> u64 {
        self.machine.dropped + self.outcome.trouble.dropped
    }

    /// Requests answered wrongly or never.
    pub fn failed(&self) -> u64 {
        self.outcome.trouble.failed() - self.outcome.trouble.unsent
    }

    /// Sectors with wrong data.
    pub fn faults(&self) -> u64 {
        self.outcome.verify.as_ref().map_or(0, |found| found.faults.values().sum())
    }

    /// Resent requests.
    pub fn resent(&self) -> u64 {
        self.outcome.trouble.retransmits
    }
}
