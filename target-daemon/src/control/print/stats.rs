//! `xblade stats`.

use std::fmt::Write as _;

use super::table::Table;
use super::{duration, micros, size};
use crate::control::snapshot::{ByOperation, Counters, Ended, Export, Snapshot, Times, times};
use crate::observe::{Distribution, Latency, Operation};

/// All counters, without zeros.
pub fn stats(stats: &Snapshot) -> String {
    let mut text = format!("counted for {}\n", duration(stats.uptime_seconds));
    for one in &stats.interfaces {
        text += "\n";
        section(&mut text, &format!("interface {} (XDP program)", one.name), &[&one.counters]);
    }
    for one in &stats.lanes {
        text += "\n";
        section(&mut text, &one.name, &[&one.counters]);
    }
    for one in &stats.workers {
        text += "\n";
        section(&mut text, &format!("worker {}", one.worker), &[&one.counters, &one.drops]);
    }
    let _ = write!(text, "\n{}", exports(&stats.exports));
    let mut rows =
        Table::new(["EXPORT", "TIME", "OPERATION", ">COUNT", ">P50", ">P90", ">P99", ">P99.9", ">MAX"]);
    for one in &stats.exports {
        times_of(&mut rows, &one.address, "response", &one.response);
        times_of(&mut rows, &one.address, "service", &one.service);
        times_of(&mut rows, &one.address, "store", &one.store);
    }
    if !rows.is_empty() {
        let _ = write!(text, "\ntimes in microseconds\n{rows}");
    }
    text
}

/// The report for the log: all counters, without zeros, and the service times of all
/// exports together. `past` are those of removed exports.
pub fn report(snapshot: &Snapshot, past: Option<&Latency>) -> String {
    let mut text = String::new();
    for one in &snapshot.interfaces {
        section(&mut text, &format!("interface {} (XDP program)", one.name), &[&one.counters]);
    }
    for worker in &snapshot.workers {
        for lane in snapshot.lanes.iter().filter(|lane| lane.worker == worker.worker) {
            section(&mut text, &lane.name, &[&lane.counters]);
        }
        section(&mut text, &format!("worker {}", worker.worker), &[&worker.counters, &worker.drops]);
    }
    text += "service time, us         count       p50       p90       p99     p99.9       max\n";
    let past = past.map(times).unwrap_or_default();
    let services = || snapshot.exports.iter().map(|export| &export.service).chain([&past]);
    for operation in Operation::ALL {
        let name = operation.name();
        let all = services().filter_map(|service| service.get(name)).map(|times| &times.all);
        let times = Times::from(all.fold(Distribution::default(), |sum, one| sum.and(one)));
        if times.count > 0 {
            let Times { count, p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns, .. } = times;
            let _ = write!(text, "  {name:<15} {count:>12}");
            for ns in [p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns] {
                let _ = write!(text, " {:>9}", micros(ns));
            }
            text += "\n";
        }
    }
    text
}

fn section(text: &mut String, heading: &str, counters: &[&Counters]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{heading}");
    let mut quiet = true;
    for count in counters.iter().flat_map(|all| &all.0).filter(|count| count.value > 0) {
        let _ = writeln!(text, "  {:<28} {:>14}", count.name, count.value);
        quiet = false;
    }
    if quiet {
        text.push_str("  nothing yet\n");
    }
}

fn exports(exports: &[Export]) -> String {
    let mut table = Table::new([
        "EXPORT",
        ">OK",
        ">ERRORS",
        ">UNANSWERED",
        ">READ",
        ">WRITTEN",
        ">WAITED",
        ">FOLDED",
        ">REPEATED",
    ]);
    for one in exports {
        let sum = |of: fn(&Ended) -> u64| one.requests.values().map(of).sum::<u64>().to_string();
        table.row([
            one.address.clone(),
            sum(|ended| ended.ok),
            sum(|ended| ended.error),
            sum(|ended| ended.unanswered),
            size(one.counters.bytes_read),
            size(one.counters.bytes_written),
            one.counters.waited.to_string(),
            one.counters.folded.to_string(),
            one.counters.repeated.to_string(),
        ]);
    }
    table.to_string()
}

/// Sorted by operation, not by name.
fn times_of(table: &mut Table<9>, address: &str, time: &str, all: &ByOperation<Times>) {
    for operation in Operation::ALL {
        let Some(times) = all.get(operation.name()) else { continue };
        table.row([
            address.to_owned(),
            time.to_owned(),
            operation.name().to_owned(),
            times.count.to_string(),
            micros(times.p50_ns),
            micros(times.p90_ns),
            micros(times.p99_ns),
            micros(times.p99_9_ns),
            micros(times.max_ns),
        ]);
    }
}
