//! `xblade stats`, and the report in the log.

use std::fmt::Write as _;

use super::table::Table;
use super::{duration, micros, size};
use crate::control::snapshot::{Counters, Export, Snapshot};
use crate::observe::{ExportCounters, Operation, Outcome};

/// All counters, without zeros.
pub fn stats(stats: &Snapshot) -> String {
    let mut text = format!("counted for {}\n", duration(stats.uptime_seconds));
    for one in &stats.interfaces {
        section(&mut text, &format!("interface {} (XDP program)", one.name), &[&one.counters]);
    }
    for one in &stats.lanes {
        section(&mut text, &one.name, &[&one.counters]);
    }
    for one in &stats.workers {
        section(&mut text, &format!("worker {}", one.worker), &[&one.counters, &one.drops]);
    }
    let _ = write!(text, "\n{}", exports(&stats.exports));
    let mut rows =
        Table::new(["EXPORT", "TIME", "OPERATION", ">COUNT", ">P50", ">P90", ">P99", ">P99.9", ">MAX"]);
    for one in &stats.exports {
        for (name, all) in [("response", &one.response), ("service", &one.service), ("store", &one.store)] {
            // In the order of the operations, not of their names.
            for operation in Operation::ALL.map(Operation::name) {
                let Some(times) = all.get(operation) else { continue };
                let [p50, p90, p99, p999, max] =
                    [times.p50_ns, times.p90_ns, times.p99_ns, times.p99_9_ns, times.max_ns].map(micros);
                rows.row([&one.address, &name, &operation, &times.count, &p50, &p90, &p99, &p999, &max]);
            }
        }
    }
    if !rows.is_empty() {
        let _ = write!(text, "\ntimes in microseconds\n{rows}");
    }
    text
}

fn section(text: &mut String, heading: &str, counters: &[&Counters]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n{heading}");
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
        ">LIMITED",
    ]);
    for one in exports {
        let sum = |outcome: Outcome| {
            one.requests.values().filter_map(|ended| ended.get(outcome.name())).sum::<u64>()
        };
        let [ok, error, unanswered] = Outcome::ALL.map(sum);
        let (read, written) = (size(one.counters.bytes_read), size(one.counters.bytes_written));
        let ExportCounters { waited, folded, repeated, limited, .. } = one.counters;
        table.row([
            &one.address,
            &ok,
            &error,
            &unanswered,
            &read,
            &written,
            &waited,
            &folded,
            &repeated,
            &limited,
        ]);
    }
    table.to_string()
}
