//! Latencies and depths in fio's classes.

use hdrhistogram::Histogram;
use serde_json::{Map, Value};

/// Upper bounds of the latency classes, in their unit.
const ENDS: [u64; 10] = [2, 4, 10, 20, 50, 100, 250, 500, 750, 1000];

/// Percentages: below a microsecond, below a millisecond, and above.
pub fn shares(all: &Histogram<u64>) -> [Value; 3] {
    let mut counts = [[0_u64; ENDS.len() + 2]; 3];
    for bucket in all.iter_recorded() {
        let ns = bucket.value_iterated_to();
        let (unit, value) = match ns {
            0..1_000 => (0, ns),
            1_000..1_000_000 => (1, ns / 1_000),
            _ => (2, ns / 1_000_000),
        };
        // Milliseconds have two more classes: up to 2000, and above.
        let class = ENDS.iter().chain(&[2000]).position(|end| value < *end).unwrap_or(ENDS.len() + 1);
        counts[unit][class] += bucket.count_at_value();
    }
    let mut names: Vec<String> = ENDS.iter().map(u64::to_string).collect();
    names.extend(["2000", ">=2000"].map(str::to_owned));
    let percent = |n: u64| 100.0 * n as f64 / all.len().max(1) as f64;
    [0, 1, 2].map(|unit| {
        let classes = if unit == 2 { names.len() } else { ENDS.len() };
        let shares = names.iter().zip(counts[unit]).take(classes);
        Value::Object(shares.map(|(name, n)| (name.clone(), percent(n).into())).collect())
    })
}

/// Puts all requests into the class of this depth; classes begin at powers of two.
pub fn depths(names: &[&str], depth: f64) -> Value {
    let class = (depth.round().max(1.0) as u64).ilog2() as usize;
    let class = class.min(names.len() - 1);
    let share = |at: usize| Value::from(if at == class { 100.0 } else { 0.0 });
    Value::Object(names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), share(at))).collect())
}

/// Counts in fio's own bins, which are named by their middle.
pub fn bins(all: &Histogram<u64>) -> Value {
    let mut bins: Vec<(u64, u64)> = Vec::new();
    for bucket in all.iter_recorded() {
        let (middle, n) = (middle(bucket.value_iterated_to()), bucket.count_at_value());
        match bins.last_mut() {
            Some((last, sum)) if *last == middle => *sum += n,
            _ => bins.push((middle, n)),
        }
    }
    Value::Object(bins.into_iter().map(|(middle, n)| (middle.to_string(), n.into())).collect::<Map<_, _>>())
}

/// The middle of fio's bin for a latency: there are 64 bins for each power of two.
fn middle(ns: u64) -> u64 {
    let shift = ns.max(1).ilog2().saturating_sub(6);
    if shift == 0 { ns } else { (ns >> shift << shift) + (1 << (shift - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_fio() {
        // As printed by fio 3.33.
        for (ns, bin) in [(5, 5), (127, 127), (671, 668), (1001, 1004), (1032, 1032), (4_041_390, 4_046_848)]
        {
            assert_eq!(middle(ns), bin, "{ns}");
        }
        assert_eq!(depths(&["1", "2", ">=4"], 2.6)["2"], 100.0);
        assert_eq!(depths(&["1", "2", ">=4"], 300.0)[">=4"], 100.0);
        assert_eq!(depths(&["1", "2", ">=4"], 0.1)["1"], 100.0);
    }
}
