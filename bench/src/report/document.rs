//! What reports are made from, whatever was measured: every exporter takes a
//! [`Document`], or one of its parts.

use crate::outcome::{Condition, Outcome, Ratio, Sample};

use super::Table;

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
            let bytes = u32::from(s.sectors) * 512;
            let size = if bytes % 1024 == 0 { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") };
            format!("{} {} of {size}, {} in flight", s.pattern, s.op, s.window)
        });
        let section = Section { title: title.clone(), outcomes, ..Section::default() };
        Self { title: format!("AoE: {title}"), sections: vec![section], ..Self::default() }
    }

    /// The title of a section, with its number if there are several: names of files
    /// have that, too.
    pub fn title_of(&self, section: usize) -> String {
        let title = self.sections.get(section).map_or("", |section| &section.title);
        if self.sections.len() > 1 { format!("{}. {title}", section + 1) } else { title.to_owned() }
    }
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
