//! The input of all exporters: a [`Document`], or a part of one.

use serde::{Deserialize, Serialize};

use crate::outcome::{Condition, Outcome, Ratio, Sample};

use super::{Table, names, number};

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
    /// A report with one section of these outcomes.
    pub fn of(outcomes: Vec<Outcome>) -> Self {
        let title = outcomes.first().map_or_else(String::new, |outcome| {
            let s = &outcome.setup;
            let bytes = u64::from(s.sectors) * 512;
            format!("{} {} of {}, {} in flight", capital(&s.pattern), s.op, number::bytes(bytes), s.window)
        });
        let section = Section { outcomes, ..Section::default() };
        Self { title, sections: vec![section], ..Self::default() }
    }

    /// The title of a section, numbered if there are several; file names use the same
    /// number.
    pub fn title_of(&self, section: usize) -> String {
        let title = self.sections.get(section).map_or("", |section| &section.title);
        if self.sections.len() > 1 { format!("{}. {title}", section + 1) } else { title.to_owned() }
    }
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// Outcomes to be shown side by side: runs of one load, or targets in one case.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug, Default)]
pub struct Section {
    /// Its title.
    pub title: String,
    /// A table, if there is more to show than the outcomes contain.
    pub table: Option<Table>,
    /// Warnings about them.
    pub warnings: Vec<String>,
    /// The outcomes, each shown as a curve. In a result file they have a place of their own.
    #[serde(skip)]
    pub outcomes: Vec<Outcome>,
    /// For merged outcomes, every measurement.
    #[serde(default)]
    pub samples: Vec<Sample>,
    /// The ratios between the outcomes.
    #[serde(default)]
    pub ratios: Vec<Ratio>,
}

impl Section {
    /// The outcomes with their names.
    pub fn named(&self) -> impl Iterator<Item = (String, &Outcome)> {
        names::labels(&self.outcomes).into_iter().zip(&self.outcomes)
    }

    /// The warnings about it and about its outcomes, with their names.
    pub fn all_warnings(&self) -> Vec<String> {
        let each = |(name, outcome): (String, &Outcome)| -> Vec<String> {
            outcome.warnings.iter().map(|warning| format!("{name}: {warning}")).collect()
        };
        self.warnings.iter().cloned().chain(self.named().flat_map(each)).collect()
    }
}
