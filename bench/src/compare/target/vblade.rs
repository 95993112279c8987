//! vblade, as a target.

use std::path::Path;

use anyhow::{Result, bail};

use crate::compare::case::Case;
use crate::compare::pair::End;

use super::{SHELF, SLOT};

/// How it accesses the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Through the page cache, with `-s` where a case is durable.
    AsNeeded,
    /// Through the page cache.
    Cache,
    /// `-s`: O_SYNC.
    Sync,
    /// `-d`: O_DIRECT. Data in the cache of the device is not on stable storage.
    Direct,
    /// Both.
    DirectSync,
}

impl Mode {
    /// Parses the part after `vblade:`.
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

    /// The program.
    pub const PROGRAM: &str = "vblade";

    /// The options for a case.
    pub fn options(self, case: &Case) -> Vec<String> {
        let how: &[&str] = match self {
            Self::AsNeeded if case.is_durable() => &["-s"],
            Self::AsNeeded | Self::Cache => &[],
            Self::Sync => &["-s"],
            Self::Direct => &["-d"],
            Self::DirectSync => &["-d", "-s"],
        };
        let count = ["-b".to_owned(), case.buffer_count().to_string()];
        count.into_iter().chain(how.iter().map(|word| (*word).to_owned())).collect()
    }

    /// Whether writes of a case are on stable storage when they are acknowledged.
    pub fn is_durable(self, case: &Case) -> bool {
        self.options(case).iter().any(|option| option == "-s")
    }
}

/// The command that runs it.
pub fn words(program: &Path, options: Vec<String>, end: &End, file: &Path) -> Vec<String> {
    let (program, file) = (program.to_string_lossy(), file.to_string_lossy());
    let what = [SHELF.to_string(), SLOT.to_string(), end.interface.to_owned(), file.into_owned()];
    std::iter::once(program.into_owned()).chain(options).chain(what).collect()
}
