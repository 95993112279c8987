//! The outcome of a load: everything that was measured. It is stored, passed from a
//! generator to a comparison, and rendered as reports.

mod judgement;
mod latencies;
mod sample;
mod spread;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use judgement::{applying, counted};
pub use latencies::{Latencies, Packed};
pub use sample::{Inside, Machine, Ratio, Row, Sample, Traced};
pub use spread::Spread;

/// Maximum number of faults reported in full.
const EXAMPLES: usize = 5;

/// The outcome of a load.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Outcome {
    /// Its name in reports.
    pub name: String,
    /// The version of this program.
    pub version: String,
    /// When it began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// The setup of the load.
    pub setup: Setup,
    /// The conditions under which it ran.
    pub conditions: Vec<Condition>,
    /// How long requests were sent, in seconds.
    pub seconds: f64,
    /// Reads that were answered well.
    pub reads: Side,
    /// Writes that were answered well.
    pub writes: Side,
    /// The same as a time series of consecutive intervals.
    pub intervals: Vec<Interval>,
    /// Problems until the end of the run.
    pub trouble: Trouble,
    /// The result of the data check, if there was one.
    pub verify: Option<Verified>,
    /// The cost of a watched target.
    pub cost: Option<Cost>,
    /// Fraction of the time that the generator was idle, 0 to 1. Near 0 it is itself the
    /// bottleneck.
    pub idle: f64,
    /// Reasons why the result may be misleading.
    pub warnings: Vec<String>,
}

/// The setup of a load.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Setup {
    /// The exports.
    pub exports: Vec<String>,
    /// The port.
    pub port: String,
    /// The operation, as text: "read", "70 % read".
    pub op: String,
    /// The address pattern, as text: "random", "sequential".
    pub pattern: String,
    /// Sectors in a request.
    pub sectors: u8,
    /// Requests in flight on each export.
    pub window: u16,
    /// The intended requests per second of an open loop.
    pub rate: Option<f64>,
    /// How long requests were sent before counting, in seconds.
    pub warm_up_s: f64,
    /// The number of sending threads.
    pub threads: usize,
    /// The buffer count of the export (the minimum, if there are several).
    pub buffer_count: u16,
    /// Seed of addresses and stamps.
    pub seed: u32,
}

/// A condition that affects the result.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Condition {
    /// For example "kernel".
    pub name: String,
    /// For example "6.12.0".
    pub value: String,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

/// One direction of the data.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Side {
    /// Time from the intended start of a request to its reply. In a closed loop the
    /// intended start is when it was first sent. Requests that were never answered are
    /// included, with the time that they waited.
    pub response: Latencies,
    /// How many of them were never answered.
    pub unanswered: u64,
    /// Time from the first sending of a request to its reply. In an open loop this leaves
    /// out the wait before sending (coordinated omission). `None` in a closed loop, where
    /// it equals the response time.
    pub service: Option<Latencies>,
}

/// An interval of the time series.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Interval {
    /// Its start, in seconds from the start of the run.
    pub from_s: f64,
    /// Its length.
    pub seconds: f64,
    /// Response times of reads that were answered or given up in it.
    pub reads: Packed,
    /// The same for writes.
    pub writes: Packed,
    /// How many of these reads were never answered.
    pub unanswered_reads: u64,
    /// How many of these writes were never answered.
    pub unanswered_writes: u64,
    /// Requests resent in it.
    pub resent: u64,
    /// Frames dropped in it on the generator's side.
    pub dropped: u64,
}

/// Counts of what should be zero.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Trouble {
    /// Resent requests.
    pub retransmits: u64,
    /// Replies to an earlier copy of a resent request.
    pub late: u64,
    /// Second replies.
    pub duplicates: u64,
    /// Replies without a request, or from another sender.
    pub unexpected: u64,
    /// Replies that report a failed ATA command or carry too little data.
    pub errors: u64,
    /// Replies with the AoE error flag.
    pub refused: u64,
    /// Requests that were sent but never answered.
    pub lost: u64,
    /// Requests of an open loop that were due but never sent, because too many others
    /// were in flight.
    pub unsent: u64,
    /// Frames dropped on the generator's side.
    pub dropped: u64,
    /// The last error.
    pub last_error: Option<String>,
}

/// The result of the data check.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Verified {
    /// Sectors checked.
    pub checked: u64,
    /// Sectors whose contents were not known.
    pub unchecked: u64,
    /// Faults by kind; only kinds that occurred.
    pub faults: BTreeMap<String, u64>,
    /// The first faults in full.
    pub examples: Vec<String>,
}

/// The cost of a target on this host during the load.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Cost {
    /// CPU time of its process in user mode, in nanoseconds.
    pub user_ns: u64,
    /// CPU time in the kernel.
    pub system_ns: u64,
}

impl Outcome {
    /// Requests answered well.
    pub fn completions(&self) -> u64 {
        self.reads.answered() + self.writes.answered()
    }

    /// Both directions, by name.
    pub fn sides(&self) -> [(&'static str, &Side); 2] {
        [("read", &self.reads), ("write", &self.writes)]
    }

    /// Answered requests per second.
    pub fn iops(&self) -> f64 {
        self.completions() as f64 / self.seconds.max(1e-9)
    }

    /// Data per second at a rate of requests, in 10⁶ bytes.
    pub fn mb_per_s(&self, iops: f64) -> f64 {
        iops * f64::from(self.setup.sectors) * 512.0 / 1e6
    }

    /// Reads and writes together.
    pub fn both(&self) -> Side {
        let mut both = self.reads.clone();
        both.add(&self.writes);
        both
    }

    /// Response times of reads and writes together.
    pub fn response(&self) -> Latencies {
        self.both().response
    }

    /// CPU time of the watched target per request, in nanoseconds: in user mode and in
    /// the kernel.
    pub fn cost_per_request(&self) -> Option<(f64, f64)> {
        let each = |ns: u64| ns as f64 / self.completions().max(1) as f64;
        self.cost.map(|cost| (each(cost.user_ns), each(cost.system_ns)))
    }
}

impl Trouble {
    /// Adds another, which is not earlier.
    pub fn add(&mut self, other: &Self) {
        self.retransmits += other.retransmits;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.unexpected += other.unexpected;
        self.errors += other.errors;
        self.refused += other.refused;
        self.lost += other.lost;
        self.unsent += other.unsent;
        self.dropped += other.dropped;
        if other.last_error.is_some() {
            self.last_error.clone_from(&other.last_error);
        }
    }

    /// What a request can fail by.
    pub fn failed(&self) -> u64 {
        self.errors + self.refused + self.lost + self.unsent
    }
}

impl Verified {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.checked += other.checked;
        self.unchecked += other.unchecked;
        other.faults.iter().for_each(|(name, n)| *self.faults.entry(name.clone()).or_default() += n);
        self.examples.extend_from_slice(&other.examples);
        self.examples.truncate(EXAMPLES);
    }

    /// The faults with their numbers, in words.
    pub fn found(&self) -> String {
        let faults: Vec<String> = self.faults.iter().map(|(name, n)| format!("{n} {name}")).collect();
        if faults.is_empty() { "no faults".to_owned() } else { faults.join(", ") }
    }
}

impl Side {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.unanswered += other.unanswered;
        if let (Some(service), Some(other)) = (&mut self.service, &other.service) {
            service.add(other);
        }
    }

    /// Requests answered well.
    pub fn answered(&self) -> u64 {
        self.response.len().saturating_sub(self.unanswered)
    }
}
