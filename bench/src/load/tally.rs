//! What a run counts.

use crate::outcome::{Latencies, Trouble};

use super::plan::Direction;

/// Counts and latencies, since the start of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Latency of reads, from the first copy sent to the reply.
    pub reads: Latencies,
    /// Latency of writes.
    pub writes: Latencies,
    /// What went wrong.
    pub trouble: Trouble,
}

impl Tally {
    /// A request was answered well.
    pub fn completed(&mut self, direction: Direction, latency_ns: u64) {
        match direction {
            Direction::Read => self.reads.record(latency_ns),
            Direction::Write => self.writes.record(latency_ns),
        }
    }

    /// Reads and writes.
    pub fn completions(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }
}
