//! Files of the kernel, below a root that tests replace.

use std::fs;
use std::path::{Path, PathBuf};

/// The root directory.
pub struct Tree(PathBuf);

impl Tree {
    /// The real root.
    pub fn of_this_machine() -> Self {
        Self("/".into())
    }

    /// Another root.
    #[cfg(test)]
    pub fn below(root: &Path) -> Self {
        Self(root.to_owned())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The trimmed contents of a file; `None` if it is empty or cannot be read.
    pub fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A number.
    pub fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A list of cores.
    pub fn cores(&self, path: &str) -> Option<Vec<usize>> {
        super::cores::listed(&self.text(path)?)
    }

    /// The sorted names in a directory; none if it does not exist.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Whether this file or directory exists.
    pub fn has(&self, path: &str) -> bool {
        Path::exists(&self.path(path))
    }
}
