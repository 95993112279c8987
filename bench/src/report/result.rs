//! The result file: JSON in fio's format ([`fio`]) for programs that read it, with the
//! complete outcomes in a separate key for this program.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outcome::{Condition, Outcome, Ratio, Sample};

use super::{Document, Section, Table, fio};

/// The key of the outcomes.
const OURS: &str = "xblade-bench";
/// The key of the rest of the document.
const DOCUMENT: &str = "xblade-bench document";

/// A document without its outcomes.
#[derive(Serialize, Deserialize)]
struct Frame {
    title: String,
    conditions: Vec<Condition>,
    warnings: Vec<String>,
    sections: Vec<SectionFrame>,
}

/// A section without its outcomes.
#[derive(Serialize, Deserialize)]
struct SectionFrame {
    title: String,
    table: Option<Table>,
    warnings: Vec<String>,
    /// The number of its outcomes.
    outcomes: usize,
    #[serde(default)]
    samples: Vec<Sample>,
    #[serde(default)]
    ratios: Vec<Ratio>,
}

/// Outcomes as JSON.
pub fn json(outcomes: &[Outcome]) -> Result<Value> {
    let ours = serde_json::to_value(outcomes).context("cannot write the result as JSON")?;
    let mut all = fio::file(outcomes);
    all[OURS] = ours;
    Ok(all)
}

/// The outcomes of a document as JSON, with the rest of the document.
pub fn of_document(document: &Document) -> Result<Value> {
    let outcomes: Vec<Outcome> =
        document.sections.iter().flat_map(|section| section.outcomes.iter().cloned()).collect();
    let mut all = json(&outcomes)?;
    all[DOCUMENT] = serde_json::to_value(Frame::of(document)).context("cannot write the report as JSON")?;
    Ok(all)
}

/// Reads the outcomes from the output of [`json`] or [`of_document`].
pub fn read(text: &str) -> Result<Vec<Outcome>> {
    outcomes(&mut parse(text)?)
}

/// Reads a whole document; outcomes without a document become one.
pub fn read_document(text: &str) -> Result<Document> {
    let mut all = parse(text)?;
    let outcomes = outcomes(&mut all)?;
    match all.get_mut(DOCUMENT).map(Value::take) {
        Some(frame) => {
            let frame: Frame = serde_json::from_value(frame).context(OTHER_VERSION)?;
            Ok(frame.filled(outcomes))
        }
        None => Ok(Document::of(outcomes)),
    }
}

const OTHER_VERSION: &str = "not a result of this version of the program";

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).context("not JSON")
}

fn outcomes(all: &mut Value) -> Result<Vec<Outcome>> {
    let ours = all.get_mut(OURS).map(Value::take);
    let ours = ours.with_context(|| format!("not a result of this program: it has no \"{OURS}\""))?;
    serde_json::from_value(ours).context(OTHER_VERSION)
}

impl Frame {
    fn of(document: &Document) -> Self {
        let section = |section: &Section| SectionFrame {
            title: section.title.clone(),
            table: section.table.clone(),
            warnings: section.warnings.clone(),
            outcomes: section.outcomes.len(),
            samples: section.samples.clone(),
            ratios: section.ratios.clone(),
        };
        Self {
            title: document.title.clone(),
            conditions: document.conditions.clone(),
            warnings: document.warnings.clone(),
            sections: document.sections.iter().map(section).collect(),
        }
    }

    fn filled(self, outcomes: Vec<Outcome>) -> Document {
        let mut outcomes = outcomes.into_iter();
        let section = |frame: SectionFrame| Section {
            title: frame.title,
            table: frame.table,
            warnings: frame.warnings,
            outcomes: outcomes.by_ref().take(frame.outcomes).collect(),
            samples: frame.samples,
            ratios: frame.ratios,
        };
        Document {
            title: self.title,
            conditions: self.conditions,
            warnings: self.warnings,
            sections: self.sections.into_iter().map(section).collect(),
        }
    }
}
