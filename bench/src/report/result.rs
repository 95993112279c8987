//! The result file: JSON with jobs in fio's format ([`fio`]) for programs that read it, and
//! everything else in a key of its own for this program.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::ReportArgs;
use crate::outcome::Outcome;

use super::{Document, fio, text, write_all};

/// The key of the outcomes of a load.
const OUTCOMES: &str = "xblade-bench";
/// The key of the document of a comparison.
const DOCUMENT: &str = "xblade-bench document";

/// Outcomes as JSON.
pub fn of_outcomes(outcomes: &[Outcome]) -> Value {
    file(outcomes.iter(), OUTCOMES, &outcomes)
}

/// A document as JSON. That of a load is its outcomes.
pub fn of_document(document: &Document) -> Value {
    match document.sections.as_slice() {
        [load] if load.samples.is_empty() => of_outcomes(&load.outcomes),
        _ => file(document.outcomes(), DOCUMENT, document),
    }
}

fn file<'a>(outcomes: impl Iterator<Item = &'a Outcome>, key: &str, ours: &impl Serialize) -> Value {
    json!({
        "fio version": concat!("xblade-bench-", env!("CARGO_PKG_VERSION")),
        "jobs": outcomes.map(fio::job).collect::<Vec<_>>(),
        key: ours,
    })
}

/// Reads the output of [`of_outcomes`] or [`of_document`].
pub fn read(path: &Path) -> Result<Document> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("cannot read {}", path.display()))
}

fn parse(text: &str) -> Result<Document> {
    let mut all: Value = serde_json::from_str(text).context("not JSON")?;
    let mut take = |key: &str| all.get_mut(key).map(Value::take);
    let document = match (take(DOCUMENT), take(OUTCOMES)) {
        (Some(document), _) => serde_json::from_value(document),
        (None, outcomes) => {
            let outcomes = outcomes
                .with_context(|| format!("not a result of this program: it has no \"{OUTCOMES}\""))?;
            serde_json::from_value(outcomes).map(Document::of)
        }
    };
    document.context("not a result of this version of the program")
}

/// `xblade-bench report`: prints stored results, and writes their report. Single sections
/// of several files become one.
pub fn again(args: &ReportArgs) -> Result<()> {
    let mut all = Vec::new();
    for path in &args.results {
        let mut document = read(path)?;
        if args.results.len() > 1 {
            let outcomes = document.sections.iter_mut().flat_map(|section| &mut section.outcomes);
            outcomes.for_each(|one| one.name = format!("{} {}", path.display(), one.name).trim().to_owned());
        }
        all.push(document);
    }
    let document = together(all);
    document.outcomes().for_each(|outcome| println!("{}", text(outcome)));
    args.report.as_ref().map_or(Ok(()), |directory| write_all(&document, directory))
}

/// Side by side, with the conditions that all have in common.
fn together(documents: Vec<Document>) -> Document {
    let single = documents.iter().all(|document| document.sections.len() == 1);
    let mut documents = documents.into_iter();
    let mut all = documents.next().unwrap_or_default();
    for more in documents {
        all.conditions.retain(|condition| more.conditions.contains(condition));
        all.warnings.extend(more.warnings);
        match all.sections.as_mut_slice() {
            [one] if single => {
                // A table describes only the outcomes that it came with.
                one.table = None;
                one.outcomes.extend(more.sections.into_iter().flat_map(|section| section.outcomes));
            }
            _ => all.sections.extend(more.sections),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Section;

    fn document(title: &str, sections: &[&[&str]]) -> Document {
        let outcome = |name: &&str| Outcome { name: (*name).to_owned(), ..Outcome::default() };
        let section =
            |names: &&[&str]| Section { outcomes: names.iter().map(outcome).collect(), ..Section::default() };
        let sections = sections.iter().map(section).collect();
        Document { title: title.to_owned(), sections, ..Document::default() }
    }

    #[test]
    fn single_sections_become_one_and_others_follow_each_other() {
        let one = together(vec![document("A", &[&["a"]]), document("B", &[&["b", "c"]])]);
        assert_eq!(one, document("A", &[&["a", "b", "c"]]));
        let all = together(vec![document("A", &[&["a"], &["b"]]), document("B", &[&["c"]])]);
        assert_eq!(all, document("A", &[&["a"], &["b"], &["c"]]));
    }
}
