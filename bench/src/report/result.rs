//! The result file: JSON in fio's format ([`fio`]) for programs that read it, with the
//! complete outcomes in a separate key for this program.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::outcome::Outcome;

use super::{Document, fio};

/// The key of the outcomes.
const OURS: &str = "xblade-bench";
/// The key of the rest of the document.
const DOCUMENT: &str = "xblade-bench document";
/// In a section of that, the key of the number of its outcomes.
const COUNT: &str = "outcomes";

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
    let mut rest = serde_json::to_value(document).context("cannot write the report as JSON")?;
    for (at, section) in document.sections.iter().enumerate() {
        rest["sections"][at][COUNT] = section.outcomes.len().into();
    }
    all[DOCUMENT] = rest;
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
    let Some(rest) = all.get_mut(DOCUMENT).map(Value::take) else { return Ok(Document::of(outcomes)) };
    let counts: Vec<Option<u64>> = match rest["sections"].as_array() {
        Some(sections) => sections.iter().map(|section| section[COUNT].as_u64()).collect(),
        None => Vec::new(),
    };
    let mut document: Document = serde_json::from_value(rest).context(OTHER_VERSION)?;
    let mut outcomes = outcomes.into_iter();
    for (section, count) in document.sections.iter_mut().zip(counts) {
        let count = count.context(OTHER_VERSION)?;
        section.outcomes = outcomes.by_ref().take(count as usize).collect();
    }
    Ok(document)
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
