//! The histograms of all intervals as a HdrHistogram log, version 1.3, with the
//! operations as tags. Times are in nanoseconds; the column `Interval_Max` is in
//! milliseconds, as its readers expect.

use std::fmt::Write;

use crate::outcome::{Outcome, Packed};

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
        let mut line = |tag: &str, packed: &Packed| {
            let max = packed.unpack().max() as f64 / MAX_SCALE;
            let (from, length) = (interval.from_s, interval.seconds);
            let _ = writeln!(out, "Tag={tag},{from:.3},{length:.3},{max:.3},{}", packed.as_str());
        };
        // An operation that does not occur in the whole run gets no lines, but an
        // interval without requests gets one.
        if !outcome.reads.response.is_empty() {
            line("read", &interval.reads);
        }
        if !outcome.writes.response.is_empty() {
            line("write", &interval.writes);
        }
    }
    out
}

#[cfg(test)]
mod tests {
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
