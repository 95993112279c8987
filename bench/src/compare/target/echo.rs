//! The echo, as a target.

use std::path::Path;

use crate::compare::pair::End;

use super::EXPORT;

/// The words that run it.
pub fn words(program: &Path, end: &End, core: usize) -> Vec<String> {
    let (program, core) = (program.to_string_lossy(), core.to_string());
    let words: [&str; 8] =
        [&program, "echo", "--export", EXPORT, "--interface", end.interface, "--cpu", &core];
    words.map(str::to_owned).to_vec()
}
