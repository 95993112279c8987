//! The input of all exporters: a [`Document`], or a part of one; the names of
//! outcomes, in reports and in file names.

use serde::{Deserialize, Serialize};

use crate::outcome::{Condition, Outcome, Ratio, Sample};

use super::Table;
use super::table::bytes;

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
            format!(
                "{} {} of {}, {} in flight",
                capital(&s.pattern),
                s.op,
                bytes(u64::from(s.sectors) * 512),
                s.window
            )
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
        labels(&self.outcomes).into_iter().zip(&self.outcomes)
    }

    /// The warnings about it and about its outcomes, with their names.
    pub fn all_warnings(&self) -> Vec<String> {
        let each = |(name, outcome): (String, &Outcome)| -> Vec<String> {
            outcome.warnings.iter().map(|warning| format!("{name}: {warning}")).collect()
        };
        self.warnings.iter().cloned().chain(self.named().flat_map(each)).collect()
    }
}

/// Maximum length of a slug.
const SLUG_MAX: usize = 40;

/// A label for each; duplicates get a number.
pub fn labels(outcomes: &[Outcome]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for outcome in outcomes {
        let plain = label(outcome);
        let mut one = plain.clone();
        let mut number = 2;
        while labels.contains(&one) {
            one = format!("{plain} ({number})");
            number += 1;
        }
        labels.push(one);
    }
    labels
}

fn label(outcome: &Outcome) -> String {
    match (outcome.name.as_str(), outcome.setup.exports.as_slice()) {
        ("", []) => "load".to_owned(),
        ("", exports) => format!("export {}", exports.join(", ")),
        (name, _) => name.to_owned(),
    }
}

/// Reduces text to letters, digits and dashes.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c {
            _ if slug.len() >= SLUG_MAX => break,
            'a'..='z' | '0'..='9' => slug.push(c),
            'A'..='Z' => slug.push(c.to_ascii_lowercase()),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod names_tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_harmless() {
        let named = |name: &str| Outcome { name: name.to_owned(), ..Outcome::default() };
        let all = [named("a"), named("a"), named("a (2)"), named("")];
        assert_eq!(labels(&all), ["a", "a (2)", "a (2) (2)", "load"]);
        assert_eq!(slug("vblade -b 64 ../../etc/passwd"), "vblade-b-64-etc-passwd");
        assert_eq!(slug("70 % read, µs"), "70-read-s");
        assert!(slug(&"x ".repeat(100)).len() <= SLUG_MAX);
    }
}
