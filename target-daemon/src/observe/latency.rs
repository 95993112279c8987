//! Service times: from a request leaving the rx ring to its reply entering
//! the tx ring.

use hdrhistogram::Histogram;

/// Longest time that is told apart, in nanoseconds: ten minutes. Longer ones
/// count as this.
const LONGEST_NS: u64 = 600_000_000_000;

/// What a request asked for, as far as service times are kept apart.
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
    /// All of them, in the order of their values.
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

/// Times of each operation in nanoseconds, in the cells of a [`Histogram`] of 2
/// significant digits and 256 ns at least. Counting costs a few instructions; the
/// histogram is made when somebody looks.
#[derive(Clone, Debug)]
pub struct Latency {
    cells: [Box<[u64]>; Operation::ALL.len()],
}

/// Shortest time that is told apart: 256 ns.
const SHORTEST_NS: u64 = 1 << UNIT_BITS;
const UNIT_BITS: u32 = 8;

/// 2 significant digits: each power of two has this many cells, and the lowest twice as
/// many.
const STEPS: usize = 1 << STEPS_BITS;
const STEPS_BITS: u32 = 7;

const CELLS: usize = cell_of(LONGEST_NS) + 1;

const fn cell_of(ns: u64) -> usize {
    let units = ns >> UNIT_BITS;
    let shift = (units | (2 * STEPS as u64 - 1)).ilog2() - STEPS_BITS;
    ((shift as usize) << STEPS_BITS) + (units >> shift) as usize
}

/// The shortest time in a cell.
fn lowest_of(cell: usize) -> u64 {
    let shift = (cell >> STEPS_BITS).saturating_sub(1);
    ((cell - (shift << STEPS_BITS)) as u64) << shift << UNIT_BITS
}

impl Latency {
    /// All zero. All memory is reserved here: recording allocates nothing.
    pub fn new() -> Self {
        Self { cells: std::array::from_fn(|_| vec![0; CELLS].into()) }
    }

    /// Counts one request that took `ns` nanoseconds.
    #[inline]
    pub fn record(&mut self, operation: Operation, ns: u64) {
        let cells = self.cells.get_mut(operation as usize);
        if let Some(count) = cells.and_then(|cells| cells.get_mut(cell_of(ns.min(LONGEST_NS)))) {
            *count += 1;
        }
    }

    /// The histogram of an operation, in nanoseconds.
    pub fn of(&self, operation: Operation) -> Option<Histogram<u64>> {
        let mut histogram = Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, 2).ok()?;
        let cells = self.cells.get(operation as usize)?.iter().enumerate();
        for (cell, count) in cells.filter(|(_, count)| **count > 0) {
            histogram.saturating_record_n(lowest_of(cell), *count);
        }
        Some(histogram)
    }

    /// Adds another worker's times to these.
    pub fn merge(&mut self, other: &Self) {
        for (to, from) in self.cells.iter_mut().flatten().zip(other.cells.iter().flatten()) {
            *to += from;
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_kept_apart_and_merged() {
        let (mut a, mut b) = (Latency::new(), Latency::new());
        a.record(Operation::Read, 1_000);
        b.record(Operation::Read, 3_000);
        b.record(Operation::Write, u64::MAX);
        a.merge(&b);
        assert_eq!(a.of(Operation::Read).unwrap().len(), 2);
        assert_eq!(a.of(Operation::Write).unwrap().len(), 1);
        assert!(a.of(Operation::Write).unwrap().max() >= LONGEST_NS);
        assert_eq!(a.of(Operation::Flush).unwrap().len(), 0);
    }

    #[test]
    fn cells_are_those_of_the_histogram() {
        let mut expected = Histogram::<u64>::new_with_bounds(SHORTEST_NS, LONGEST_NS, 2).unwrap();
        let mut latency = Latency::new();
        let powers = (0..40).map(|power| 1_u64 << power);
        let near = powers.flat_map(|ns| [ns - 1, ns, ns + 1, ns / 3 * 4]);
        for ns in near.chain((0..70_000).step_by(37)).chain([LONGEST_NS - 1, LONGEST_NS]) {
            assert!(lowest_of(cell_of(ns)) <= ns && ns < lowest_of(cell_of(ns) + 1), "{ns}");
            expected.saturating_record(ns.min(LONGEST_NS));
            latency.record(Operation::Read, ns);
        }
        let found = latency.of(Operation::Read).unwrap();
        assert!(found == expected);
        assert_eq!((found.min(), found.max()), (expected.min(), expected.max()));
    }

    #[test]
    fn names_stand_in_the_order_of_the_values() {
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(at, operation as usize, "{}", operation.name());
        }
    }
}
