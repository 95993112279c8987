//! The conditions under which a result was measured: those of the machine, its cores and
//! its interfaces.
//!
//! Everything is read below a root directory, so that tests can supply their own.

mod cores;
mod host;
mod interface;
mod storage;
#[cfg(test)]
pub mod tests;

use std::path::Path;

use crate::outcome::Condition;

pub use cores::Cores;
pub use storage::{describe as of_storage, is_in_memory};

/// The directory that contains /proc and /sys.
pub const ROOT: &str = "/";

/// The conditions of this machine.
pub fn of_host() -> Vec<Condition> {
    host::read(Path::new(ROOT))
}

/// The conditions of an interface in this network namespace, including the programs
/// attached at the time of the call. Empty if there is no such interface.
pub fn of_interface(name: &str) -> Vec<Condition> {
    interface::read(name)
}

/// The conditions of a generator: its machine, and the interfaces that it sends from.
pub fn of_load(interfaces: &[String]) -> Vec<Condition> {
    let mut all = of_host();
    all.extend(interfaces.iter().flat_map(|name| of_interface(name)));
    all
}

/// A condition.
pub fn condition(name: impl Into<String>, value: impl Into<String>) -> Condition {
    Condition { name: name.into(), value: value.into() }
}

/// The load average of the last minute.
pub fn load_average() -> f64 {
    host::load_average(Path::new(ROOT))
}

/// A small file, trimmed; `None` if it does not exist.
fn text(root: &Path, path: &str) -> Option<String> {
    let text = std::fs::read_to_string(root.join(path)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
