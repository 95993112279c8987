//! Reports: one exporter per file format.

mod document;
mod hgrm;
mod html;
mod plots;
pub mod result;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Context, Result, bail};

pub use document::{Document, Section};
pub use table::Table;
pub use text::{markdown, text};

/// Maximum length of the part of a file's name that is an outcome's.
const SLUG_MAX: usize = 40;

/// Refuses a directory that is neither new nor empty; to be called before time is spent on
/// measuring.
pub fn check(directory: &Path) -> Result<()> {
    let failed = || format!("cannot read {}", directory.display());
    match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        entries => match entries.with_context(failed)?.next().transpose().with_context(failed)? {
            Some(entry) => bail!(
                "there is {} already: give --report a directory that is new or empty",
                entry.path().display()
            ),
            None => Ok(()),
        },
    }
}

/// Writes a report to a directory, which is created if needed. Under sudo it belongs to the
/// user.
pub fn write_all(document: &Document, directory: &Path) -> Result<()> {
    check(directory)?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let (user, group) = (id("SUDO_UID"), id("SUDO_GID"));
    let _ = chown(directory, user, group);
    for (name, text) in files(document)? {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        let _ = chown(path, user, group);
    }
    Ok(())
}

/// Names and contents of all files.
fn files(document: &Document) -> Result<Vec<(String, String)>> {
    let mut files = vec![
        ("report.html".to_owned(), html::html(document)),
        ("report.md".to_owned(), markdown(document)),
        ("result.json".to_owned(), result::json(document)),
    ];
    let several = document.sections.len() > 1;
    let mut number = 0;
    for (at, section) in document.sections.iter().enumerate() {
        let part = if several { format!("s{}-", at + 1) } else { String::new() };
        files.extend(plots::plots(section).map(|(name, svg)| (format!("{part}{name}.svg"), svg)));
        for outcome in &section.outcomes {
            number += 1;
            let stem = format!("{part}{number:02}-{}", slug(&document::label(outcome)));
            let hgrm = |(name, times)| (format!("{stem}-{name}.hgrm"), hgrm::hgrm(times));
            files.extend(document::times_of(outcome).map(hgrm));
            if !outcome.intervals.is_empty() {
                files.push((format!("{stem}.hlog"), hgrm::hlog(outcome)));
            }
        }
    }
    Ok(files)
}

/// Reduces text to letters, digits and dashes.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = Vec::from_iter(words).join("-").to_ascii_lowercase();
    slug.truncate(SLUG_MAX);
    slug
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn names_of_files_are_harmless() {
        assert_eq!(slug("vblade -b 64 ../../etc/passwd"), "vblade-b-64-etc-passwd");
        assert_eq!(slug("70 % read, µs"), "70-read-s");
        assert!(slug(&"x ".repeat(100)).len() <= SLUG_MAX);
    }

    #[test]
    fn what_is_in_a_directory_already_stays() {
        let directory = std::env::temp_dir().join(format!("xbb-folder-{}", std::process::id()));
        let deep = directory.join("deep").join("report");
        check(&deep).unwrap();
        write_all(&Document::default(), &deep).unwrap();
        let said = write_all(&Document::default(), &directory).unwrap_err().to_string();
        let left = fs::read_dir(&directory).unwrap().count();
        fs::remove_dir_all(&directory).unwrap();
        assert!(said.contains("/deep already") && said.contains("--report"), "{said}");
        assert_eq!(left, 1);
    }
}
