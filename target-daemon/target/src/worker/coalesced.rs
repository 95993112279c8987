//! Coalesced writes: duplicates that wait for the identical write in flight.

use super::inflight::Pending;

/// Maximum number of writes coalesced with one leader. A host that resends a write waits
/// only for the reply to the tag it used last, so keeping the newest ones is enough.
pub const COALESCED_MAX: usize = 4;

/// The writes coalesced with one leader.
#[derive(Debug, Default)]
pub struct Coalesced {
    /// Oldest first, without gaps.
    waiting: [Option<Pending>; COALESCED_MAX],
}

impl Coalesced {
    /// Adds a write. If there are too many, returns the oldest.
    pub fn push(&mut self, coalesced: Pending) -> Option<Pending> {
        if let Some(free) = self.waiting.iter_mut().find(|entry| entry.is_none()) {
            *free = Some(coalesced);
            return None;
        }
        self.waiting.rotate_left(1);
        self.waiting.last_mut()?.replace(coalesced)
    }

    /// Removes the oldest.
    pub fn pop(&mut self) -> Option<Pending> {
        let first = self.waiting.first_mut()?.take()?;
        self.waiting.rotate_left(1);
        Some(first)
    }
}
