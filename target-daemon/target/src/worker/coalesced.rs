//! Coalesced writes: duplicates that wait for the identical write in flight.

use std::collections::VecDeque;

use super::inflight::Pending;

/// Maximum number of writes coalesced with one leader. A host that resends a write waits
/// only for the reply to the tag it used last, so keeping the newest ones is enough.
pub const COALESCED_MAX: usize = 4;

/// The coalesced writes of an export, each with the index of its leader; oldest first.
#[derive(Debug)]
pub struct Coalesced {
    waiting: VecDeque<(u16, Pending)>,
}

impl Coalesced {
    /// Room for the writes of this many leaders. Allocates all memory, which is touched only
    /// when writes are coalesced.
    pub fn new(leaders: u16) -> Self {
        Self { waiting: VecDeque::with_capacity(COALESCED_MAX * usize::from(leaders)) }
    }

    /// Adds a write. If its leader has too many, returns the oldest of these.
    pub fn push(&mut self, leader: u16, coalesced: Pending) -> Option<Pending> {
        let mut same = self.waiting.iter().enumerate().filter(|(_, (other, _))| *other == leader);
        let oldest = same.next().map(|(oldest, _)| oldest).filter(|_| same.count() + 1 >= COALESCED_MAX);
        let displaced = oldest.and_then(|oldest| self.waiting.remove(oldest));
        self.waiting.push_back((leader, coalesced));
        displaced.map(|(_, pending)| pending)
    }

    /// Removes the oldest write of this leader.
    pub fn pop(&mut self, leader: u16) -> Option<Pending> {
        let at = self.waiting.iter().position(|(other, _)| *other == leader)?;
        self.waiting.remove(at).map(|(_, pending)| pending)
    }
}
