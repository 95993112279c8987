//! An outcome in the format of a job of `fio --output-format=json+`, for programs that
//! read it. Keys and types are those of fio 3.33. A field without meaning here is zero,
//! as fio writes values that it has not measured.
//!
//! Where the meaning differs from fio's:
//! - `clat_ns` and `lat_ns` are the response time. In an open loop it counts from the
//!   intended start of a request, and `slat_ns` has the mean wait before sending (its
//!   extremes are not known and are zero).
//! - `usr_cpu` and `sys_cpu` are those of a watched target, in percent of a core.
//! - `iodepth_level` names the mean number of requests in flight, by Little's law.
//! - `drop_ios` are requests that were never answered. They count in the times, with the
//!   time that they waited, but not in `total_ios`.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::outcome::{Cost, Interval, Latencies, Outcome, Packed, Side, Spread};

use super::document::labels;

/// fio's default percentiles.
const PERCENTILES: [f64; 17] =
    [1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];

/// Selects reads or writes of an interval, and how many of them were never answered.
type Of = fn(&Interval) -> (&Packed, u64);

/// Nanoseconds in a second.
const SECOND_NS: f64 = 1e9;

/// The file without our own part: one job per outcome.
pub fn file(outcomes: &[Outcome]) -> Value {
    let ended_ms = outcomes.iter().map(ended_unix_ms).max().unwrap_or(0);
    let version = outcomes.first().map_or(env!("CARGO_PKG_VERSION"), |outcome| &outcome.version);
    let names = labels(outcomes);
    let jobs: Vec<Value> =
        outcomes.iter().zip(names).enumerate().map(|(at, (outcome, name))| job(outcome, &name, at)).collect();
    json!({
        "fio version": format!("xblade-bench-{version}"),
        "timestamp": ended_ms / 1000,
        "timestamp_ms": ended_ms,
        "time": words(ended_ms),
        "global options": {},
        "jobs": jobs,
    })
}

fn job(outcome: &Outcome, name: &str, group: usize) -> Value {
    let t = &outcome.trouble;
    let read = direction(outcome, &outcome.reads, |interval| (&interval.reads, interval.unanswered_reads));
    let write =
        direction(outcome, &outcome.writes, |interval| (&interval.writes, interval.unanswered_writes));
    let nothing = Outcome::default();
    let elapsed_ms = (outcome.seconds * 1e3).round() as u64;
    let cpu = |ns: fn(&Cost) -> u64| {
        let share = outcome.cost.as_ref().map_or(0.0, |cost| ns(cost) as f64 / SECOND_NS);
        100.0 * share / outcome.seconds.max(1e-9)
    };
    let [ns, us, ms] = shares(&outcome.response());
    let depth = depth(outcome);
    json!({
        "jobname": name,
        "groupid": group,
        // EIO, as fio reports failed requests.
        "error": if t.failed() > t.unsent { 5 } else { 0 },
        "eta": 0,
        "elapsed": outcome.seconds.ceil() as u64,
        "job options": options(outcome, name),
        "read": read,
        "write": write,
        "trim": direction(&nothing, &nothing.reads, |interval| (&interval.reads, 0)),
        "sync": { "total_ios": 0, "lat_ns": times(&nothing.reads.response) },
        "job_runtime": elapsed_ms,
        "usr_cpu": cpu(|cost| cost.user_ns),
        "sys_cpu": cpu(|cost| cost.system_ns),
        "ctx": 0,
        "majf": 0,
        "minf": 0,
        "iodepth_level": depths(&["1", "2", "4", "8", "16", "32", ">=64"], depth),
        "latency_ns": ns,
        "latency_us": us,
        "latency_ms": ms,
        "latency_depth": outcome.setup.window,
        "latency_target": 0,
        "latency_percentile": 100.0,
        "latency_window": 0,
    })
}

