//! What reports are made from, whatever was measured: every exporter takes a
//! [`Document`], or one of its parts.

use crate::outcome::{Condition, Outcome, Ratio, Sample};

use super::{Table, number};

/// A report.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Document {
    /// What it is about.
    pub title: String,
    /// Under which conditions.
    pub conditions: Vec<Condition>,
    /// What is suspect about all of it.
    pub warnings: Vec<String>,
    /// What was measured.
    pub sections: Vec<Section>,
}

impl Document {
    /// Outcomes that belong together, and nothing else to say.
    pub fn of(outcomes: Vec<Outcome>) -> Self {
        let title = outcomes.first().map_or_else(String::new, |outcome| {
            let s = &outcome.setup;
            let bytes = u64::from(s.sectors) * 512;
            format!("{} {} of {}, {} in flight", capital(&s.pattern), s.op, number::bytes(bytes), s.window)
        });
        let section = Section { outcomes, ..Section::default() };
        Self { title, sections: vec![section], ..Self::default() }
    }

    /// The title of a section, with its number if there are several: names of files
    /// have that, too.
    pub fn title_of(&self, section: usize) -> String {
        let title = self.sections.get(section).map_or("", |section| &section.title);
        if self.sections.len() > 1 { format!("{}. {title}", section + 1) } else { title.to_owned() }
    }
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// Outcomes that are to be seen side by side: runs of one load, or targets under
/// one case.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Section {
    /// The case.
    pub title: String,
    /// The figures, if there is more to say than the outcomes do by themselves.
    pub table: Option<Table>,
    /// What is suspect about them.
    pub warnings: Vec<String>,
    /// One curve each.
    pub outcomes: Vec<Outcome>,
    /// What they were put together from, if they were: every measurement.
    pub samples: Vec<Sample>,
    /// How the outcomes compare.
    pub ratios: Vec<Ratio>,
}
