//! Percentile distributions as text, in microseconds. The format is that of
//! `outputPercentileDistribution` of HdrHistogram, for its plotters.

use std::fmt::Write;

use crate::outcome::{Latencies, Outcome};

/// Steps per halving of the distance to 100 %, the usual value.
const TICKS: u32 = 5;
/// Nanoseconds per unit.
const SCALE: f64 = 1e3;
/// The number of distinct values between 0 and twice 10^3, rounded up to a power of two:
/// latencies have three significant digits.
const SUB_BUCKETS: u64 = 2048;

/// The distribution, with a footer of totals.
pub fn hgrm(latencies: &Latencies) -> String {
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    steps(latencies, |percent, value, total| {
        let (quantile, value) = (percent / 100.0, value as f64 / SCALE);
        // Java rounds halves up, and Rust rounds them to even; halves do occur.
        let rounded = quantile + f64::EPSILON;
        let _ = write!(out, "{value:12.3} {rounded:.12} {total:10}");
        // The last line has no such number.
        let _ =
            if percent < 100.0 { writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(out) };
    });
    let (mean, deviation) = (latencies.mean() / SCALE, latencies.stdev() / SCALE);
    let max = latencies.max() as f64 / SCALE;
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(out, "#[Max     = {max:12.3}, Total count    = {:12}]", latencies.len());
    let _ = writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", latencies.buckets(), SUB_BUCKETS);
    out
}

/// The steps of HdrHistogram's own `PercentileIterator`. It counts in percent.
/// `iter_quantiles` adds up fractions of one instead, which are not exact: a step that
/// falls exactly on the count of a value would go to the next value.
fn steps(latencies: &Latencies, mut each: impl FnMut(f64, u64, u64)) {
    let all = latencies.len();
    let (mut percent, mut total) = (0.0, 0);
    for bucket in latencies.iter_recorded() {
        total += bucket.count_at_value();
        let value = bucket.value_iterated_to();
        while 100.0 * total as f64 / all as f64 >= percent {
            each(percent, value, total);
            percent += 100.0 / ticks(percent);
            if total == all {
                each(100.0, value, total);
                break;
            }
        }
    }
}

/// The number of steps from 0 to 100 % of the current length, which halves with each
/// halving of the distance.
fn ticks(percent: f64) -> f64 {
    let halvings = (100.0 / (100.0 - percent)).log2().floor();
    f64::from(TICKS) * (halvings + 1.0).exp2()
}

// The histograms of all intervals as a HdrHistogram log, version 1.3, with the
// operations as tags. Times are in nanoseconds; the column `Interval_Max` is in
// milliseconds, as its readers expect.

const LEGEND: &str = r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#;
/// Nanoseconds per unit of `Interval_Max`.
const MAX_SCALE: f64 = 1e6;

/// The log; only its header if there are no intervals.
pub fn hlog(outcome: &Outcome) -> String {
    let start_s = outcome.started_unix_ms as f64 / 1e3;
    let mut out = format!(
        "#[Logged with xblade-bench {}]\n#[Histogram log format version 1.3]\n\
         #[StartTime: {start_s:.3} (seconds since epoch)]\n#[BaseTime: {start_s:.3} (seconds since epoch)]\n{LEGEND}\n",
        super::table::one_line(&outcome.version)
    );
    for interval in &outcome.intervals {
        let packed = [&interval.reads, &interval.writes];
        for ((tag, side), packed) in outcome.sides().into_iter().zip(packed) {
            if !side.response.is_empty() {
                let max = packed.unpack().max() as f64 / MAX_SCALE;
                let (from, length) = (interval.from_s, interval.seconds);
                let _ = writeln!(out, "Tag={tag},{from:.3},{length:.3},{max:.3},{}", packed.as_str());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;

    /// How `plotFiles.html` of HdrHistogram reads a file.
    fn plotted(text: &str) -> Vec<(f64, f64)> {
        let mut points = Vec::new();
        for line in text.split('\n').map(str::trim) {
            let values: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
            if let (false, [y, _, _, x]) = (line.starts_with('#'), values.as_slice()) {
                points.extend(x.parse().ok().zip(y.parse().ok()));
            }
        }
        points
    }

    #[test]
    fn the_plotter_finds_every_line_but_the_last() {
        let latencies = fixture::latencies(20_000);
        let text = hgrm(&latencies);
        let points = plotted(&text);
        assert_eq!(points.len(), text.lines().filter(|line| line.contains(" 0.")).count());
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{points:?}");
        assert_eq!(points.first().map(|point| point.0), Some(1.0));
        for (x, y) in points {
            let expected = latencies.us(1.0 - 1.0 / x);
            // The column has two decimals.
            assert!((expected - y).abs() <= 0.01 * y, "1/(1-p) {x}: {y}, and the histogram has {expected}");
        }
        assert!(
            text.contains("Total count    =        20000]")
                && text.contains("SubBuckets     =         2048]")
        );
    }

    /// Made by hdr-histogram-js 3.0.1, a port of the Java version, from the same
    /// histogram. Some of its steps fall on counts of values, and some percentiles are
    /// halves of the last digit.
    #[test]
    fn the_file_is_that_of_hdrhistogram_to_the_byte() {
        let mut latencies = Latencies::default();
        (1..=8000).for_each(|us| latencies.record(us * 1000));
        let theirs = include_str!("../../tests/data/hdr-histogram-js.hgrm");
        for (line, (ours, theirs)) in hgrm(&latencies).lines().zip(theirs.lines()).enumerate() {
            assert_eq!(ours, theirs, "line {}", line + 1);
        }
        assert_eq!(hgrm(&latencies).len(), theirs.len());
    }

    #[test]
    fn an_empty_histogram_is_a_header_and_a_footer() {
        let text = hgrm(&Latencies::default());
        assert_eq!((plotted(&text), text.lines().count()), (Vec::new(), 5), "{text}");
    }
}

#[cfg(test)]
mod hlog_tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::super::tests::fixture;
    use super::*;

    #[test]
    fn the_crate_of_hdrhistogram_reads_every_interval() {
        use base64::Engine;
        let outcome = fixture::mixed();
        let text = hlog(&outcome);
        let mut sums = [("read", 0), ("write", 0)];
        let mut starts = Vec::new();
        let mut intervals = 0;
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            match entry.unwrap() {
                LogEntry::StartTime(at) | LogEntry::BaseTime(at) => starts.push(at.as_millis()),
                LogEntry::Interval(interval) => {
                    let bytes =
                        base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram());
                    let histogram: Histogram<u64> =
                        Deserializer::new().deserialize(&mut bytes.unwrap().as_slice()).unwrap();
                    let tag = interval.tag().unwrap();
                    let (_, sum) = sums.iter_mut().find(|(name, _)| *name == &*tag).unwrap();
                    *sum += histogram.len();
                    assert!((interval.max() - histogram.max() as f64 / 1e6).abs() < 0.001);
                    intervals += 1;
                }
            }
        }
        assert_eq!(starts, [u128::from(outcome.started_unix_ms); 2]);
        assert_eq!(intervals, 2 * outcome.intervals.len());
        let (reads, writes) = (outcome.reads.response.len(), outcome.writes.response.len());
        assert_eq!(sums, [("read", reads), ("write", writes)]);
    }
}
