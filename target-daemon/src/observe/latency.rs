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

/// One histogram of nanoseconds for each operation, 3 significant digits.
#[derive(Clone, Debug)]
pub struct Latency {
    histograms: [Histogram<u64>; Operation::ALL.len()],
}

impl Latency {
    /// Empty histograms. All memory is taken here: recording allocates nothing.
    ///
    /// # Errors
    ///
    /// None in practice: the bounds are constants that `hdrhistogram` accepts.
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        let one = Histogram::new_with_bounds(1, LONGEST_NS, 3)?;
        Ok(Self { histograms: std::array::from_fn(|_| one.clone()) })
    }

    /// Empty histograms of 2 significant digits and no less than 256 ns: a tenth
    /// of the memory, for there is a set for each export.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn coarse() -> Result<Self, hdrhistogram::CreationError> {
        let one = Histogram::new_with_bounds(256, LONGEST_NS, 2)?;
        Ok(Self { histograms: std::array::from_fn(|_| one.clone()) })
    }

    /// Counts one request that took `ns` nanoseconds.
    pub fn record(&mut self, operation: Operation, ns: u64) {
        if let Some(histogram) = self.histograms.get_mut(operation as usize) {
            histogram.saturating_record(ns.max(1));
        }
    }

    /// The histogram of an operation, in nanoseconds.
    pub fn of(&self, operation: Operation) -> Option<&Histogram<u64>> {
        self.histograms.get(operation as usize)
    }

    /// Adds another worker's times to these.
    pub fn merge(&mut self, other: &Self) {
        for (to, from) in self.histograms.iter_mut().zip(&other.histograms) {
            // Cannot fail: all histograms have the same bounds.
            let _ = to.add(from);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_kept_apart_and_merged() {
        let (mut a, mut b) = (Latency::new().unwrap(), Latency::new().unwrap());
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
    fn names_stand_in_the_order_of_the_values() {
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(at, operation as usize, "{}", operation.name());
        }
    }
}
