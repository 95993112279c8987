//! Group commit: which writes wait for which sync.

/// The longest time that a sync waits for writes in flight, in nanoseconds. Far above the
/// latency of a write, so that it only ends the wait for a write that the disk does not
/// finish.
const GATHER_NS: u64 = 20_000_000;

/// Operations that wait for a sync, by slot.
///
/// One sync is in flight at a time. It covers what was written before it began; later writes
/// wait for the next one. Before a sync begins, it waits for the writes that are in flight at
/// that moment, and for no later one. So one sync makes a whole burst stable, instead of one
/// for its first write and one for the rest, and a single write is synced at once.
#[derive(Debug)]
pub struct Commit {
    /// Written, and not covered by the sync in flight.
    waiting: Vec<u32>,
    /// Covered by the sync in flight.
    covered: Vec<u32>,
    under_way: bool,
    /// Writes in flight that no gathering has waited for.
    young: u32,
    /// Incremented by each gathering. A write records the value at its start.
    age: u32,
    gathering: Option<Gathering>,
}

/// The wait before a sync.
#[derive(Debug)]
struct Gathering {
    /// Writes that it still waits for.
    left: u32,
    began_ns: u64,
}

impl Commit {
    /// Allocates room for `slots` operations.
    pub fn new(slots: usize) -> Self {
        Self {
            waiting: Vec::with_capacity(slots),
            covered: Vec::with_capacity(slots),
            under_way: false,
            young: 0,
            age: 0,
            gathering: None,
        }
    }

    /// Records a write handed to the disk. Returns its age, for [`Self::write_ended`].
    pub fn write_began(&mut self) -> u32 {
        self.young += 1;
        self.age
    }

    /// Records the end of a write of this age, successful or not.
    pub fn write_ended(&mut self, age: u32) {
        if age == self.age {
            self.young = self.young.saturating_sub(1);
        } else if let Some(gathering) = &mut self.gathering
            && age.wrapping_add(1) == self.age
        {
            gathering.left = gathering.left.saturating_sub(1);
        }
    }

    /// Queues an operation that needs a sync begun from now on.
    pub fn wait(&mut self, slot: u32) {
        self.waiting.push(slot);
    }

    /// Whether the caller must begin a sync now. If so, it covers all operations that wait.
    pub fn begin(&mut self, now_ns: impl FnOnce() -> u64) -> bool {
        if self.under_way || self.waiting.is_empty() {
            return false;
        }
        let now_ns = now_ns();
        let gathering = self.gathering.get_or_insert_with(|| {
            self.age = self.age.wrapping_add(1);
            Gathering { left: std::mem::take(&mut self.young), began_ns: now_ns }
        });
        if gathering.left > 0 && now_ns.saturating_sub(gathering.began_ns) < GATHER_NS {
            return false;
        }
        self.gathering = None;
        std::mem::swap(&mut self.waiting, &mut self.covered);
        self.under_way = true;
        true
    }

    /// The sync could not be begun: the operations that it would have covered wait again.
    pub fn defer(&mut self) {
        self.waiting.append(&mut self.covered);
        self.under_way = false;
    }

    /// The sync has ended; [`Self::next_covered`] returns what it covered.
    pub fn end(&mut self) {
        self.under_way = false;
    }

    /// The next operation that the last sync covered.
    pub fn next_covered(&mut self) -> Option<u32> {
        self.covered.pop()
    }

    /// The next operation that waits. Drained after a failed sync, when no further sync
    /// follows.
    pub fn next_waiting(&mut self) -> Option<u32> {
        self.waiting.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(commit: &mut Commit) -> Vec<u32> {
        commit.end();
        std::iter::from_fn(|| commit.next_covered()).collect()
    }

    #[test]
    fn a_sync_covers_only_what_was_written_before_it() {
        let mut commit = Commit::new(4);
        assert!(!commit.begin(|| 0), "no write waits");
        commit.wait(1);
        commit.wait(2);
        assert!(commit.begin(|| 0), "no write is under way");
        commit.wait(3);
        assert!(!commit.begin(|| 0), "one at a time");
        assert_eq!(covered(&mut commit), [2, 1]);
        assert!(commit.begin(|| 0));
        commit.defer();
        assert!(commit.begin(|| 0));
        assert_eq!(covered(&mut commit), [3]);
        assert!(!commit.begin(|| 0));
    }

    #[test]
    fn a_sync_waits_for_the_writes_of_its_burst_and_for_no_later_one() {
        let mut commit = Commit::new(8);
        let burst: Vec<u32> = (0..3).map(|_| commit.write_began()).collect();
        commit.write_ended(burst[0]);
        commit.wait(0);
        assert!(!commit.begin(|| 0), "two are under way");
        let later = commit.write_began();
        commit.write_ended(burst[1]);
        commit.wait(1);
        assert!(!commit.begin(|| 0), "one is");
        commit.write_ended(later);
        commit.wait(3);
        assert!(!commit.begin(|| 0), "a later one does not count for it");
        commit.write_began();
        commit.write_ended(burst[2]);
        commit.wait(2);
        assert!(commit.begin(|| 0));
        assert_eq!(covered(&mut commit), [2, 3, 1, 0]);
    }

    #[test]
    fn a_write_that_hangs_holds_the_others_up_only_for_a_while() {
        let mut commit = Commit::new(4);
        let (hangs, other) = (commit.write_began(), commit.write_began());
        commit.write_ended(other);
        commit.wait(0);
        assert!(!commit.begin(|| 5));
        assert!(!commit.begin(|| 5 + GATHER_NS - 1));
        assert!(commit.begin(|| 5 + GATHER_NS));
        assert_eq!(covered(&mut commit), [0]);
        // It is waited for once: it is not part of later bursts.
        let later = commit.write_began();
        commit.write_ended(later);
        commit.wait(1);
        assert!(commit.begin(|| GATHER_NS * 2));
        assert_eq!(covered(&mut commit), [1]);
        let another = commit.write_began();
        commit.write_ended(hangs);
        commit.wait(2);
        assert!(!commit.begin(|| GATHER_NS * 3), "the other one is under way");
        commit.write_ended(another);
        assert!(commit.begin(|| GATHER_NS * 3));
    }
}
