//! vblade, as a target.

use std::path::Path;

use anyhow::{Result, bail};

use crate::compare::case::Case;
use crate::compare::pair::End;

/// How it reaches the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Through the page cache, with `-s` where a case is durable.
    AsNeeded,
    /// Through the page cache.
    Cache,
    /// `-s`: O_SYNC.
    Sync,
    /// `-d`: O_DIRECT. What the device's cache holds is not on stable storage.
    Direct,
    /// Both.
    DirectSync,
}

impl Mode {
    /// From what follows `vblade:`.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            None => Ok(Self::AsNeeded),
            Some("cache") => Ok(Self::Cache),
            Some("s") => Ok(Self::Sync),
            Some("d") => Ok(Self::Direct),
            Some("ds") => Ok(Self::DirectSync),
            Some(other) => bail!("'vblade:{other}' is no target: give vblade[:cache|s|d|ds]"),
        }
    }

    /// The options for a case.
    pub fn options(self, case: &Case) -> &'static [&'static str] {
        match self {
            Self::AsNeeded if case.is_durable() => &["-b", "64", "-s"],
            Self::AsNeeded | Self::Cache => &["-b", "64"],
            Self::Sync => &["-b", "64", "-s"],
            Self::Direct => &["-b", "64", "-d"],
            Self::DirectSync => &["-b", "64", "-d", "-s"],
        }
    }

    /// Whether writes of a case are on stable storage when they are acknowledged.
    pub fn is_durable(self, case: &Case) -> bool {
        self.options(case).contains(&"-s")
    }
}

/// The words that run it.
pub fn words(program: &Path, options: &[&str], end: &End, file: &Path) -> Vec<String> {
    let (program, file) = (program.to_string_lossy(), file.to_string_lossy());
    let what: [&str; 4] = ["0", "1", end.interface, &file];
    let words = [&[&*program], options, &what].concat();
    words.into_iter().map(str::to_owned).collect()
}
