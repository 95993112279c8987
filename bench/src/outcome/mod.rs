//! What came of a load: everything that was measured, as it is stored, handed
//! from a generator to a comparison, and turned into reports.

mod judgement;
mod latencies;
mod sample;
mod sum;

use serde::{Deserialize, Serialize};

pub use latencies::{Latencies, Packed};
pub use sample::{Footprint, Machine, Ratio, Sample};

/// What came of a load.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Outcome {
    /// What it is called in reports.
    pub name: String,
    /// The version of this program.
    pub version: String,
    /// When it began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// How it was set up.
    pub setup: Setup,
    /// Under which conditions it ran.
    pub conditions: Vec<Condition>,
    /// How long requests were sent, in seconds.
    pub seconds: f64,
    /// Reads that were answered well.
    pub reads: Side,
    /// Writes that were answered well.
    pub writes: Side,
    /// The same by time, in stretches that follow each other.
    pub intervals: Vec<Interval>,
    /// What went wrong, to the end of the run.
    pub trouble: Trouble,
    /// What the check of the data found, if there was one.
    pub verify: Option<Verified>,
    /// What a watched target cost.
    pub cost: Option<Cost>,
    /// Share of the time that the generator had nothing to do, 0 to 1: near 0
    /// it is the limit itself.
    pub idle: f64,
    /// Why the result may not be what it seems.
    pub warnings: Vec<String>,
}

/// How a load was set up.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Setup {
    /// The exports.
    pub exports: Vec<String>,
    /// The port.
    pub port: String,
    /// What was sent, in words: "read", "70 % read".
    pub op: String,
    /// How addresses follow each other, in words: "random", "zipf 1.1".
    pub pattern: String,
    /// Sectors in a request.
    pub sectors: u8,
    /// Requests in flight on each export.
    pub window: u16,
    /// Requests a second that were to be sent, in an open loop.
    pub rate: Option<f64>,
    /// How they follow each other there: "constant", "poisson".
    pub arrivals: Option<String>,
    /// How long was sent before anything was counted, in seconds.
    pub warm_up_s: f64,
    /// Threads that sent.
    pub threads: usize,
    /// Requests in flight that the export allows (the least, of several).
    pub buffer_count: u16,
    /// Seed of addresses and stamps.
    pub seed: u32,
}

/// A circumstance that has a part in the result.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Condition {
    /// For example "kernel".
    pub name: String,
    /// For example "6.12.0".
    pub value: String,
}

/// One direction of the data.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Side {
    /// From the time at which a request was meant to be sent, to its reply. In a
    /// closed loop that is the time at which it was sent first. Those that were
    /// never answered are among them, with the time that they waited in vain.
    pub response: Latencies,
    /// How many of them were never answered.
    pub unanswered: u64,
    /// From the time at which it was sent first, to its reply: in an open loop
    /// this leaves out how long it had to wait before (coordinated omission).
    /// `None` in a closed loop, where it is the same.
    pub service: Option<Latencies>,
}

/// A stretch of time.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Interval {
    /// Where it begins, in seconds from the start.
    pub from_s: f64,
    /// How long it is.
    pub seconds: f64,
    /// Response times of reads that were answered in it, or given up.
    pub reads: Packed,
    /// Of writes.
    pub writes: Packed,
    /// How many of these reads were never answered.
    pub unanswered_reads: u64,
    /// How many of these writes.
    pub unanswered_writes: u64,
    /// Requests that were sent again in it.
    pub resent: u64,
    /// Frames that were dropped in it, on the generator's side.
    pub dropped: u64,
}

/// Counts of what should be zero.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Trouble {
    /// Requests that were sent again.
    pub retransmits: u64,
    /// Replies to a copy of a request that had been sent again.
    pub late: u64,
    /// Second replies.
    pub duplicates: u64,
    /// Replies to nothing that was asked, or from somebody else.
    pub unexpected: u64,
    /// Replies that report a failed ATA command, or bring too little data.
    pub errors: u64,
    /// Replies with the AoE error flag.
    pub refused: u64,
    /// Requests that were sent, and never answered.
    pub lost: u64,
    /// Requests of an open loop that were due, and never sent, since too many
    /// others waited for their replies.
    pub unsent: u64,
    /// Frames dropped on the generator's side.
    pub dropped: u64,
    /// What the last error was.
    pub last_error: Option<String>,
}

/// What the check of the data found.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Verified {
    /// Sectors checked.
    pub checked: u64,
    /// Sectors of which nothing was known.
    pub unchecked: u64,
    /// Faults by kind; only kinds that occurred.
    pub faults: Vec<(String, u64)>,
    /// The first faults in full.
    pub examples: Vec<String>,
}

/// What a target on this host cost while the load ran.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Cost {
    /// CPU time of its process in the program, in nanoseconds.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// Share of the time that its core was busy, if a core was named.
    pub core_busy: Option<f64>,
}

impl Outcome {
    /// Requests answered well.
    pub fn completions(&self) -> u64 {
        self.reads.answered() + self.writes.answered()
    }

    /// Of those, how many a second.
    pub fn iops(&self) -> f64 {
        self.completions() as f64 / self.seconds.max(1e-9)
    }

    /// Data a second, in 10⁶ bytes.
    pub fn mb_per_s(&self) -> f64 {
        self.iops() * f64::from(self.setup.sectors) * 512.0 / 1e6
    }

    /// Response times of reads and writes together.
    pub fn response(&self) -> Latencies {
        self.reads.response.with(&self.writes.response)
    }

    /// CPU time of the watched target for each request, in nanoseconds: in its
    /// program, and in the kernel.
    pub fn cost_per_request(&self) -> Option<(f64, f64)> {
        let each = |ns: u64| ns as f64 / self.completions().max(1) as f64;
        self.cost.map(|cost| (each(cost.user_ns), each(cost.system_ns)))
    }
}

impl Side {
    /// Requests answered well.
    pub fn answered(&self) -> u64 {
        self.response.len().saturating_sub(self.unanswered)
    }
}
