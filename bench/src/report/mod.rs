//! Reports: one exporter per file format.

mod rerender;
mod document;
mod fio;
mod folder;
mod hgrm;
mod facts;
mod html;
mod overview;
pub mod result;
mod svg;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::outcome::Outcome;

use folder::File;

pub use document::{Document, Section};
pub use folder::check;
pub use rerender::run as again;
pub use table::Table;
pub use text::text;

/// Writes a report to a directory, which is created if needed. An earlier report there is
/// replaced; a directory with anything else is refused. Returns the files written.
pub fn write_all(document: &Document, directory: &Path) -> Result<Vec<PathBuf>> {
    folder::store(directory, &files(document)?)
}

/// All files. Those that users open first come last.
fn files(document: &Document) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let several = document.sections.len() > 1;
    let mut number = 0;
    for (at, section) in document.sections.iter().enumerate() {
        let part = if several { format!("s{}", at + 1) } else { String::new() };
        for (name, outcome) in section.named() {
            number += 1;
            let stem = joined(&[&part, &format!("{number:02}"), &document::slug(&name)]);
            files.extend(of_outcome(&stem, outcome));
        }
        let plots = svg::plots(&section.title, &section.outcomes);
        files.extend(plots.map(|(name, svg)| File::new(joined(&[&part, name]) + ".svg", svg)));
    }
    files.push(File::new("report.md", text::markdown(document)));
    let result = serde_json::to_string_pretty(&result::of_document(document)?)?;
    files.push(File::new("result.json", result + "\n"));
    files.push(File::new("report.html", html::html(document)));
    Ok(files)
}

/// The distributions, and those of the intervals if there are any.
fn of_outcome(stem: &str, outcome: &Outcome) -> Vec<File> {
    let mut files = Vec::new();
    for (operation, side) in outcome.sides() {
        let kinds = [("", Some(&side.response)), ("sent", side.service.as_ref())];
        for (kind, times) in kinds {
            if let Some(times) = times.filter(|times| !times.is_empty()) {
                files.push(File::new(joined(&[stem, operation, kind]) + ".hgrm", hgrm::hgrm(times)));
            }
        }
    }
    if !outcome.intervals.is_empty() {
        files.push(File::new(format!("{stem}.hlog"), hgrm::hlog(outcome)));
    }
    files
}

/// A file name made of parts.
fn joined(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("-")
}
