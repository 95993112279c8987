//! The target's end of a pair, as seen by a thread in its namespace.

use xblade::link::Facts;
use xblade_kit::{OURS, until};

pub fn facts() -> Facts {
    Facts::read(OURS).unwrap()
}

/// Waits until no program is on it. Not immediate, because another test may be starting a
/// command: until that process calls `exec`, it holds a copy of the link.
pub fn until_detached() {
    until("no program attached", || facts().attached.is_empty());
}
