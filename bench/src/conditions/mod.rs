//! The conditions under which a result was measured: those of the machine, its cores and
//! its interfaces.
//!
//! Everything is read below a root directory, so that tests can supply their own.

mod host;
mod interface;
mod storage;
#[cfg(test)]
pub mod tests;

use std::path::Path;

use crate::outcome::Condition;

pub use host::{cores, governor, load_average};
pub use storage::{describe as of_storage, is_in_memory};

/// The directory that contains /proc and /sys.
pub const ROOT: &str = "/";

/// The conditions of this machine, and of those of the interfaces that are in this network
/// namespace.
pub fn of_host(interfaces: &[String]) -> Vec<Condition> {
    let mut all = host::read(Path::new(ROOT));
    all.extend(interfaces.iter().flat_map(|name| interface::read(name)));
    all
}

/// A condition.
pub fn condition(name: impl Into<String>, value: impl Into<String>) -> Condition {
    Condition { name: name.into(), value: value.into() }
}

/// A small file, trimmed; `None` if it does not exist.
fn text(root: &Path, path: &str) -> Option<String> {
    let text = std::fs::read_to_string(root.join(path)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
