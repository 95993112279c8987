//! The echo, as a target.

use std::path::Path;

use crate::compare::case::Case;
use crate::compare::pair::End;

use super::EXPORT;

/// The command that runs it.
pub fn words(program: &Path, case: &Case, end: &End, core: usize) -> Vec<String> {
    let (program, core, count) =
        (program.to_string_lossy(), core.to_string(), case.buffer_count().to_string());
    let place = [&program, "echo", "--export", EXPORT, "--interface", end.interface, "--cpu", &core];
    place.into_iter().chain(["--buffer-count", &count]).map(str::to_owned).collect()
}
