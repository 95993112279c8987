//! The reads or the writes of a job.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::outcome::{Interval, Outcome, Packed, Side};

use super::bins;

/// fio's default percentiles.
const PERCENTILES: [f64; 17] =
    [1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];

/// Selects reads or writes of an interval, and how many of them were never answered.
type Of = fn(&Interval) -> (&Packed, u64);

/// Reads and writes.
pub fn both(outcome: &Outcome) -> [Value; 2] {
    [
        direction(outcome, &outcome.reads, |interval| (&interval.reads, interval.unanswered_reads)),
        direction(outcome, &outcome.writes, |interval| (&interval.writes, interval.unanswered_writes)),
    ]
}

/// A direction without requests.
pub fn none() -> Value {
    direction(&Outcome::default(), &Side::default(), |interval| (&interval.reads, 0))
}

/// Empty times.
pub fn no_times() -> Value {
    times(0, 0, 0.0, 0.0, 0)
}

fn direction(outcome: &Outcome, side: &Side, of: Of) -> Value {
    let all = &side.response;
    let block = u64::from(outcome.setup.sectors) * 512;
    let answered = side.answered();
    let bytes = answered * block;
    let per_second = |n: u64| n as f64 / outcome.seconds.max(1e-9);
    let some = !all.is_empty();
    let mut clat = of_histogram(all);
    if some {
        clat["percentile"] = percentiles(all);
        clat["bins"] = bins::bins(all);
    }
    let rates = Rates::new(if some { &outcome.intervals } else { &[] }, of);
    let kib = block as f64 / 1024.0;
    let share = if some { 100.0 } else { 0.0 };
    json!({
        "io_bytes": bytes,
        "io_kbytes": bytes >> 10,
        "bw_bytes": per_second(bytes) as u64,
        "bw": per_second(bytes) as u64 >> 10,
        "iops": per_second(answered),
        "runtime": if some { (outcome.seconds * 1e3).round() as u64 } else { 0 },
        "total_ios": answered,
        "short_ios": 0,
        "drop_ios": side.unanswered,
        "slat_ns": wait(side),
        "clat_ns": clat,
        "lat_ns": of_histogram(all),
        "bw_min": (rates.min * kib) as u64,
        "bw_max": (rates.max * kib) as u64,
        "bw_agg": share,
        "bw_mean": rates.mean * kib,
        "bw_dev": rates.deviation * kib,
        "bw_samples": rates.samples,
        "iops_min": rates.min as u64,
        "iops_max": rates.max as u64,
        "iops_mean": rates.mean,
        "iops_stddev": rates.deviation,
        "iops_samples": rates.samples,
    })
}

/// How long requests waited before they were sent, if known; it is not if some were never
/// sent.
fn wait(side: &Side) -> Value {
    match &side.service {
        Some(service) if !service.is_empty() && service.len() == side.response.len() => {
            times(0, 0, (side.response.mean() - service.mean()).max(0.0), 0.0, service.len())
        }
        _ => no_times(),
    }
}

fn of_histogram(all: &Histogram<u64>) -> Value {
    if all.is_empty() {
        return no_times();
    }
    times(all.min(), all.max(), all.mean(), all.stdev(), all.len())
}

fn times(min: u64, max: u64, mean: f64, deviation: f64, n: u64) -> Value {
    json!({ "min": min, "max": max, "mean": mean, "stddev": deviation, "N": n })
}

fn percentiles(all: &Histogram<u64>) -> Value {
    let one = |percentile: f64| {
        (format!("{percentile:.6}"), Value::from(all.value_at_quantile(percentile / 100.0)))
    };
    Value::Object(PERCENTILES.into_iter().map(one).collect::<Map<_, _>>())
}

fn rate((times, unanswered): (&Packed, u64), seconds: f64) -> f64 {
    times.unpack().len().saturating_sub(unanswered) as f64 / seconds
}

/// Requests per second, by interval.
struct Rates {
    min: f64,
    max: f64,
    mean: f64,
    deviation: f64,
    samples: usize,
}

impl Rates {
    /// Leaves out intervals that are much shorter than the others, such as the last one,
    /// because their rates are not meaningful.
    fn new(intervals: &[Interval], of: Of) -> Self {
        let longest = intervals.iter().map(|interval| interval.seconds).fold(0.0, f64::max);
        let whole = intervals.iter().filter(|interval| interval.seconds > longest / 2.0);
        let rates: Vec<f64> = whole.map(|i| rate(of(i), i.seconds)).collect();
        if rates.is_empty() {
            return Self { min: 0.0, max: 0.0, mean: 0.0, deviation: 0.0, samples: 0 };
        }
        let n = rates.len() as f64;
        let mean = rates.iter().sum::<f64>() / n;
        let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
        Self {
            min: rates.iter().copied().fold(f64::INFINITY, f64::min),
            max: rates.iter().copied().fold(0.0, f64::max),
            mean,
            // The standard deviation of a sample, as in fio.
            deviation: if rates.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 },
            samples: rates.len(),
        }
    }
}
