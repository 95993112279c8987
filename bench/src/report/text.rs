//! An outcome as plain text.

use crate::outcome::{Latencies, Outcome};

use super::{Table, bars};

/// The table, the bars, and the problems.
pub fn text(outcome: &Outcome) -> String {
    let s = &outcome.setup;
    let mut out = format!(
        "export {}: {} {} of {} sectors, {} in flight, {:.1} s through {}\n\n",
        s.exports.join(", "),
        s.pattern,
        s.op,
        s.sectors,
        s.window,
        outcome.seconds,
        s.port
    );
    let all = outcome.response();
    let mut table = Table::new(["", "IOPS", "MB/s", "p50 us", "p90 us", "p99 us", "p99.9 us", "max us"]);
    table.row(row(outcome, "all", &all, outcome.completions()));
    for (name, side) in [("read", &outcome.reads), ("write", &outcome.writes)] {
        if (1..all.len()).contains(&side.response.len()) {
            table.row(row(outcome, name, &side.response, side.answered()));
        }
    }
    out += &table.text();
    out += &format!("\nlatency of {} requests\n{}", all.len(), bars(&all));
    out + &trouble(outcome)
}

fn row(outcome: &Outcome, name: &str, latencies: &Latencies, answered: u64) -> Vec<String> {
    let share = answered as f64 / outcome.completions().max(1) as f64;
    let rates = [format!("{:.0}", outcome.iops() * share), format!("{:.1}", outcome.mb_per_s() * share)];
    let us = [0.5, 0.9, 0.99, 0.999].map(|quantile| latencies.us(quantile));
    let us = us.into_iter().chain([latencies.max_us()]).map(|us| format!("{us:.1}"));
    [name.to_owned()].into_iter().chain(rates).chain(us).collect()
}

fn trouble(outcome: &Outcome) -> String {
    let t = &outcome.trouble;
    let mut out = format!(
        "\nretransmits {}  late {}  duplicates {}  unexpected {}  dropped {}  errors {}  refused {}  lost {}  unsent {}\n",
        t.retransmits, t.late, t.duplicates, t.unexpected, t.dropped, t.errors, t.refused, t.lost, t.unsent
    );
    if let Some(error) = &t.last_error {
        out += &format!("last error: {error}\n");
    }
    if let Some((user, system)) = outcome.cost_per_request() {
        out += &format!("target: {:.0} ns of CPU a request ({user:.0} of them user time)", user + system);
        let busy = outcome.cost.and_then(|cost| cost.core_busy);
        out += &busy.map_or(String::new(), |busy| format!(", core {:.0} % busy", busy * 100.0));
        out += "\n";
    }
    if let Some(v) = &outcome.verify {
        let faults: Vec<String> = v.faults.iter().map(|(name, n)| format!("{n} {name}")).collect();
        let faults = if faults.is_empty() { "no faults".to_owned() } else { faults.join(", ") };
        out += &format!("verify: {} sectors checked, {} not known, {faults}\n", v.checked, v.unchecked);
        out.extend(v.examples.iter().map(|example| format!("  {example}\n")));
    }
    out.extend(outcome.warnings.iter().map(|warning| format!("warning: {warning}\n")));
    out
}
