//! Writes that wait for another one which does the same.

use super::inflight::Pending;

/// Most followers of one leader. A host that repeats a write waits only for the
/// answer to the tag that it used last, so the newest are enough.
pub const COALESCED_MAX: usize = 4;

/// The followers of one leader.
#[derive(Debug, Default)]
pub struct Coalesced {
    /// The oldest first, without gaps.
    waiting: [Option<Pending>; COALESCED_MAX],
}

impl Coalesced {
    /// Adds one. If there are too many, the oldest comes out.
    pub fn push(&mut self, coalesced: Pending) -> Option<Pending> {
        if let Some(free) = self.waiting.iter_mut().find(|entry| entry.is_none()) {
            *free = Some(coalesced);
            return None;
        }
        self.waiting.rotate_left(1);
        self.waiting.last_mut()?.replace(coalesced)
    }

    /// Takes the oldest out.
    pub fn pop(&mut self) -> Option<Pending> {
        let first = self.waiting.first_mut()?.take()?;
        self.waiting.rotate_left(1);
        Some(first)
    }
}
