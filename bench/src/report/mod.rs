//! Reports: one exporter per file format.

mod rerender;
mod bars;
mod document;
mod fio;
mod folder;
mod hgrm;
mod hlog;
mod names;
mod facts;
mod html;
mod markdown;
mod number;
mod overview;
pub mod result;
mod svg;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod xml;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::outcome::Outcome;

use folder::File;

pub use bars::bars;
pub use document::{Document, Section};
pub use rerender::run as again;
pub use table::Table;
pub use text::text;

/// Writes a report to a directory, which is created if needed. An earlier report there is
/// replaced; a directory with anything else is refused. Returns the files written.
pub fn write_all(document: &Document, directory: &Path) -> Result<Vec<PathBuf>> {
    folder::store(directory, &files(document)?)
}

/// Refuses a directory that [`write_all`] would refuse, before time is spent on
/// measuring.
pub fn check(directory: &Path) -> Result<()> {
    folder::check(directory)
}

/// All files. Those that users open first come last.
fn files(document: &Document) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let several = document.sections.len() > 1;
    let mut number = 0;
    for (at, section) in document.sections.iter().enumerate() {
        let part = if several { format!("s{}", at + 1) } else { String::new() };
        for (name, outcome) in names::labels(&section.outcomes).iter().zip(&section.outcomes) {
            number += 1;
            let stem = joined(&[&part, &format!("{number:02}"), &names::slug(name)]);
            files.extend(of_outcome(&stem, outcome));
        }
        files.extend(plots(&part, section));
    }
    files.push(File::new("report.md", markdown::markdown(document)));
    let result = serde_json::to_string_pretty(&result::of_document(document)?)?;
    files.push(File::new("result.json", result + "\n"));
    files.push(File::new("report.html", html::html(document)));
    Ok(files)
}

/// The distributions, and those of the intervals if there are any.
fn of_outcome(stem: &str, outcome: &Outcome) -> Vec<File> {
    let mut files = Vec::new();
    for (operation, side) in [("read", &outcome.reads), ("write", &outcome.writes)] {
        let kinds = [("", Some(&side.response)), ("sent", side.service.as_ref())];
        for (kind, times) in kinds {
            if let Some(times) = times.filter(|times| !times.is_empty()) {
                files.push(File::new(joined(&[stem, operation, kind]) + ".hgrm", hgrm::hgrm(times)));
            }
        }
    }
    if !outcome.intervals.is_empty() {
        files.push(File::new(format!("{stem}.hlog"), hlog::hlog(outcome)));
    }
    files
}

fn plots(part: &str, section: &Section) -> Vec<File> {
    let (title, outcomes) = (section.title.as_str(), section.outcomes.as_slice());
    let plots = [
        ("percentiles", svg::percentiles(title, outcomes)),
        ("throughput", svg::timeline(svg::Over::Throughput, title, outcomes)),
        ("p99", svg::timeline(svg::Over::P99, title, outcomes)),
    ];
    let file = |(name, svg): (&str, Option<String>)| Some(File::new(joined(&[part, name]) + ".svg", svg?));
    plots.into_iter().filter_map(file).collect()
}

/// A file name made of parts.
fn joined(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("-")
}

/// The warnings of a section and of its outcomes, with their names.
fn warnings_of(section: &Section) -> Vec<String> {
    let mut all = section.warnings.clone();
    for (name, outcome) in names::labels(&section.outcomes).iter().zip(&section.outcomes) {
        all.extend(outcome.warnings.iter().map(|warning| format!("{name}: {warning}")));
    }
    all
}
