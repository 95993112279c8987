//! What a run counts.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::plan::Direction;

/// Counts and latencies, since the start of a run.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Latency of reads in nanoseconds, from the first copy sent to the reply.
    pub reads: Histogram<u64>,
    /// Latency of writes.
    pub writes: Histogram<u64>,
    /// Replies that report a failed ATA command, or bring too little data.
    pub errors: u64,
    /// Replies with the AoE error flag.
    pub refused: u64,
    /// Requests that were sent again.
    pub retransmits: u64,
    /// Replies to a copy of a request that had been sent again.
    pub late: u64,
    /// Second replies.
    pub duplicates: u64,
    /// Replies to nothing that was asked, or from somebody else.
    pub unexpected: u64,
    /// Requests that were never answered.
    pub lost: u64,
    /// What the last error was.
    pub last_error: Option<String>,
}

/// Latencies are kept with three significant digits, up to this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

impl Tally {
    /// Nothing counted yet.
    pub fn new() -> Result<Self> {
        let empty = Histogram::new_with_max(LATENCY_NS_MAX, 3).context("cannot make a histogram")?;
        Ok(Self {
            reads: empty.clone(),
            writes: empty,
            errors: 0,
            refused: 0,
            retransmits: 0,
            late: 0,
            duplicates: 0,
            unexpected: 0,
            lost: 0,
            last_error: None,
        })
    }

    /// A request was answered well.
    pub fn completed(&mut self, direction: Direction, latency_ns: u64) {
        let histogram = match direction {
            Direction::Read => &mut self.reads,
            Direction::Write => &mut self.writes,
        };
        histogram.saturating_record(latency_ns);
    }

    /// Reads and writes.
    pub fn completions(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// Latency of reads and writes together.
    pub fn latency_ns(&self) -> Histogram<u64> {
        let mut all = self.reads.clone();
        // Cannot fail: both have the same limits.
        let _ = all.add(&self.writes);
        all
    }
}
