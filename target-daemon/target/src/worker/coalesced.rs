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
    /// The number of writes of each leader, so that one without any costs no search.
    counts: Vec<u8>,
}

impl Coalesced {
    /// Room for the writes of this many leaders. Allocates all memory, which is touched only
    /// when writes are coalesced.
    pub fn new(leaders: u16) -> Self {
        let leaders = leaders.into();
        Self { waiting: VecDeque::with_capacity(COALESCED_MAX * leaders), counts: vec![0; leaders] }
    }

    /// Adds a write. If its leader has too many, returns the oldest of these.
    pub fn push(&mut self, leader: u16, coalesced: Pending) -> Option<Pending> {
        let is_full = self.count(leader).is_some_and(|count| usize::from(*count) >= COALESCED_MAX);
        let displaced = if is_full { self.pop(leader) } else { None };
        if let Some(count) = self.count(leader) {
            *count += 1;
        }
        self.waiting.push_back((leader, coalesced));
        displaced
    }

    /// Removes the oldest write of this leader.
    pub fn pop(&mut self, leader: u16) -> Option<Pending> {
        let count = self.count(leader).filter(|count| **count > 0)?;
        *count -= 1;
        let at = self.waiting.iter().position(|(other, _)| *other == leader)?;
        self.waiting.remove(at).map(|(_, pending)| pending)
    }

    fn count(&mut self, leader: u16) -> Option<&mut u8> {
        self.counts.get_mut(usize::from(leader))
    }
}
