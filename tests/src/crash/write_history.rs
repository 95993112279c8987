//! What each sector may hold, by what was sent and what was acknowledged.
//!
//! A write has a generation, one number for all its sectors, counted up in the
//! order in which writes are first sent. A sector may hold each generation that
//! was sent to it, but for those that are **superseded**: acknowledged before
//! another one was sent that has been acknowledged too. So:
//!
//! - what was acknowledged last may only have been replaced by what was sent
//!   later, or was under way at the same time;
//! - what was sent and never acknowledged may be there or not, until somebody
//!   looks: what was seen once stays.

use super::stamp::{self, Found, SECTOR};

/// A generation that a sector may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Which.
    pub generation: u64,
    /// The generation that was to be sent next when it was acknowledged.
    pub acknowledged: Option<u64>,
}

/// A write on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Its generation.
    pub generation: u64,
    /// First sector.
    pub lba: u64,
    /// Sectors.
    pub count: u64,
}

/// A sector that does not hold what it has to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// Where.
    pub lba: u64,
    /// What is there.
    pub found: Found,
    /// What may be there.
    pub allowed: Vec<Version>,
}

/// The outcome of looking.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Sectors looked at that had ever been written.
    pub sectors: u64,
    /// Of these: more than one generation would have been right.
    pub unknown: u64,
    /// Sectors with something older than what was acknowledged.
    pub lost: Vec<Wrong>,
    /// Sectors with something that was never sent to them.
    pub torn: Vec<Wrong>,
}

/// Every sector of an export.
#[derive(Debug)]
pub struct WriteHistory {
    run: u64,
    next: u64,
    /// Empty: never written.
    sectors: Vec<Vec<Version>>,
}

impl WriteHistory {
    /// An export of so many sectors of zeros.
    pub fn new(run: u64, sectors: u64) -> Self {
        Self { run, next: 1, sectors: vec![Vec::new(); sectors as usize] }
    }

    /// Sectors of the export.
    pub fn len(&self) -> u64 {
        self.sectors.len() as u64
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.sectors.is_empty()
    }

    /// The generation of the write that begins next.
    pub fn next_generation(&self) -> u64 {
        self.next
    }

    /// Whether this sector was ever written.
    pub fn is_written(&self, lba: u64) -> bool {
        !self.sectors[lba as usize].is_empty()
    }

    /// A new write to these sectors is about to be sent.
    pub fn begin(&mut self, lba: u64, count: u64) -> Extent {
        let generation = self.next;
        self.next += 1;
        for versions in &mut self.sectors[lba as usize..(lba + count) as usize] {
            if versions.is_empty() {
                versions.push(Version { generation: 0, acknowledged: Some(0) });
            }
            versions.push(Version { generation, acknowledged: None });
        }
        Extent { generation, lba, count }
    }

    /// The data of a write.
    pub fn data(&self, extent: Extent) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(extent.count as usize * SECTOR);
        for lba in extent.lba..extent.lba + extent.count {
            stamp::stamp(self.run, lba, extent.generation, &mut bytes);
        }
        bytes
    }

    /// The write has been acknowledged.
    pub fn acknowledge(&mut self, extent: Extent) {
        let now = self.next;
        let Extent { generation, lba, count } = extent;
        for versions in &mut self.sectors[lba as usize..(lba + count) as usize] {
            versions.retain(|version| version.acknowledged.is_none_or(|next| next > generation));
            let own = versions.iter_mut().find(|version| version.generation == generation);
            own.expect("a write is acknowledged once").acknowledged = Some(now);
        }
    }

    /// Looks at sectors from `lba` on, while nothing is under way. What they
    /// hold is from now on what they have to hold.
    pub fn check(&mut self, lba: u64, bytes: &[u8], checked: &mut Checked) {
        for (lba, sector) in (lba..).zip(bytes.chunks_exact(SECTOR)) {
            let found = stamp::read(self.run, lba, sector);
            let versions = &mut self.sectors[lba as usize];
            if versions.is_empty() {
                if found != Found::Generation(0) {
                    checked.torn.push(Wrong { lba, found, allowed: Vec::new() });
                }
                continue;
            }
            checked.sectors += 1;
            checked.unknown += u64::from(versions.len() > 1);
            let Found::Generation(generation) = found else {
                checked.torn.push(Wrong { lba, found, allowed: versions.clone() });
                continue;
            };
            if versions.iter().all(|version| version.generation != generation) {
                checked.lost.push(Wrong { lba, found, allowed: versions.clone() });
                continue;
            }
            *versions = vec![Version { generation, acknowledged: Some(self.next) }];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What checking sector 1 of four says if it holds this generation.
    fn holds(history: &mut WriteHistory, generation: u64) -> Checked {
        let mut checked = Checked::default();
        let bytes = match generation {
            0 => vec![0; SECTOR],
            _ => history.data(Extent { generation, lba: 1, count: 1 }),
        };
        history.check(1, &bytes, &mut checked);
        checked
    }

    fn is_lost(history: &mut WriteHistory, generation: u64) -> bool {
        let checked = holds(history, generation);
        assert_eq!(checked.sectors, 1);
        assert!(checked.torn.is_empty());
        !checked.lost.is_empty()
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        let mut history = WriteHistory::new(9, 4);
        let write = history.begin(0, 2);
        history.acknowledge(write);
        assert!(is_lost(&mut history, 0));
        assert!(!is_lost(&mut history, 1));
        let write = history.begin(1, 3);
        history.acknowledge(write);
        assert!(is_lost(&mut history, 1), "stale");
        assert!(!is_lost(&mut history, 2));
    }

    #[test]
    fn what_was_not_acknowledged_is_unknown_until_somebody_looks() {
        for found in [0, 1] {
            let mut history = WriteHistory::new(9, 4);
            history.begin(0, 2);
            let checked = holds(&mut history, found);
            assert_eq!((checked.unknown, checked.lost.len()), (1, 0));
            assert!(is_lost(&mut history, 1 - found), "seen once, it stays");
        }
    }

    #[test]
    fn of_writes_under_way_together_either_may_be_the_last() {
        for found in [1, 2] {
            let mut history = WriteHistory::new(9, 4);
            let (first, second) = (history.begin(0, 2), history.begin(1, 2));
            history.acknowledge(second);
            history.acknowledge(first);
            assert!(is_lost(&mut history, 0));
            assert!(!is_lost(&mut history, found));
        }
    }

    #[test]
    fn a_write_that_was_never_acknowledged_may_come_after_one_that_was() {
        let mut history = WriteHistory::new(9, 4);
        history.begin(1, 1);
        let second = history.begin(1, 1);
        history.acknowledge(second);
        let third = history.begin(1, 1);
        history.acknowledge(third);
        assert!(is_lost(&mut history, 2), "superseded by the third");
        assert!(!is_lost(&mut history, 1), "as far as anybody knows it is executed only now");
    }

    #[test]
    fn what_nobody_sent_is_torn() {
        let mut history = WriteHistory::new(9, 4);
        let mut checked = Checked::default();
        history.check(0, &[1; SECTOR], &mut checked);
        assert_eq!((checked.sectors, checked.torn.len()), (0, 1), "a sector that was never written");
        history.begin(1, 1);
        history.check(1, &[1; SECTOR], &mut checked);
        assert_eq!((checked.sectors, checked.torn.len()), (1, 2));
    }
}
