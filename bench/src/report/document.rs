//! The input of all exporters: a [`Document`], or a part of one.

use serde::{Deserialize, Serialize};

use crate::outcome::{Condition, Latencies, Outcome, Ratio, Row, Sample, Side};

use super::Table;

/// A report.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// What it shows, in a sentence; may be empty.
    #[serde(default)]
    pub verdict: String,
    /// The conditions of the measurements.
    pub conditions: Vec<Condition>,
    /// Warnings about all of it.
    pub warnings: Vec<String>,
    /// The measurements.
    pub sections: Vec<Section>,
}

impl Document {
    /// A report of one outcome.
    pub fn of(outcome: Outcome) -> Self {
        let s = &outcome.setup;
        let bytes = u32::from(s.sectors) * 512;
        Self {
            title: format!("{} {} of {bytes} bytes, {} in flight", s.pattern, s.op, s.window),
            conditions: outcome.conditions.clone(),
            sections: vec![Section { outcomes: vec![outcome], ..Section::default() }],
            ..Self::default()
        }
    }

    /// The outcomes of all sections.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.sections.iter().flat_map(|section| &section.outcomes)
    }
}

/// Outcomes to be shown side by side: that of a load, or the targets in one case.
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
    /// The figures of the table.
    pub rows: Vec<Row>,
}

impl Section {
    /// Its table, or one with a row per outcome.
    pub fn shown(&self) -> Table {
        self.table.clone().unwrap_or_else(|| {
            let row = |outcome| Figures::of(label(outcome), outcome, &outcome.both());
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

/// The figures of all or some of the requests of an outcome.
#[derive(Serialize)]
pub struct Figures {
    /// What they are.
    pub name: String,
    /// Answered requests per second.
    iops: f64,
    /// Data per second, in 10⁶ bytes.
    mb_per_s: f64,
    /// Percentiles of the response times, in microseconds.
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    /// The longest one.
    max_us: f64,
}

impl Figures {
    /// Those of a side of an outcome.
    pub fn of(name: String, outcome: &Outcome, side: &Side) -> Self {
        let (iops, times) = (side.answered() as f64 / outcome.seconds.max(1e-9), &side.response);
        Self {
            name,
            iops,
            mb_per_s: outcome.mb_per_s(iops),
            p50_us: times.us(0.5),
            p90_us: times.us(0.9),
            p99_us: times.us(0.99),
            p99_9_us: times.us(0.999),
            max_us: times.max_us(),
        }
    }
}

/// Rates and response times.
pub fn rates(rows: impl Iterator<Item = Figures>) -> Table {
    let mut table = Table::new(["", "IOPS", "MB/s", "p50 us", "p90 us", "p99 us", "p99.9 us", "max us"]);
    for f in rows {
        let others = [f.mb_per_s, f.p50_us, f.p90_us, f.p99_us, f.p99_9_us, f.max_us];
        let others = others.map(|value| format!("{value:.1}"));
        table.row([f.name, format!("{:.0}", f.iops)].into_iter().chain(others));
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
