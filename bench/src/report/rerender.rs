//! `xblade-bench report`: stored results, rendered again, several side by side.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::args::ReportArgs;

use super::{Document, Section, result, text, write_all};

/// Reads the files, prints what is in them, and writes the report.
pub fn run(args: &ReportArgs) -> Result<()> {
    let documents: Vec<Document> = args.results.iter().map(|path| read(path)).collect::<Result<_>>()?;
    let document = together(documents);
    for outcome in document.sections.iter().flat_map(|section| &section.outcomes) {
        println!("{}", text(outcome));
    }
    match &args.report {
        Some(directory) => write_all(&document, directory).map(|_| ()),
        None => Ok(()),
    }
}

/// One file. Outcomes without a name get that of the file.
fn read(path: &Path) -> Result<Document> {
    let failed = || format!("cannot read {}", path.display());
    let text = fs::read_to_string(path).with_context(failed)?;
    let mut document = result::read_document(&text).with_context(failed)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    for outcome in document.sections.iter_mut().flat_map(|section| &mut section.outcomes) {
        if outcome.name.is_empty() {
            outcome.name = stem.clone().into_owned();
        }
    }
    Ok(document)
}

/// One document of several: files of one section each are put into one, and
/// otherwise sections of the same title.
fn together(documents: Vec<Document>) -> Document {
    let single = documents.len() > 1 && documents.iter().all(|document| document.sections.len() == 1);
    let mut all = Document { title: title(&documents), ..Document::default() };
    for document in documents {
        add_new(&mut all.conditions, document.conditions);
        add_new(&mut all.warnings, document.warnings);
        for section in document.sections {
            let same = |there: &&mut Section| single || there.title == section.title;
            match all.sections.iter_mut().find(same) {
                Some(there) => join(there, section),
                None => all.sections.push(section),
            }
        }
    }
    all
}

/// Of all, if it is the same.
fn title(documents: &[Document]) -> String {
    match documents {
        [first, rest @ ..] if rest.iter().all(|document| document.title == first.title) => {
            first.title.clone()
        }
        _ => format!("{} results side by side", documents.len()),
    }
}

fn join(there: &mut Section, more: Section) {
    if there.title != more.title {
        there.title = String::new();
    }
    // A table is about the outcomes that it came with.
    there.table = None;
    add_new(&mut there.warnings, more.warnings);
    there.outcomes.extend(more.outcomes);
}

fn add_new<T: PartialEq>(there: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !there.contains(&one) {
            there.push(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    fn document(title: &str, sections: &[(&str, &[&str])]) -> Document {
        let outcome = |name: &&str| Outcome { name: (*name).to_owned(), ..Outcome::default() };
        let section = |(title, names): &(&str, &[&str])| Section {
            title: (*title).to_owned(),
            outcomes: names.iter().map(outcome).collect(),
            ..Section::default()
        };
        Document {
            title: title.to_owned(),
            sections: sections.iter().map(section).collect(),
            ..Document::default()
        }
    }

    #[test]
    fn single_sections_become_one_and_others_are_joined_by_their_title() {
        let one =
            together(vec![document("A", &[("read", &["a"])]), document("B", &[("write", &["b", "c"])])]);
        assert_eq!(one, document("2 results side by side", &[("", &["a", "b", "c"])]));
        let by_title = together(vec![
            document("A", &[("read", &["a"]), ("write", &["b"])]),
            document("A", &[("write", &["c"]), ("trim", &["d"])]),
        ]);
        assert_eq!(by_title, document("A", &[("read", &["a"]), ("write", &["b", "c"]), ("trim", &["d"])]));
        let alone = document("A", &[("read", &["a"]), ("write", &["b"])]);
        assert_eq!(together(vec![alone.clone()]), alone);
    }
}