/// Options are strings, as in fio.
fn options(outcome: &Outcome, name: &str) -> Value {
    let s = &outcome.setup;
    let (reads, all) = (outcome.reads.answered(), outcome.completions());
    let random = if s.pattern == "sequential" { "" } else { "rand" };
    let both = (1..all).contains(&reads);
    let kind = match (both, reads > 0 || s.op == "read") {
        (true, _) => "rw",
        (false, true) => "read",
        (false, false) => "write",
    };
    let mix = both.then(|| format!("{:.0}", 100.0 * reads as f64 / all as f64));
    let options = [
        ("name", Some(name.to_owned())),
        ("filename", Some(s.exports.join(":"))),
        ("ioengine", Some(format!("aoe-{}", s.port))),
        ("rw", Some(format!("{random}{kind}"))),
        ("rwmixread", mix),
        ("bs", Some((u32::from(s.sectors) * 512).to_string())),
        ("iodepth", Some(s.window.to_string())),
        ("numjobs", Some(s.threads.to_string())),
        ("runtime", Some(format!("{:.0}", outcome.seconds))),
        ("rate_iops", s.rate.map(|rate| format!("{rate:.0}"))),
    ];
    object(options.into_iter().filter_map(|(key, value)| Some((key, value?))))
}

/// An object with these keys and values.
fn object<K: ToString, V: Into<Value>>(all: impl IntoIterator<Item = (K, V)>) -> Value {
    Value::Object(all.into_iter().map(|(key, value)| (key.to_string(), value.into())).collect())
}

/// The mean number of requests in flight, by Little's law.
fn depth(outcome: &Outcome) -> f64 {
    let times = [&outcome.reads, &outcome.writes].map(|side| side.service.as_ref().unwrap_or(&side.response));
    let busy_ns: f64 = times.map(|times| times.mean() * times.len() as f64).iter().sum();
    busy_ns / SECOND_NS / outcome.seconds.max(1e-9)
}

fn ended_unix_ms(outcome: &Outcome) -> u64 {
    outcome.started_unix_ms + (outcome.seconds * 1e3) as u64
}

/// A time in the format of C's `ctime`, in UTC.
fn words(unix_ms: u64) -> String {
    let at = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().strftime("%a %b %e %H:%M:%S %Y").to_string()
}

fn direction(outcome: &Outcome, side: &Side, of: Of) -> Value {
    let all = &side.response;
    let block = u64::from(outcome.setup.sectors) * 512;
    let answered = side.answered();
    let bytes = answered * block;
    let per_second = |n: u64| n as f64 / outcome.seconds.max(1e-9);
    let some = !all.is_empty();
    let mut clat = times(all);
    if some {
        let percentile = |p: f64| (format!("{p:.6}"), all.value_at_quantile(p / 100.0));
        clat["percentile"] = object(PERCENTILES.map(percentile));
        clat["bins"] = bins(all);
    }
    let rates = if some { rates(&outcome.intervals, of) } else { Vec::new() };
    // The sum of nothing is −0.
    let (samples, sum) = (rates.len(), rates.iter().sum::<f64>().abs());
    let mean = sum / samples.max(1) as f64;
    // The standard deviation of a sample, as in fio.
    let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
    let deviation = (squares.abs() / samples.saturating_sub(1).max(1) as f64).sqrt();
    let Spread { least, most, .. } = Spread::of(rates).unwrap_or_default();
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
        "lat_ns": times(all),
        "bw_min": (least * kib) as u64,
        "bw_max": (most * kib) as u64,
        "bw_agg": share,
        "bw_mean": mean * kib,
        "bw_dev": deviation * kib,
        "bw_samples": samples,
        "iops_min": least as u64,
        "iops_max": most as u64,
        "iops_mean": mean,
        "iops_stddev": deviation,
        "iops_samples": samples,
    })
}

