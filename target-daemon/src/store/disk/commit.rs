//! Group commit: which writes wait for which sync.

/// Operations that wait for a sync, by slot.
///
/// One sync is under way at a time. It covers what had been written when it
/// was begun; what is written meanwhile waits for the next. So a group is as
/// large as the disk is slow, without anybody waiting for it to fill: one
/// write alone is synced at once, and of many under way about half are covered
/// by each sync.
#[derive(Debug)]
pub struct Commit {
    /// Written, and not covered by the sync that is under way.
    waiting: Vec<u32>,
    /// Covered by the sync that is under way.
    covered: Vec<u32>,
    under_way: bool,
}

impl Commit {
    /// Room for so many operations.
    pub fn new(slots: usize) -> Self {
        Self { waiting: Vec::with_capacity(slots), covered: Vec::with_capacity(slots), under_way: false }
    }

    /// This operation needs a sync that is begun from now on.
    pub fn wait(&mut self, slot: u32) {
        self.waiting.push(slot);
    }

    /// Whether a sync has to be begun now. If so, it covers all that waits.
    pub fn begin(&mut self) -> bool {
        if self.under_way || self.waiting.is_empty() {
            return false;
        }
        std::mem::swap(&mut self.waiting, &mut self.covered);
        self.under_way = true;
        true
    }

    /// The sync could not be begun: what it would have covered waits on.
    pub fn defer(&mut self) {
        self.waiting.append(&mut self.covered);
        self.under_way = false;
    }

    /// The sync is over; what it covered comes out of [`Self::next_covered`].
    pub fn end(&mut self) {
        self.under_way = false;
    }

    /// An operation that the last sync covered.
    pub fn next_covered(&mut self) -> Option<u32> {
        self.covered.pop()
    }

    /// An operation that waits: after a sync has failed, none is waited for.
    pub fn next_waiting(&mut self) -> Option<u32> {
        self.waiting.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_covers_only_what_was_written_before_it() {
        let mut commit = Commit::new(4);
        assert!(!commit.begin(), "nobody waits");
        commit.wait(1);
        commit.wait(2);
        assert!(commit.begin());
        commit.wait(3);
        assert!(!commit.begin(), "one at a time");
        commit.end();
        let covered: Vec<_> = std::iter::from_fn(|| commit.next_covered()).collect();
        assert_eq!(covered, [2, 1]);
        assert!(commit.begin());
        commit.defer();
        assert!(commit.begin());
        commit.end();
        assert_eq!((commit.next_covered(), commit.next_covered()), (Some(3), None));
        assert!(!commit.begin());
    }
}
