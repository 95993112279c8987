//! One outcome of several that are compared: a target in a round.

use serde::{Deserialize, Serialize};

use super::Outcome;

/// What came of one target in one round.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Sample {
    /// Its name in reports.
    pub target: String,
    /// Which round, from 1.
    pub round: usize,
    /// What was measured.
    pub outcome: Outcome,
    /// What the machine did meanwhile.
    pub machine: Machine,
    /// What the target held, from time to time.
    pub footprints: Vec<Footprint>,
}

/// What the machine did during a measurement, its start and end included.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Machine {
    /// Share of the time that the target's core was busy.
    pub target_core_busy: f64,
    /// Share of the time that the generator's core was busy.
    pub generator_core_busy: f64,
    /// Share of the time that the generator's core was in the kernel, interrupts
    /// included: on a veth pair the receiver's path runs on the sender's core.
    pub generator_core_kernel: f64,
    /// Share of the time of both cores that a hypervisor gave to others.
    pub steal: f64,
    /// How far the wall clock was set against the steady one, in microseconds.
    pub clock_step_us: f64,
    /// Frames that both ends of the pair dropped.
    pub dropped: u64,
}

/// What a process held at a moment.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Footprint {
    /// When, in seconds from the start.
    pub at_s: f64,
    /// Memory of its own, in KiB: files that it has mapped are left out.
    pub memory_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// How many requests a second a target had for each of another's.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Ratio {
    /// Whose.
    pub target: String,
    /// To whose.
    pub to: String,
    /// The least of all rounds.
    pub least: f64,
    /// The median.
    pub median: f64,
    /// The most.
    pub most: f64,
}

impl Sample {
    /// Whether it was reached over a network.
    pub fn has_network(&self) -> bool {
        !self.outcome.setup.exports.is_empty()
    }

    /// Frames that were dropped on the way.
    pub fn dropped(&self) -> u64 {
        self.machine.dropped + self.outcome.trouble.dropped
    }

    /// Requests that were answered wrongly or never.
    pub fn failed(&self) -> u64 {
        let trouble = &self.outcome.trouble;
        trouble.errors + trouble.refused + trouble.lost
    }

    /// Sectors whose data were wrong.
    pub fn faults(&self) -> u64 {
        self.outcome.verify.as_ref().map_or(0, |found| found.faults.iter().map(|(_, n)| n).sum())
    }

    /// Requests sent again.
    pub fn resent(&self) -> u64 {
        self.outcome.trouble.retransmits
    }
}
