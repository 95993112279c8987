//! `xblade stats`.

use std::fmt::Write as _;

use super::table::{Column, Table};
use super::{duration, micros, size};
use crate::control::json::{Counters, ExportStats, Stats, TimesByOperation};
use crate::observe::Operation;

/// What was counted. Zeros are left out.
pub fn stats(stats: &Stats) -> String {
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
    let mut rows = Table::new(columns());
    for one in &stats.exports {
        times(&mut rows, &one.address, "response", &one.response);
        times(&mut rows, &one.address, "service", &one.service);
        times(&mut rows, &one.address, "store", &one.store);
    }
    if !rows.is_empty() {
        let _ = write!(text, "\ntimes in microseconds\n{rows}");
    }
    text
}

fn section(text: &mut String, heading: &str, counters: &[&Counters]) {
    let _ = writeln!(text, "\n{heading}");
    let rows: Vec<_> = counters.iter().flat_map(|all| all.iter()).filter(|(_, value)| **value > 0).collect();
    for (name, value) in &rows {
        let _ = writeln!(text, "  {name:<28} {value:>14}");
    }
    if rows.is_empty() {
        let _ = writeln!(text, "  nothing yet");
    }
}

fn exports(exports: &[ExportStats]) -> String {
    let mut table = Table::new([
        Column::left("EXPORT"),
        Column::right("OK"),
        Column::right("ERRORS"),
        Column::right("UNANSWERED"),
        Column::right("READ"),
        Column::right("WRITTEN"),
        Column::right("WAITED"),
        Column::right("FOLDED"),
        Column::right("REPEATED"),
    ]);
    for one in exports {
        let sum = |outcome: &str| {
            one.requests.values().filter_map(|ended| ended.get(outcome)).sum::<u64>().to_string()
        };
        table.row([
            one.address.clone(),
            sum("ok"),
            sum("error"),
            sum("unanswered"),
            size(one.bytes_read),
            size(one.bytes_written),
            one.waited.to_string(),
            one.folded.to_string(),
            one.repeated.to_string(),
        ]);
    }
    table.to_string()
}

fn columns() -> [Column; 9] {
    [
        Column::left("EXPORT"),
        Column::left("TIME"),
        Column::left("OPERATION"),
        Column::right("COUNT"),
        Column::right("P50"),
        Column::right("P90"),
        Column::right("P99"),
        Column::right("P99.9"),
        Column::right("MAX"),
    ]
}

/// In the order of the operations, not of their names.
fn times(table: &mut Table<9>, address: &str, time: &str, all: &TimesByOperation) {
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
