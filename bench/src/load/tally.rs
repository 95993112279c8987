//! The counts of a thread.

use crate::outcome::{Latencies, Side, Trouble};

use super::plan::Direction;

/// Counts and latencies of an interval.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Reads.
    pub reads: Side,
    /// Writes.
    pub writes: Side,
    /// Problems.
    pub trouble: Trouble,
    /// When the last counted request was answered, in nanoseconds.
    pub last_ns: u64,
}

/// How long a request took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Took {
    /// Since it was due.
    pub response_ns: u64,
    /// Since it was first sent; `None` if it never was.
    pub service_ns: Option<u64>,
}

impl Tally {
    /// An empty tally, with service times for an open loop.
    pub fn new(open: bool) -> Self {
        let side = || Side { service: open.then(Latencies::default), ..Side::default() };
        Self { reads: side(), writes: side(), ..Self::default() }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.reads,
            Direction::Write => &mut self.writes,
        }
    }

    /// Records a request that was answered well.
    pub fn completed(&mut self, direction: Direction, took: Took, now_ns: u64) {
        self.last_ns = now_ns;
        took.record(self.side(direction));
    }

    /// Records a request that was not answered for this long.
    pub fn given_up(&mut self, direction: Direction, took: Took) {
        let side = self.side(direction);
        side.unanswered += 1;
        took.record(side);
    }

    /// The number of answered reads and writes.
    pub fn completions(&self) -> u64 {
        self.reads.answered() + self.writes.answered()
    }

    /// Adds another tally of the same time or a later one.
    pub fn add(&mut self, other: &Self) {
        self.reads.add(&other.reads);
        self.writes.add(&other.writes);
        self.trouble.add(&other.trouble);
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    /// Resets it, keeping its memory.
    pub fn clear(&mut self) {
        for side in [&mut self.reads, &mut self.writes] {
            side.response.clear();
            side.unanswered = 0;
            side.service.iter_mut().for_each(Latencies::clear);
        }
        (self.trouble, self.last_ns) = (Trouble::default(), 0);
    }
}

impl Took {
    fn record(self, side: &mut Side) {
        side.response.record(self.response_ns);
        if let (Some(service), Some(ns)) = (&mut side.service, self.service_ns) {
            service.record(ns);
        }
    }
}

impl Trouble {
    /// Only the counts that make a run invalid.
    pub fn failures(&self) -> Self {
        Self {
            errors: self.errors,
            refused: self.refused,
            lost: self.lost,
            unsent: self.unsent,
            last_error: self.last_error.clone(),
            ..Self::default()
        }
    }
}
