//! How results look: one exporter a file.

mod again;
mod bars;
mod document;
mod folder;
pub mod result;
mod table;
mod text;

use std::path::{Path, PathBuf};

use anyhow::Result;

use folder::File;

pub use again::run as again;
pub use bars::bars;
pub use document::{Document, Section};
pub use table::Table;
pub use text::text;

/// Writes a report to a directory that is made if it is not there, in place of an
/// earlier report; a directory that holds anything else is refused. Returns what
/// was written.
pub fn write_all(document: &Document, directory: &Path) -> Result<Vec<PathBuf>> {
    folder::store(directory, &files(document)?)
}

/// Every file, the ones that people and programs open first last.
fn files(document: &Document) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let result = serde_json::to_string_pretty(&result::of_document(document)?)?;
    files.push(File::new("result.json", result + "\n"));
    Ok(files)
}
