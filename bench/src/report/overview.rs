//! Tables of outcomes, for every exporter.

use crate::outcome::{Latencies, Outcome};

use super::document::labels;
use super::table::grouped;
use super::{Section, Table};

/// The quantiles in tables.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// The table of a section: its own, or one row per outcome.
pub fn of_section(section: &Section) -> Table {
    section.table.clone().unwrap_or_else(|| compare(&section.outcomes))
}

/// One row per outcome.
fn compare(outcomes: &[Outcome]) -> Table {
    let all: Vec<Latencies> = outcomes.iter().map(Outcome::response).collect();
    let mut table = Table::of("", labels(outcomes));
    let whole = |value: Option<f64>| value.map_or("–".to_owned(), |value| grouped(value, 0));
    if outcomes.iter().any(|outcome| outcome.setup.rate.is_some()) {
        table.column("wanted IOPS", outcomes.iter().map(|outcome| whole(outcome.setup.rate)));
    }
    table.column("IOPS", outcomes.iter().map(|outcome| whole(Some(outcome.iops()))));
    table.numbers("MB/s", outcomes.iter().map(Outcome::mb_per_s));
    for (name, quantile) in &QUANTILES[..4] {
        table.numbers(&format!("{name} µs"), all.iter().map(|all| all.us(*quantile)));
    }
    table.numbers("max µs", all.iter().map(Latencies::max_us));
    if outcomes.iter().any(|outcome| outcome.cost.is_some()) {
        let cost = |outcome: &Outcome| outcome.cost_per_request().map(|(user, system)| user + system);
        table.column("CPU ns/IO", outcomes.iter().map(|outcome| whole(cost(outcome))));
    }
    let count = |of: fn(&Outcome) -> u64| outcomes.iter().map(move |one| grouped(of(one) as f64, 0));
    table.column("resent", count(|one| one.trouble.retransmits));
    table.column("dropped", count(|one| one.trouble.dropped));
    table.column("failed", count(|one| one.trouble.failed()));
    table
}

/// The times of one outcome: those of reads and of writes, and in an open loop also each
/// without the wait before sending.
pub fn times_of(outcome: &Outcome) -> Vec<(String, &Latencies)> {
    let mut all = Vec::new();
    for (name, side) in outcome.sides().into_iter().filter(|(_, side)| !side.response.is_empty()) {
        let open = if side.service.is_some() { ", from intended start" } else { "" };
        all.push((format!("{name}{open}"), &side.response));
        all.extend(side.service.iter().map(|service| (format!("{name}, from sending"), service)));
    }
    all
}

/// These times, a row each.
pub fn times(outcome: &Outcome) -> Table {
    let (names, all): (Vec<String>, Vec<&Latencies>) = times_of(outcome).into_iter().unzip();
    let mut table = Table::of("µs", names);
    table.column("requests", all.iter().map(|times| grouped(times.len() as f64, 0)));
    let us = |of: fn(&Latencies) -> f64| all.iter().map(move |times| of(times) / 1e3);
    table.numbers("mean", us(|times| times.mean()));
    table.numbers("deviation", us(|times| times.stdev()));
    table.numbers("min", us(|times| times.min() as f64));
    for (name, quantile) in QUANTILES {
        table.numbers(name, all.iter().map(|times| times.us(quantile)));
    }
    table.numbers("max", us(|times| times.max() as f64));
    table
}
