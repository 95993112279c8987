//! A latency histogram as text bars.

use std::collections::BTreeMap;
use std::fmt::Write;

use hdrhistogram::Histogram;

const WIDTH: u64 = 50;

/// One bar for each doubling of the latency (in nanoseconds), between minimum and
/// maximum.
pub fn bars(latency_ns: &Histogram<u64>) -> String {
    let mut out = String::new();
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for bucket in latency_ns.iter_recorded() {
        *counts.entry(bar_of(bucket.value_iterated_to())).or_default() += bucket.count_at_value();
    }
    let (Some(&first), Some(&last)) = (counts.keys().next(), counts.keys().next_back()) else {
        return out;
    };
    let most = counts.values().copied().max().unwrap_or(1);
    for bar in first..=last {
        let n = counts.get(&bar).copied().unwrap_or(0);
        // At least one mark for every count above zero: the tail matters most.
        let length = if n == 0 { 0 } else { (n * WIDTH / most).max(1) };
        let line = "#".repeat(length as usize);
        let _ = writeln!(out, "  < {:>7} us  {line:<50} {n}", 1u64 << bar);
    }
    out
}

/// The upper bound of a latency's bar: a power of two of microseconds.
fn bar_of(ns: u64) -> u64 {
    u64::from((ns / 1000).checked_ilog2().map_or(0, |power| power + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_bar() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for ns in [900, 3_000, 3_500, 100_000_000] {
            histogram.record(ns).unwrap();
        }
        let text = bars(&histogram);
        let counts: u64 = text.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        assert_eq!(counts, 4, "{text}");
        assert!(text.lines().count() >= 17, "empty bars between are shown:\n{text}");
    }
}
