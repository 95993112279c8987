//! The details of each outcome.

use super::super::facts::facts;
use super::super::xml::escape;
use super::super::{Document, Section, names, overview};
use super::{list, table};

/// A foldable block per outcome.
pub fn of_section(section: &Section, document: &Document, open: bool) -> String {
    if section.outcomes.is_empty() {
        return String::new();
    }
    let state = if open { " open=\"open\"" } else { "" };
    let mut out = "<div class=\"details\">\n".to_owned();
    for (name, outcome) in names::labels(&section.outcomes).iter().zip(&section.outcomes) {
        let facts = facts(outcome, &document.conditions);
        out += &format!(
            "<details{state}>\n<summary>{}</summary>\n{}{}</details>\n",
            escape(name),
            table(&overview::times(outcome)),
            list(facts.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        );
    }
    out + "</div>\n"
}
