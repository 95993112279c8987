//! What reports are made from, whatever was measured: every exporter takes a
//! [`Document`], or one of its parts.

use crate::outcome::{Condition, Outcome};

use super::Table;

/// A report.
#[derive(Debug, Default)]
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

/// Outcomes that are to be seen side by side: runs of one load, or targets under
/// one case.
#[derive(Debug, Default)]
pub struct Section {
    /// The case.
    pub title: String,
    /// The figures, if there is more to say than the outcomes do by themselves.
    pub table: Option<Table>,
    /// What is suspect about them.
    pub warnings: Vec<String>,
    /// One curve each.
    pub outcomes: Vec<Outcome>,
}