/// How long requests waited before they were sent, if known; it is not if some were never
/// sent.
fn wait(side: &Side) -> Value {
    let mut wait = times(&Latencies::default());
    if let Some(service) = side.service.as_ref().filter(|service| service.len() == side.response.len()) {
        wait["mean"] = (side.response.mean() - service.mean()).max(0.0).into();
        wait["N"] = service.len().into();
    }
    wait
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

/// Upper bounds of the latency classes, in their unit.
const ENDS: [u64; 10] = [2, 4, 10, 20, 50, 100, 250, 500, 750, 1000];

/// Percentages: below a microsecond, below a millisecond, and above.
fn shares(all: &Histogram<u64>) -> [Value; 3] {
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
    let names = ENDS.iter().map(u64::to_string).chain(["2000", ">=2000"].map(str::to_owned));
    let percent = |n: u64| 100.0 * n as f64 / all.len().max(1) as f64;
    [0, 1, 2].map(|unit| {
        let classes = if unit == 2 { ENDS.len() + 2 } else { ENDS.len() };
        let shares = names.clone().zip(counts[unit]).take(classes);
        object(shares.map(|(name, n)| (name, percent(n))))
    })
}

/// Puts all requests into the class of this depth; classes begin at powers of two.
fn depths(names: &[&str], depth: f64) -> Value {
    let class = (depth.round().max(1.0) as u64).ilog2() as usize;
    let class = class.min(names.len() - 1);
    let share = |at: usize| if at == class { 100.0 } else { 0.0 };
    object(names.iter().enumerate().map(|(at, name)| (name, share(at))))
}

/// Counts in fio's own bins, which are named by their middle.
fn bins(all: &Histogram<u64>) -> Value {
    let mut bins: BTreeMap<u64, u64> = BTreeMap::new();
    for bucket in all.iter_recorded() {
        *bins.entry(middle(bucket.value_iterated_to())).or_default() += bucket.count_at_value();
    }
    object(bins)
}

/// The middle of fio's bin for a latency: there are 64 bins for each power of two.
fn middle(ns: u64) -> u64 {
    let shift = ns.max(1).ilog2().saturating_sub(6);
    if shift == 0 { ns } else { (ns >> shift << shift) + (1 << (shift - 1)) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;

    #[test]
    fn figures_are_those_of_the_outcome() {
        let outcome = fixture::mixed();
        let all = file(std::slice::from_ref(&outcome));
        assert_eq!(all["time"], "Tue Nov 24 18:35:11 2026");
        let job = &all["jobs"][0];
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
        let waited = reads.mean() - outcome.reads.service.as_ref().unwrap().mean();
        assert!((number("/read/slat_ns/mean") - waited).abs() < 1.0);
        // 200 requests of some 150 µs in a second are never two in flight.
        assert_eq!(number("/iodepth_level/1"), 100.0);
        for share in ["latency_ns", "latency_us", "latency_ms"] {
            assert!(job[share].as_object().unwrap().len() >= 10);
        }
    }

    #[test]
    fn requests_that_were_never_answered_are_times_and_no_throughput() {
        let outcome = fixture::reads("vblade", 3);
        let all = file(std::slice::from_ref(&outcome));
        let read = &all["jobs"][0]["read"];
        assert_eq!((&read["total_ios"], &read["drop_ios"]), (&313.into(), &2.into()));
        assert_eq!((&read["iops"], &read["iops_max"]), (&313.0.into(), &356.into()));
        assert_eq!(read["clat_ns"]["N"], 315);
        assert_eq!(all["jobs"][0]["error"], 5);
        let text = crate::report::text(&outcome);
        let rate =
            text.lines().find(|line| line.starts_with("all")).and_then(|line| line.split_whitespace().nth(1));
        assert_eq!(rate, Some("313"), "{text}");
    }

    #[test]
    fn shares_add_up_and_bins_hold_every_request() {
        let outcome = fixture::reads("echo", 1);
        let all = file(std::slice::from_ref(&outcome));
        let job = &all["jobs"][0];
        let sum = |at: &Value| at.as_object().unwrap().values().map(|v| v.as_f64().unwrap()).sum::<f64>();
        let shares: f64 = ["latency_ns", "latency_us", "latency_ms"].iter().map(|key| sum(&job[*key])).sum();
        assert!((shares - 100.0).abs() < 1e-6, "{shares}");
        assert_eq!(sum(&job["read"]["clat_ns"]["bins"]), outcome.completions() as f64);
        assert_eq!(job["read"]["iops_samples"], 4);
    }
}

#[cfg(test)]
mod bins_tests {
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
