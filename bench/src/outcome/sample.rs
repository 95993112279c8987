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
    /// What was counted in a traced measurement after it; `None` where that is impossible.
    pub traced: Option<Traced>,
    /// The times from arrival to reply, if the target measures them.
    pub inside: Option<Inside>,
}

/// Per request, from a measurement in which the target's system calls were traced.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Traced {
    /// System calls.
    pub calls: f64,
    /// Time in user mode, in nanoseconds.
    pub user_ns: f64,
}

/// From the arrival of a frame to its reply, as the target counts it since its start.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Inside {
    /// The number of requests.
    pub count: u64,
    /// The median, in microseconds.
    pub p50_us: f64,
    /// The 99th percentile.
    pub p99_us: f64,
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
    /// Those of them that the target's interface dropped.
    #[serde(default)]
    pub dropped_at_target: u64,
}

/// The figures of a target in a comparison: over the rounds, sums of counts and medians of all
/// else. `None` where there is no such figure.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Row {
    /// The target.
    pub target: String,
    /// Requests per second.
    pub iops: Spread,
    /// CPU time per request, in microseconds.
    pub cpu_us: Option<f64>,
    /// What it is more than the echo's in the same round.
    pub cpu_us_over_echo: Option<f64>,
    /// Time in user mode per request, in nanoseconds.
    pub user_ns: Option<Spread>,
    /// Its ratio to that of the build before in the same round.
    pub user_of_before: Option<Spread>,
    /// System calls per request.
    pub calls: Option<f64>,
    /// Fraction of the time that the target's core was busy.
    pub core_busy: Option<f64>,
    /// Fraction of the time that the generator's core was in the kernel.
    pub generator_kernel: Option<f64>,
    /// Fraction of the time that the generator was idle.
    pub generator_idle: Option<f64>,
    /// Percentiles of the response times, in microseconds.
    pub p50_us: Option<f64>,
    /// The 99th.
    pub p99_us: Option<f64>,
    /// The same from arrival to reply within the target.
    pub inside_p50_us: Option<f64>,
    /// The 99th.
    pub inside_p99_us: Option<f64>,
    /// Dropped frames.
    pub drops: Option<u64>,
    /// Resent requests.
    pub resent: Option<u64>,
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

    /// CPU time per request, in microseconds.
    pub fn cpu_us(&self) -> Option<f64> {
        self.outcome.cost_per_request().map(|(user, system)| (user + system) / 1e3)
    }

    /// Time in user mode per request, in nanoseconds: as traced, else from the kernel's ticks.
    pub fn user_ns(&self) -> Option<f64> {
        let traced = self.traced.map(|traced| traced.user_ns);
        traced.or_else(|| self.outcome.cost_per_request().map(|(user, _)| user))
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
