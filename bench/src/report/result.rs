//! The result file: JSON with the main figures for other programs, and the whole document
//! for this one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use crate::args::ReportArgs;

use super::document::{Figures, label};
use super::{Document, text, write_all};

/// What this program reads of the file.
#[derive(Deserialize)]
struct Stored {
    document: Document,
}

/// A document with the figures of each operation.
pub fn json(document: &Document) -> String {
    let figures = document.outcomes().flat_map(|outcome| {
        let sides = outcome.sides().into_iter().filter(|(_, side)| !side.response.is_empty());
        sides.map(move |(op, side)| Figures::of(format!("{}, {op}", label(outcome)), outcome, side))
    });
    let results: Vec<Figures> = figures.collect();
    format!("{:#}\n", json!({ "results": results, "document": document }))
}

/// Writes the file.
pub fn write(document: &Document, path: &Path) -> Result<()> {
    fs::write(path, json(document)).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Document> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is no result of this version of the program", path.display()))
}

/// Reads the text of a file.
pub fn parse(text: &str) -> serde_json::Result<Document> {
    serde_json::from_str(text).map(|stored: Stored| stored.document)
}

/// `xblade-bench report`: prints a stored result, and writes its report.
pub fn again(args: &ReportArgs) -> Result<()> {
    let document = read(&args.result)?;
    document.outcomes().for_each(|outcome| println!("{}", text(outcome)));
    args.report.as_ref().map_or(Ok(()), |directory| write_all(&document, directory))
}
