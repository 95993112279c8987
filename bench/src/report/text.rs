//! An outcome as plain text, and a report as Markdown.

use hdrhistogram::Histogram;

use crate::outcome::Outcome;

use super::Document;
use super::document::{Figures, rates};
use super::table::one_line;

/// The length of the longest bar.
const WIDTH: u64 = 50;

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
    let both = outcome.both();
    let all = both.response.len();
    let sides = outcome.sides().into_iter().filter(|(_, side)| (1..all).contains(&side.response.len()));
    let rows = std::iter::once(("all", &both)).chain(sides);
    out += &rates(rows.map(|(name, side)| Figures::of(name.to_owned(), outcome, side))).text();
    out += &format!("\nlatency of {all} requests\n{}", bars(&both.response));
    out + &trouble(outcome)
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
        out += &format!("target: {:.0} ns of CPU a request ({user:.0} of them user time)\n", user + system);
    }
    if let Some(v) = &outcome.verify {
        out += &format!("verify: {} sectors checked, {} not known, {}\n", v.checked, v.unchecked, v.found());
        out.extend(v.examples.iter().map(|example| format!("  {example}\n")));
    }
    out.extend(outcome.warnings.iter().map(|warning| format!("warning: {warning}\n")));
    out
}

/// One bar for each doubling of the latency (in nanoseconds), between minimum and
/// maximum.
fn bars(latency_ns: &Histogram<u64>) -> String {
    let mut counts = Vec::new();
    // In the order of their values.
    for bucket in latency_ns.iter_recorded() {
        let bar = bar_of(bucket.value_iterated_to());
        counts.resize(bar + 1, 0);
        counts[bar] += bucket.count_at_value();
    }
    let most = counts.iter().copied().max().unwrap_or(1);
    let shown = counts.into_iter().enumerate().skip_while(|(_, n)| *n == 0);
    let line = |(bar, n): (usize, u64)| {
        // At least one mark for every count above zero: the tail matters most.
        let length = if n == 0 { 0 } else { (n * WIDTH / most).max(1) };
        let line = "#".repeat(length as usize);
        format!("  < {:>7} us  {line:<50} {n}\n", 1u64 << bar)
    };
    shown.map(line).collect()
}

/// The upper bound of a latency's bar: a power of two of microseconds.
fn bar_of(ns: u64) -> usize {
    (ns / 1000).checked_ilog2().map_or(0, |power| power as usize + 1)
}

/// The whole report without plots.
pub fn markdown(document: &Document) -> String {
    let mut out = format!("# {}\n", one_line(&document.title));
    if !document.verdict.is_empty() {
        out += &format!("\n**{}**\n", one_line(&document.verdict));
    }
    out += &list("**Suspect:**", &document.warnings);
    for section in &document.sections {
        if !section.title.is_empty() {
            out += &format!("\n## {}\n", one_line(&section.title));
        }
        out += &format!("\n{}", section.shown().markdown());
        out += &list("**Suspect:**", section.warnings());
    }
    out + &list("## Conditions", &document.conditions)
}

fn list(title: &str, items: impl IntoIterator<Item: ToString>) -> String {
    let items = items.into_iter().map(|item| format!("* {}\n", one_line(&item.to_string())));
    let items: String = items.collect();
    if items.is_empty() { items } else { format!("\n{title}\n\n{items}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_bar() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for ns in [900, 3_000, 3_500, 100_000_000] {
            histogram.record(ns).unwrap();
        }
        let text = bars(&histogram);
        let counts: u64 = text.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        assert_eq!(counts, 4, "{text}");
        assert!(text.lines().count() >= 17, "empty bars between are shown:\n{text}");
    }
}
