//! The target's end of a pair, as seen by a thread in its namespace.

use xblade::link::{AttachError, Facts, Mode, Program};
use xblade_kit::{OURS, until};

pub fn facts() -> Facts {
    Facts::read(OURS).unwrap()
}

/// Loads the program and attaches it.
pub fn attach(facts: &Facts, mode: Mode, acl: &[[u8; 6]]) -> Result<Program, AttachError> {
    let mut program = Program::load(facts, acl, 0, 1)?;
    program.attach(facts, mode)?;
    Ok(program)
}

/// Waits until no program is on it. Not immediate, because another test may be starting a
/// command: until that process calls `exec`, it holds a copy of the link.
pub fn until_detached() {
    until("no program attached", || facts().attached.is_empty());
}
