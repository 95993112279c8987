//! Counters and service times as text for people.

use std::fmt::{self, Write as _};

use hdrhistogram::Histogram;

use super::{Latency, Operation};

/// Named counters under one heading.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// The heading: a worker, a lane, an interface.
    pub name: String,
    /// Counter names and values. Zeros are left out of the text.
    pub counters: Vec<(&'static str, u64)>,
}

/// All that a running daemon tells.
#[derive(Clone, Debug)]
pub struct Report {
    /// Counters.
    pub sections: Vec<Section>,
    /// Service times, all workers together.
    pub latency: Latency,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for section in &self.sections {
            writeln!(f, "{}", section.name)?;
            let mut quiet = true;
            for (name, value) in section.counters.iter().filter(|(_, value)| *value > 0) {
                writeln!(f, "  {name:<28} {value:>14}")?;
                quiet = false;
            }
            if quiet {
                writeln!(f, "  nothing yet")?;
            }
        }
        writeln!(f, "service time, us         count       p50       p90       p99     p99.9       max")?;
        for operation in Operation::ALL {
            if let Some(h) = self.latency.of(operation).filter(|h| !h.is_empty()) {
                write!(f, "  {:<15} {:>12}", operation.name(), h.len())?;
                for ns in [0.5, 0.9, 0.99, 0.999].map(|q| h.value_at_quantile(q)).into_iter().chain([h.max()])
                {
                    write!(f, " {:>9.1}", ns as f64 / 1_000.0)?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// A histogram of nanoseconds as text bars, one for each power of two.
pub fn bars(histogram: &Histogram<u64>) -> String {
    let mut rows: Vec<(u64, u64)> = Vec::new();
    for value in histogram.iter_log(1_024, 2.0) {
        rows.push((value.value_iterated_to() + 1, value.count_since_last_iteration()));
    }
    let most = rows.iter().map(|r| r.1).max().unwrap_or(0).max(1);
    let first = rows.iter().position(|r| r.1 > 0).unwrap_or(0);
    let mut text = String::new();
    for (below_ns, count) in rows.into_iter().skip(first) {
        let bar = "#".repeat((count * 50).div_ceil(most) as usize);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  < {:>9.1} us {count:>10} {bar}", below_ns as f64 / 1_000.0);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn zero_counters_are_left_out() {
        let mut latency = Latency::new();
        latency.record(Operation::Read, 12_300);
        let section = Section { name: "worker 0".into(), counters: vec![("received", 7), ("too-long", 0)] };
        let text = Report { sections: vec![section], latency }.to_string();
        assert!(text.contains("received") && text.contains('7'));
        assert!(!text.contains("too-long"));
        assert!(text.contains("12.5"), "{text}");
        assert!(!text.contains("flush"), "{text}");
    }

    #[test]
    fn bars_count_everything_once() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        for ns in [500, 1_500, 1_600, 40_000] {
            histogram.record(ns).unwrap();
        }
        let counts: u64 = bars(&histogram)
            .lines()
            .map(|l| l.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(counts, 4);
    }
}
