//! Service times: from a request leaving the rx ring to its reply entering
//! the tx ring.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Zeroed;

/// Longest time recorded as such, in nanoseconds: ten minutes. Longer times count as
/// this.
const LONGEST_NS: u64 = 600_000_000_000;

/// Kind of request; service times are kept per kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Operation {
    /// ATA read.
    Read,
    /// ATA write.
    Write,
    /// ATA flush.
    Flush,
    /// ATA trim.
    Discard,
    /// Any other ATA command.
    Ata,
    /// Query config.
    Query,
    /// MAC mask, reserve/release, and unknown commands.
    Other,
}

impl Operation {
    /// All operations, in the order of their values.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Write, Self::Flush, Self::Discard, Self::Ata, Self::Query, Self::Other];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "trim",
            Self::Ata => "ata-other",
            Self::Query => "query",
            Self::Other => "other",
        }
    }
}

/// Times of each operation in nanoseconds, in the cells of an HDR histogram with 2
/// significant digits and a minimum of 256 ns. Recording costs a few instructions.
#[derive(Clone, Debug)]
pub struct Latency {
    /// The cells of each operation, one after the other.
    cells: Zeroed,
}

/// Where a [`Latency`] counts a time of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Cell(usize);

impl Cell {
    /// The cell for a time in nanoseconds.
    #[inline]
    pub fn of(operation: Operation, ns: u64) -> Self {
        Self(operation as usize * CELLS + cell_of(ns.min(LONGEST_NS)))
    }
}

/// The unit of cells: 256 ns.
const UNIT_BITS: u32 = 8;

/// 2 significant digits: each power of two has this many buckets, and the lowest has
/// twice as many.
const STEPS: usize = 1 << STEPS_BITS;
const STEPS_BITS: u32 = 7;

const CELLS: usize = cell_of(LONGEST_NS) + 1;

#[inline]
const fn cell_of(ns: u64) -> usize {
    let units = ns >> UNIT_BITS;
    if units < 2 * STEPS as u64 {
        // Most times are this short.
        return units as usize;
    }
    let shift = (units | (2 * STEPS as u64 - 1)).ilog2() - STEPS_BITS;
    ((shift as usize) << STEPS_BITS) + (units >> shift) as usize
}

/// The shortest time in a bucket.
fn lowest_of(cell: usize) -> u64 {
    let shift = (cell >> STEPS_BITS).saturating_sub(1);
    ((cell - (shift << STEPS_BITS)) as u64) << shift << UNIT_BITS
}

impl Latency {
    /// All zero. Allocates all memory: recording allocates nothing.
    pub fn new() -> Self {
        Self { cells: Zeroed::new(Operation::ALL.len() * CELLS) }
    }

    /// Counts one request that took `ns` nanoseconds.
    #[inline]
    pub fn record(&mut self, operation: Operation, ns: u64) {
        self.add(Cell::of(operation, ns));
    }

    /// As [`Self::record`], for a time whose cell is known.
    #[inline]
    pub fn add(&mut self, Cell(at): Cell) {
        self.cells.replace(at, |count| count + 1);
    }

    /// The times of an operation.
    pub fn of(&self, operation: Operation) -> Distribution {
        let count = |cell| self.cells.get(operation as usize * CELLS + cell).unwrap_or(0);
        let occupied = (0..CELLS).map(|cell| (cell, count(cell))).filter(|(_, count)| *count > 0);
        Distribution(occupied.map(|(cell, count)| (lowest_of(cell + 1) - 1, count)).collect())
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// The middle of the cell with this time in it.
pub fn middle_of(ns: u64) -> u64 {
    let cell = cell_of(ns);
    u64::midpoint(lowest_of(cell), lowest_of(cell + 1))
}

/// How times are distributed: for each occupied cell its highest time in nanoseconds and
/// its count, in ascending order.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug, Default)]
pub struct Distribution(pub Vec<(u64, u64)>);

impl Distribution {
    /// The number of measurements.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, n)| n).sum()
    }

    /// The time that this share of all measurements does not exceed; 0 without any.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut sum = 0;
        let cell = self.0.iter().find(|(_, n)| {
            sum += n;
            sum >= rank
        });
        cell.map_or(0, |(ns, _)| *ns)
    }

    /// The longest time.
    pub fn max(&self) -> u64 {
        self.0.last().map_or(0, |(ns, _)| *ns)
    }

    /// The times of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut cells = BTreeMap::new();
        for (ns, n) in self.0.iter().chain(&other.0) {
            *cells.entry(*ns).or_default() += n;
        }
        Self(cells.into_iter().collect())
    }

    /// The times measured since an earlier distribution of the same.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let before: BTreeMap<u64, u64> = before.0.iter().copied().collect();
        let new = |(ns, n): &(u64, u64)| (*ns, n.saturating_sub(before.get(ns).copied().unwrap_or(0)));
        Self(self.0.iter().map(new).filter(|(_, n)| *n > 0).collect())
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    #[test]
    fn operations_are_kept_apart() {
        let mut latency = Latency::new();
        latency.record(Operation::Read, 1_000);
        latency.record(Operation::Read, 3_000);
        latency.record(Operation::Write, u64::MAX);
        assert_eq!(latency.of(Operation::Read).count(), 2);
        assert_eq!(latency.of(Operation::Write).count(), 1);
        assert!(latency.of(Operation::Write).max() >= LONGEST_NS);
        assert_eq!(latency.of(Operation::Flush), Distribution::default());
    }

    #[test]
    fn cells_are_those_of_the_histogram() {
        let mut expected = Histogram::<u64>::new_with_bounds(1 << UNIT_BITS, LONGEST_NS, 2).unwrap();
        let mut latency = Latency::new();
        let powers = (0..40).map(|power| 1_u64 << power);
        let near = powers.flat_map(|ns| [ns - 1, ns, ns + 1, ns / 3 * 4]);
        for ns in near.chain((0..70_000).step_by(37)).chain([LONGEST_NS - 1, LONGEST_NS]) {
            assert!(lowest_of(cell_of(ns)) <= ns && ns < lowest_of(cell_of(ns) + 1), "{ns}");
            assert_eq!(middle_of(ns), expected.median_equivalent(ns), "{ns}");
            expected.saturating_record(ns.min(LONGEST_NS));
            latency.record(Operation::Read, ns);
        }
        let found = latency.of(Operation::Read);
        let cells = expected.iter_recorded().map(|c| (c.value_iterated_to(), c.count_since_last_iteration()));
        assert_eq!(found.0, cells.collect::<Vec<_>>());
        assert_eq!((found.count(), found.max()), (expected.len(), expected.max()));
        for share in [0.001, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(found.quantile(share), expected.value_at_quantile(share), "{share}");
        }
    }

    #[test]
    fn two_distributions_add_up_and_differ() {
        let (a, b) = (Distribution(vec![(10, 1), (30, 2)]), Distribution(vec![(10, 4), (20, 1)]));
        let both = a.and(&b);
        assert_eq!(both.0, [(10, 5), (20, 1), (30, 2)]);
        assert_eq!((both.since(&a), both.since(&b)), (b, a));
        assert_eq!((both.since(&both).count(), both.since(&both).quantile(0.5)), (0, 0));
    }

    #[test]
    fn names_stand_in_the_order_of_the_values() {
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(at, operation as usize, "{}", operation.name());
        }
    }
}
