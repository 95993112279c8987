//! Outcomes in the format of the jobs of `fio --output-format=json+`, for programs that
//! read it: names, options, rates and times. Keys and types are those of fio 3.33.
//!
//! Where the meaning differs from fio's:
//! - `clat_ns` and `lat_ns` are the response time. In an open loop it counts from the
//!   intended start of a request.
//! - `usr_cpu` and `sys_cpu` are those of a watched target, in percent of a core.
//! - `drop_ios` are requests that were never answered. They count in the times, with the
//!   time that they waited, but not in `total_ios`.

use serde_json::{Map, Value, json};

use crate::outcome::{Interval, Latencies, Outcome, Packed, Side, Spread};

use super::document::label;

/// fio's default percentiles.
const PERCENTILES: [f64; 17] =
    [1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];

/// Selects reads or writes of an interval, and how many of them were never answered.
type Of = fn(&Interval) -> (&Packed, u64);

/// One job.
pub fn job(outcome: &Outcome) -> Value {
    let t = &outcome.trouble;
    let cost = outcome.cost.unwrap_or_default();
    let percent = |ns: u64| ns as f64 / 1e7 / outcome.seconds.max(1e-9);
    json!({
        "jobname": label(outcome),
        // EIO, as fio reports failed requests.
        "error": if t.failed() > t.unsent { 5 } else { 0 },
        "job options": options(outcome),
        "read": direction(outcome, &outcome.reads, |interval| (&interval.reads, interval.unanswered_reads)),
        "write": direction(outcome, &outcome.writes, |interval| (&interval.writes, interval.unanswered_writes)),
        "usr_cpu": percent(cost.user_ns),
        "sys_cpu": percent(cost.system_ns),
    })
}

/// Options are strings, as in fio.
fn options(outcome: &Outcome) -> Value {
    let s = &outcome.setup;
    let (reads, all) = (outcome.reads.answered(), outcome.completions());
    let random = if s.pattern == "sequential" { "" } else { "rand" };
    let kind = match s.op.as_str() {
        "read" | "write" => &s.op,
        _ => "rw",
    };
    json!({
        "name": label(outcome),
        "filename": s.exports.join(":"),
        "ioengine": format!("aoe-{}", s.port),
        "rw": format!("{random}{kind}"),
        "rwmixread": format!("{:.0}", 100.0 * reads as f64 / all.max(1) as f64),
        "bs": (u32::from(s.sectors) * 512).to_string(),
        "iodepth": s.window.to_string(),
        "numjobs": s.threads.to_string(),
        "runtime": format!("{:.0}", outcome.seconds),
        "rate_iops": s.rate.map_or("0".to_owned(), |rate| format!("{rate:.0}")),
    })
}

fn direction(outcome: &Outcome, side: &Side, of: Of) -> Value {
    let block = u64::from(outcome.setup.sectors) * 512;
    let answered = side.answered();
    let per_second = |n: u64| n as f64 / outcome.seconds.max(1e-9);
    let mut clat = times(&side.response);
    if !side.response.is_empty() {
        let percentile = |p: f64| (format!("{p:.6}"), side.response.value_at_quantile(p / 100.0).into());
        clat["percentile"] = Value::Object(PERCENTILES.map(percentile).into_iter().collect::<Map<_, _>>());
    }
    let rates = rates(&outcome.intervals, of);
    let mean = rates.iter().sum::<f64>().abs() / rates.len().max(1) as f64;
    // The standard deviation of a sample, as in fio.
    let squares = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>().abs();
    let deviation = (squares / rates.len().saturating_sub(1).max(1) as f64).sqrt();
    let Spread { least, most, .. } = Spread::of(rates).unwrap_or_default();
    json!({
        "io_bytes": answered * block,
        "bw_bytes": per_second(answered * block) as u64,
        "bw": per_second(answered * block) as u64 >> 10,
        "iops": per_second(answered),
        "runtime": if side.response.is_empty() { 0 } else { (outcome.seconds * 1e3).round() as u64 },
        "total_ios": answered,
        "drop_ios": side.unanswered,
        "clat_ns": clat,
        "lat_ns": times(&side.response),
        "iops_min": least as u64,
        "iops_max": most as u64,
        "iops_mean": mean,
        "iops_stddev": deviation,
    })
}

fn times(all: &Latencies) -> Value {
    json!({ "min": all.min(), "max": all.max(), "mean": all.mean(), "stddev": all.stdev(), "N": all.len() })
}

/// Requests per second, by interval. Leaves out intervals that are much shorter than the
/// others, such as the last one, because their rates are not meaningful.
fn rates(intervals: &[Interval], of: Of) -> Vec<f64> {
    let longest = intervals.iter().map(|interval| interval.seconds).fold(0.0, f64::max);
    let whole = intervals.iter().filter(|interval| interval.seconds > longest / 2.0);
    let rate = |interval: &Interval| {
        let (times, unanswered) = of(interval);
        times.unpack().len().saturating_sub(unanswered) as f64 / interval.seconds
    };
    whole.map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;

    #[test]
    fn figures_are_those_of_the_outcome() {
        let outcome = fixture::mixed();
        let job = job(&outcome);
        let number = |path: &str| job.pointer(path).and_then(Value::as_f64).unwrap();
        let reads = &outcome.reads.response;
        assert_eq!(number("/read/total_ios"), reads.len() as f64);
        assert_eq!(number("/read/io_bytes"), reads.len() as f64 * 4096.0);
        assert_eq!(number("/read/clat_ns/percentile/99.000000"), reads.value_at_quantile(0.99) as f64);
        assert_eq!(number("/write/lat_ns/max"), outcome.writes.response.max() as f64);
        assert_eq!(number("/read/runtime"), 1000.0);
        assert!((number("/usr_cpu") - 0.09).abs() < 1e-9 && (number("/sys_cpu") - 0.23).abs() < 1e-9);
        let options = &job["job options"];
        assert_eq!(
            (&options["rw"], &options["rate_iops"], &options["bs"]),
            (&"randrw".into(), &"800".into(), &"4096".into())
        );
    }

    #[test]
    fn requests_that_were_never_answered_are_times_and_no_throughput() {
        let outcome = fixture::reads("vblade", 3);
        let job = job(&outcome);
        let read = &job["read"];
        assert_eq!((&read["total_ios"], &read["drop_ios"]), (&313.into(), &2.into()));
        assert_eq!((&read["iops"], &read["iops_max"]), (&313.0.into(), &356.into()));
        assert_eq!(read["clat_ns"]["N"], 315);
        assert_eq!(job["error"], 5);
        let text = crate::report::text(&outcome);
        let rate =
            text.lines().find(|line| line.starts_with("all")).and_then(|line| line.split_whitespace().nth(1));
        assert_eq!(rate, Some("313"), "{text}");
    }
}
