//! The input of all exporters: a [`Document`], or a part of one.

use serde::{Deserialize, Serialize};

use crate::outcome::{Condition, Latencies, Outcome, Ratio, Sample, Side};

use super::Table;

/// A report.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// The conditions of the measurements.
    pub conditions: Vec<Condition>,
    /// Warnings about all of it.
    pub warnings: Vec<String>,
    /// The measurements.
    pub sections: Vec<Section>,
}

impl Document {
    /// A report with one section of these outcomes, which were measured on one machine.
    pub fn of(outcomes: Vec<Outcome>) -> Self {
        let Some(first) = outcomes.first() else { return Self::default() };
        let s = &first.setup;
        let bytes = u32::from(s.sectors) * 512;
        Self {
            title: format!("{} {} of {bytes} bytes, {} in flight", s.pattern, s.op, s.window),
            conditions: first.conditions.clone(),
            sections: vec![Section { outcomes, ..Section::default() }],
            ..Self::default()
        }
    }

    /// The outcomes of all sections.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.sections.iter().flat_map(|section| &section.outcomes)
    }
}

/// Outcomes to be shown side by side: runs of one load, or targets in one case.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Section {
    /// Its title.
    pub title: String,
    /// A table, if there is more to show than the outcomes contain.
    pub table: Option<Table>,
    /// The outcomes, each shown as a curve.
    pub outcomes: Vec<Outcome>,
    /// For merged outcomes, every measurement.
    pub samples: Vec<Sample>,
    /// The ratios between the outcomes.
    pub ratios: Vec<Ratio>,
}

impl Section {
    /// Its table, or one with a row per outcome.
    pub fn shown(&self) -> Table {
        self.table.clone().unwrap_or_else(|| {
            let row = |outcome| Row {
                name: label(outcome),
                outcome,
                times: outcome.response(),
                answered: outcome.completions(),
            };
            let mut table = rates(self.outcomes.iter().map(row));
            table.column("failed", self.outcomes.iter().map(|outcome| outcome.trouble.failed().to_string()));
            table
        })
    }

    /// The warnings about its outcomes.
    pub fn warnings(&self) -> Vec<String> {
        let of = |outcome| {
            let name = label(outcome);
            outcome.warnings.iter().map(move |warning| format!("{name}: {warning}"))
        };
        self.outcomes.iter().flat_map(of).collect()
    }
}

/// All or some of the requests of an outcome.
pub struct Row<'a> {
    /// What they are.
    pub name: String,
    /// The outcome.
    pub outcome: &'a Outcome,
    /// Their response times.
    pub times: Latencies,
    /// The number of them that were answered.
    pub answered: u64,
}

/// Rates and response times.
pub fn rates<'a>(rows: impl Iterator<Item = Row<'a>>) -> Table {
    let quantiles = [("p50 us", 0.5), ("p90 us", 0.9), ("p99 us", 0.99), ("p99.9 us", 0.999)];
    let heads = quantiles.map(|(head, _)| head);
    let mut table = Table::new(["", "IOPS", "MB/s"].into_iter().chain(heads).chain(["max us"]));
    for Row { name, outcome, times, answered } in rows {
        let share = answered as f64 / outcome.completions().max(1) as f64;
        let rates = [format!("{:.0}", outcome.iops() * share), format!("{:.1}", outcome.mb_per_s() * share)];
        let us = quantiles.map(|(_, quantile)| times.us(quantile)).into_iter().chain([times.max_us()]);
        table.row([name].into_iter().chain(rates).chain(us.map(|us| format!("{us:.1}"))));
    }
    table
}

/// The name of an outcome in reports.
pub fn label(outcome: &Outcome) -> String {
    match (outcome.name.as_str(), &outcome.setup.exports) {
        ("", exports) => format!("export {}", exports.join(", ")),
        (name, _) => name.to_owned(),
    }
}

/// The response times of an outcome by operation, and in an open loop also without the
/// wait before sending; only those that there are.
pub fn times_of<'a>(outcome: &'a Outcome) -> impl Iterator<Item = (String, &'a Latencies)> {
    let of = |(name, side): (&'static str, &'a Side)| {
        let sent = side.service.as_ref().map(|times| (format!("{name}-sent"), times));
        std::iter::once((name.to_owned(), &side.response)).chain(sent)
    };
    outcome.sides().into_iter().flat_map(of).filter(|(_, times)| !times.is_empty())
}
