//! Histograms as cumulative counts up to fixed bounds.

use crate::observe::{Distribution, middle_of};

/// Bounds in nanoseconds, and as text in seconds. The texts must never change: they are
/// labels of time series.
const BOUNDS: [(u64, &str); 21] = [
    (2_000, "2e-06"),
    (5_000, "5e-06"),
    (10_000, "1e-05"),
    (20_000, "2e-05"),
    (50_000, "5e-05"),
    (100_000, "0.0001"),
    (200_000, "0.0002"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_000_000, "0.002"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (20_000_000, "0.02"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (200_000_000, "0.2"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1.0"),
    (2_000_000_000, "2.0"),
    (5_000_000_000, "5.0"),
    (10_000_000_000, "10.0"),
];

/// Bounds with their cumulative counts; the last is the total. If a bound falls within a
/// cell, the cell counts as above it. So no request appears faster than it was, and none
/// appears slower by more than the precision of the histogram.
pub fn cumulative(times: &Distribution) -> impl Iterator<Item = (&'static str, u64)> {
    let up_to = |bound: u64| times.0.iter().filter(|(highest, _)| *highest <= bound).map(|(_, n)| n).sum();
    BOUNDS.iter().map(move |(bound, text)| (*text, up_to(*bound))).chain([("+Inf", times.count())])
}

/// The sum of the observations, each in the middle of its cell. It never falls, because
/// counts only grow.
pub fn sum_seconds(times: &Distribution) -> f64 {
    let cells = times.0.iter().map(|(highest, n)| u128::from(middle_of(*highest)) * u128::from(*n));
    cells.sum::<u128>() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Latency, Operation};

    fn times(values: &[u64]) -> Distribution {
        let mut latency = Latency::new();
        for ns in values {
            latency.record(Operation::Read, *ns);
        }
        latency.of(Operation::Read)
    }

    fn at_most(times: &Distribution, bound: &str) -> u64 {
        cumulative(times).find(|(le, _)| *le == bound).unwrap().1
    }

    #[test]
    fn bounds_grow_and_their_texts_are_their_values() {
        assert!(BOUNDS.is_sorted_by(|a, b| a.0 < b.0));
        for (ns, text) in BOUNDS {
            let event = text.parse::<f64>().unwrap() * 1e9;
            assert!((event - ns as f64).abs() < 1e-3, "{text}: {ns}");
        }
    }

    #[test]
    fn counts_are_cumulative_and_complete() {
        let times = times(&[300, 1_500, 3_000, 3_100, 40_000, 9_000_000_000, 60_000_000_000]);
        let counts: Vec<u64> = cumulative(&times).map(|(_, n)| n).collect();
        assert!(counts.is_sorted(), "{counts:?}");
        assert_eq!((at_most(&times, "2e-06"), at_most(&times, "5e-06")), (2, 4));
        assert_eq!((at_most(&times, "2e-05"), at_most(&times, "5e-05")), (4, 5));
        assert_eq!((at_most(&times, "10.0"), at_most(&times, "+Inf")), (6, 7));
        assert_eq!(times.count(), 7);
        let sum = 69.000_048_9;
        assert!((sum_seconds(&times) / sum - 1.0).abs() < 0.01, "{}", sum_seconds(&times));
    }

    #[test]
    fn nothing_is_told_as_faster_than_it_was() {
        for ns in (1_u64..2_000).map(|n| n * 9_973).chain(BOUNDS.iter().map(|(ns, _)| ns + 1)) {
            let times = times(&[ns]);
            for ((bound, _), (_, count)) in BOUNDS.iter().zip(cumulative(&times)) {
                assert!(count == 0 || ns <= *bound, "{ns} is counted as at most {bound}");
                // At most 1 % slower.
                assert!(count == 1 || ns + ns / 100 + 256 > *bound, "{ns} is not counted as at most {bound}");
            }
        }
    }

    #[test]
    fn an_empty_histogram_is_all_zero() {
        let times = times(&[]);
        assert!(cumulative(&times).all(|(_, n)| n == 0));
        assert!(times.count() == 0 && sum_seconds(&times) == 0.0);
    }
}
