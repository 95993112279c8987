//! A directory that holds only a report.
//!
//! `files.txt` lists the files. Its first line says whether the report is complete; it is
//! updated last. Listed files may be overwritten; any other file is not ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const LIST: &str = "files.txt";
/// The list while it is being written.
const LIST_NEW: &str = "files.txt.new";
const WHOLE: &str = "xblade-bench report, complete";
const PARTIAL: &str = "xblade-bench report, NOT complete: it was being written";

/// A file of a report.
pub struct File {
    /// Its name in the directory.
    pub name: String,
    /// Its contents.
    pub text: String,
}

impl File {
    /// A file.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// Writes the files in this order, and removes those of an earlier report. Returns their
/// paths.
pub fn store(directory: &Path, files: &[File]) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let earlier = ours(directory)?;
    let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let either = names.iter().copied().chain(earlier.iter().map(String::as_str)).collect();
    write_list(directory, PARTIAL, &either)?;
    for name in &earlier {
        let path = directory.join(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let write = |file: &File| {
        let path = directory.join(&file.name);
        fs::write(&path, &file.text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    };
    let paths = files.iter().map(write).collect::<Result<_>>()?;
    write_list(directory, WHOLE, &names)?;
    Ok(paths)
}

/// Refuses a directory that [`store`] would refuse, before time is spent on measuring.
pub fn check(directory: &Path) -> Result<()> {
    if directory.exists() { ours(directory).map(|_| ()) } else { Ok(()) }
}

/// The files of an earlier report that still exist; an error if there are others.
fn ours(directory: &Path) -> Result<Vec<String>> {
    let failed = || format!("cannot read {}", directory.display());
    let listed = fs::read_to_string(directory.join(LIST)).unwrap_or_default();
    let mut lines = listed.lines();
    let known = lines.next().is_some_and(|first| first == WHOLE || first == PARTIAL);
    let listed: BTreeSet<&str> = if known { lines.collect() } else { BTreeSet::new() };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == LIST_NEW || (known && name == LIST) {
            continue;
        }
        if !listed.contains(name.as_str()) || entry.file_type().with_context(failed)?.is_dir() {
            bail!(
                "{} holds {name}, which is not of an earlier report: give --report a directory that is new or empty",
                directory.display()
            );
        }
        found.push(name);
    }
    Ok(found)
}

/// Replaces the list atomically.
fn write_list(directory: &Path, first: &str, names: &BTreeSet<&str>) -> Result<()> {
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    let (path, new) = (directory.join(LIST), directory.join(LIST_NEW));
    fs::write(&new, format!("{first}\n{lines}"))
        .with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A temporary directory, removed when dropped.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xbb-folder-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path.join("deep").join("report"))
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.ancestors().nth(2).unwrap());
        }
    }

    #[test]
    fn a_report_replaces_an_earlier_one() {
        let place = Place::new("replaces");
        let paths = store(&place.0, &[File::new("a", "1"), File::new("b", "2")]).unwrap();
        assert_eq!(paths, [place.0.join("a"), place.0.join("b")]);
        store(&place.0, &[File::new("b", "3"), File::new("c", "4")]).unwrap();
        assert_eq!(place.names(), ["b", "c", "files.txt"]);
        assert_eq!(fs::read_to_string(place.0.join("b")).unwrap(), "3");
        let list = fs::read_to_string(place.0.join(LIST)).unwrap();
        assert_eq!(list, format!("{WHOLE}\nb\nc\n"));
    }

    #[test]
    fn what_somebody_else_put_there_stays() {
        let place = Place::new("stays");
        fs::create_dir_all(&place.0).unwrap();
        for (name, text) in [("b", "mine"), (LIST, "my own list\nb\n")] {
            let path = place.0.join(name);
            fs::write(&path, text).unwrap();
            let error = store(&place.0, &[File::new("b", "2")]).unwrap_err().to_string();
            assert_eq!(check(&place.0).unwrap_err().to_string(), error);
            assert!(error.contains(&format!("holds {name}")) && error.contains("--report"), "{error}");
            assert_eq!(
                (place.names(), fs::read_to_string(&path).unwrap()),
                (vec![name.to_owned()], text.into())
            );
            fs::remove_file(path).unwrap();
        }
        check(&place.0).unwrap();
        store(&place.0, &[File::new("b", "2")]).unwrap();
        check(&place.0).unwrap();
        fs::write(place.0.join("notes"), "mine").unwrap();
        assert!(store(&place.0, &[File::new("c", "2")]).is_err());
        assert_eq!(place.names(), ["b", LIST, "notes"]);
    }

    #[test]
    fn a_report_that_was_not_finished_says_so_and_is_replaced() {
        let place = Place::new("unfinished");
        // The second file cannot be written.
        assert!(
            store(&place.0, &[File::new("a", "1"), File::new("no/where", "2"), File::new("z", "3")]).is_err()
        );
        assert!(fs::read_to_string(place.0.join(LIST)).unwrap().starts_with(PARTIAL));
        store(&place.0, &[File::new("c", "4")]).unwrap();
        assert_eq!(place.names(), ["c", LIST]);
        assert!(fs::read_to_string(place.0.join(LIST)).unwrap().starts_with(WHOLE));
    }
}
