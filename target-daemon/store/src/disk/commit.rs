//! Group commit: which writes wait for which sync.

/// Longest time that a sync waits for writes that are under way, in
/// nanoseconds. Far above what a write takes, so that it ends the wait only for
/// one that the disk does not finish.
const GATHER_NS: u64 = 20_000_000;

/// Operations that wait for a sync, by slot.
///
/// One sync is under way at a time. It covers what had been written when it
/// was begun; what is written meanwhile waits for the next. When one may begin,
/// it first waits for the writes that are under way at that moment, and for no
/// later one: so a burst is made stable by one sync rather than by one for its
/// first write and one for the rest, and a write alone is synced at once.
#[derive(Debug)]
pub struct Commit {
    /// Written, and not covered by the sync that is under way.
    waiting: Vec<u32>,
    /// Covered by the sync that is under way.
    covered: Vec<u32>,
    under_way: bool,
    /// Writes that the disk works on and that no gathering has waited for.
    young: u32,
    /// Grows with each gathering: a write knows the one that it began in.
    age: u32,
    gathering: Option<Gathering>,
}

/// The wait before a sync.
#[derive(Debug)]
struct Gathering {
    /// Writes that it waits for.
    left: u32,
    began_ns: u64,
}

impl Commit {
    /// Room for so many operations.
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

    /// The disk gets a write. Returns its age, for [`Self::write_ended`].
    pub fn write_began(&mut self) -> u32 {
        self.young += 1;
        self.age
    }

    /// The disk has finished a write of this age, well or not.
    pub fn write_ended(&mut self, age: u32) {
        if age == self.age {
            self.young = self.young.saturating_sub(1);
        } else if let Some(gathering) = &mut self.gathering
            && age.wrapping_add(1) == self.age
        {
            gathering.left = gathering.left.saturating_sub(1);
        }
    }

    /// This operation needs a sync that is begun from now on.
    pub fn wait(&mut self, slot: u32) {
        self.waiting.push(slot);
    }

    /// Whether a sync has to be begun now. If so, it covers all that waits.
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

    fn covered(commit: &mut Commit) -> Vec<u32> {
        commit.end();
        std::iter::from_fn(|| commit.next_covered()).collect()
    }

    #[test]
    fn a_sync_covers_only_what_was_written_before_it() {
        let mut commit = Commit::new(4);
        assert!(!commit.begin(|| 0), "nobody waits");
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
        // It is waited for once: later bursts are not its own.
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
