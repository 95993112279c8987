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

mod bins;
mod direction;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::outcome::Outcome;

use super::names;

/// Nanoseconds in a second.
const SECOND_NS: f64 = 1e9;

/// The file without our own part: one job per outcome.
pub fn file(outcomes: &[Outcome]) -> Value {
    let ended_ms = outcomes.iter().map(ended_unix_ms).max().unwrap_or(0);
    let version = outcomes.first().map_or(env!("CARGO_PKG_VERSION"), |outcome| &outcome.version);
    let names = names::labels(outcomes);
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
    let [read, write] = direction::both(outcome);
    let elapsed_ms = (outcome.seconds * 1e3).round() as u64;
    let cpu = |ns: fn(&crate::outcome::Cost) -> u64| {
        let share = outcome.cost.as_ref().map_or(0.0, |cost| ns(cost) as f64 / SECOND_NS);
        100.0 * share / outcome.seconds.max(1e-9)
    };
    let [ns, us, ms] = bins::shares(&outcome.response());
    let depth = depth(outcome);
    json!({
        "jobname": name,
        "groupid": group,
        // EIO, as fio reports failed requests.
        "error": if t.errors + t.refused + t.lost > 0 { 5 } else { 0 },
        "eta": 0,
        "elapsed": outcome.seconds.ceil() as u64,
        "job options": options(outcome, name),
        "read": read,
        "write": write,
        "trim": direction::none(),
        "sync": { "total_ios": 0, "lat_ns": direction::no_times() },
        "job_runtime": elapsed_ms,
        "usr_cpu": cpu(|cost| cost.user_ns),
        "sys_cpu": cpu(|cost| cost.system_ns),
        "ctx": 0,
        "majf": 0,
        "minf": 0,
        "iodepth_level": bins::depths(&["1", "2", "4", "8", "16", "32", ">=64"], depth),
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
    let mut options = Map::new();
    let mut set = |key: &str, value: String| options.insert(key.to_owned(), Value::String(value));
    set("name", name.to_owned());
    set("filename", s.exports.join(":"));
    set("ioengine", format!("aoe-{}", s.port));
    set("rw", format!("{random}{kind}"));
    if both {
        set("rwmixread", format!("{:.0}", 100.0 * reads as f64 / all as f64));
    }
    set("bs", (u32::from(s.sectors) * 512).to_string());
    set("iodepth", s.window.to_string());
    set("numjobs", s.threads.to_string());
    set("runtime", format!("{:.0}", outcome.seconds));
    if let Some(rate) = s.rate {
        set("rate_iops", format!("{rate:.0}"));
    }
    Value::Object(options)
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
