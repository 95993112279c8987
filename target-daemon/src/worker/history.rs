//! Writes that have been answered, so that a copy of one is known for what it
//! is.
//!
//! The network may deliver a frame twice, and the second time late: when the
//! host has had its answer and written something newer to the same sectors. If
//! the copy were executed, the old data would be back. So an exact copy (the
//! same source, tag, export, sectors and data) of a write that was answered
//! within the last [`HORIZON_NS`] is answered again as the first one was, and
//! not executed.
//!
//! That is right only if a host does not use a tag again for a new request
//! while the old one is remembered. Linux does not: its tags are a counter of
//! each of its devices beside a clock. A simple tool may send all its requests
//! with one tag, and its third write of W(A), W(B), W(A) would be taken for a
//! copy of the first, answered, and lost. But its second write shows what it
//! does: a tag that is remembered comes with a *different* write. From then on
//! nothing of this initiator is taken for a copy. Whichever write is remembered
//! last for a tag is compared, when the next one arrives and once more when
//! that has been answered (two with one tag may be under way together), so no
//! second write with a tag goes by unseen. Tags are told apart by export,
//! because each device of a Linux host counts for itself.
//!
//! Bounded: so many initiators, the one that has not written for longest makes
//! room; so many writes of each. All memory is taken at the start.
//!
//! ```text
//! heads  [tag's bucket] ──► newest ──► older ──► older than the ring reaches: the end
//! ring   [ … 4096 records, each with the number of the one before it in its bucket … ]
//! ```

use super::content::Content;
use super::job::Job;
use crate::plant::{Bug, planted};
use crate::store::Fault;
use crate::wire::ether::Mac;

/// Initiators that are remembered: twice as many as are expected at most
/// targets.
pub const INITIATORS_MAX: usize = 16;

/// Writes that are remembered of each. A power of two.
pub const WRITES_MAX: usize = 4096;

/// A write that was answered before this is not remembered any more.
pub const HORIZON_NS: u64 = 30_000_000_000;

/// Records of one bucket that are looked at. An initiator whose tags share a
/// bucket on purpose would slow down others.
const CHAIN_MAX: usize = 64;

/// What is known of a write that has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing: it is to be executed.
    New,
    /// It is a copy of one that was answered with this.
    Copy(Result<(), Fault>),
    /// Its tag was used for another write: it is to be executed, and its
    /// initiator is not believed any more.
    Reused,
}

/// What was answered to whom.
#[derive(Debug)]
pub struct History {
    initiators: Vec<Initiator>,
    /// Counts on with every record.
    uses: u64,
}

#[derive(Debug)]
struct Initiator {
    source: Mac,
    /// When it was last written for, in [`History::uses`].
    used: u64,
    /// Its tags are unique, as far as is known.
    believed: bool,
    /// Records ever made here. Record *n* lies at *n* modulo the ring's size.
    records: u64,
    /// The first record of this initiator: those before were somebody else's.
    first: u64,
    ring: Vec<Record>,
    /// By bucket: the number of the newest record, plus 1; 0 for none.
    heads: Vec<u64>,
}

#[derive(Debug)]
struct Record {
    content: Content,
    answered_ns: u64,
    /// As in `heads`: the one before it in its bucket.
    previous: u64,
    tag: u32,
    /// The number of its seat: an export that takes the place of another has a
    /// number of its own.
    export: u32,
    result: Result<(), Fault>,
}

impl History {
    /// Remembers nothing yet. All memory is taken here.
    pub fn new() -> Self {
        let initiator = |_| Initiator {
            source: Mac::default(),
            used: 0,
            believed: false,
            records: 0,
            first: 0,
            ring: Vec::with_capacity(WRITES_MAX),
            heads: vec![0; WRITES_MAX],
        };
        Self { initiators: (0..INITIATORS_MAX).map(initiator).collect(), uses: 0 }
    }

    /// What is known of a write that has arrived.
    pub fn find(&mut self, job: &Job, export: u32, content: &Content, now_ns: u64) -> Found {
        let source = job.header.ether.src;
        let Some(initiator) = self.initiators.iter_mut().find(|i| i.source == source && i.believed) else {
            return Found::New;
        };
        match initiator.newest(job.header.tag, export, now_ns) {
            _ if planted(Bug::NoHistory) => Found::New,
            None => Found::New,
            Some(record) if record.content == *content => Found::Copy(record.result),
            Some(_) => {
                initiator.believed = false;
                Found::Reused
            }
        }
    }

    /// A write was answered with this. Returns `false` if that shows that its
    /// initiator is not to be believed any more.
    pub fn record(
        &mut self,
        job: &Job,
        export: u32,
        content: &Content,
        result: Result<(), Fault>,
        now_ns: u64,
    ) -> bool {
        self.uses += 1;
        let Some(initiator) = place(&mut self.initiators, job.header.ether.src) else { return true };
        initiator.used = self.uses;
        if !initiator.believed {
            return true;
        }
        let tag = job.header.tag;
        if initiator.newest(tag, export, now_ns).is_some_and(|record| record.content != *content) {
            initiator.believed = false;
            return false;
        }
        initiator.push(Record { content: *content, answered_ns: now_ns, previous: 0, tag, export, result });
        true
    }
}

/// The place of an initiator: its own, or that of the one that has not written
/// for longest.
fn place(initiators: &mut [Initiator], source: Mac) -> Option<&mut Initiator> {
    if let Some(at) = initiators.iter().position(|i| i.source == source && i.used > 0) {
        return initiators.get_mut(at);
    }
    let oldest = initiators.iter_mut().min_by_key(|i| i.used)?;
    oldest.source = source;
    oldest.believed = true;
    oldest.first = oldest.records;
    Some(oldest)
}

impl Initiator {
    /// The newest record of a tag that is young enough.
    fn newest(&self, tag: u32, export: u32, now_ns: u64) -> Option<&Record> {
        let oldest = self.first.max(self.records.saturating_sub(WRITES_MAX as u64));
        let mut next = *self.heads.get(bucket(tag))?;
        for _ in 0..CHAIN_MAX {
            // What lies before the oldest has been overwritten.
            let number = next.checked_sub(1).filter(|number| *number >= oldest)?;
            let record = self.ring.get(number as usize % WRITES_MAX)?;
            if now_ns.saturating_sub(record.answered_ns) > HORIZON_NS {
                return None;
            }
            if record.tag == tag && record.export == export {
                return Some(record);
            }
            next = record.previous;
        }
        None
    }

    fn push(&mut self, mut record: Record) {
        let Some(head) = self.heads.get_mut(bucket(record.tag)) else { return };
        let number = self.records;
        self.records += 1;
        record.previous = std::mem::replace(head, number + 1);
        match self.ring.get_mut(number as usize % WRITES_MAX) {
            Some(old) => *old = record,
            // The ring grows to its size, within its memory.
            None => self.ring.push(record),
        }
    }
}

/// Fibonacci hashing: the upper bits depend on all bits of the tag.
fn bucket(tag: u32) -> usize {
    (tag.wrapping_mul(0x9E37_79B9) >> (u32::BITS - WRITES_MAX.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ring::{FakeRings, Lane};
    use crate::store::Kind;
    use crate::wire::aoe::{Command, Header, Role};
    use crate::wire::ether::{Ether, Tags};

    const OK: Result<(), Fault> = Ok(());

    /// A history, and jobs without an end.
    struct Desk {
        history: History,
        lane: Lane<FakeRings>,
        now_ns: u64,
    }

    fn content(letter: u8) -> Content {
        Content { kind: Kind::Write, sector: 8, bytes: 512, hash: letter.into() }
    }

    impl Desk {
        fn new() -> Self {
            let (lane, _wire) = FakeRings::open(64, 2048, 16).unwrap();
            Self { history: History::new(), lane, now_ns: 0 }
        }

        fn with<T>(&mut self, (host, tag): (u8, u32), act: impl FnOnce(&mut History, &Job, u64) -> T) -> T {
            let ether = Ether { dst: Mac::default(), src: Mac([2, 0, 0, 0, 0, host]), tags: Tags::NONE };
            let header = Header { ether, role: Role::Request, shelf: 0, slot: 0, command: Command::Ata, tag };
            let frame = self.lane.allocate(60).unwrap();
            let job = Job { frame, header, lane: 0, export: 0, request_len: 60, received_ns: 0 };
            let result = act(&mut self.history, &job, self.now_ns);
            self.lane.release(job.frame);
            result
        }

        fn find(&mut self, from: (u8, u32), letter: u8) -> Found {
            self.with(from, |history, job, now_ns| history.find(job, 0, &content(letter), now_ns))
        }

        fn record(&mut self, from: (u8, u32), letter: u8, result: Result<(), Fault>) -> bool {
            self.with(from, |history, job, now_ns| history.record(job, 0, &content(letter), result, now_ns))
        }

        /// A write arrives and is answered.
        fn write(&mut self, from: (u8, u32), letter: u8) {
            assert_eq!(self.find(from, letter), Found::New);
            assert!(self.record(from, letter, OK));
        }
    }

    #[test]
    fn an_exact_copy_is_known_with_its_answer() {
        let mut desk = Desk::new();
        assert_eq!(desk.find((1, 5), b'A'), Found::New);
        assert!(desk.record((1, 5), b'A', Err(Fault::NoSpace)));
        desk.write((1, 6), b'B');
        assert_eq!(desk.find((1, 5), b'A'), Found::Copy(Err(Fault::NoSpace)));
        assert_eq!(desk.find((1, 6), b'B'), Found::Copy(OK));
        assert_eq!(desk.find((1, 7), b'A'), Found::New, "another tag");
        assert_eq!(desk.find((2, 5), b'A'), Found::New, "another host");
    }

    #[test]
    fn a_tag_for_two_writes_ends_the_belief() {
        let mut desk = Desk::new();
        desk.write((1, 5), b'A');
        desk.write((2, 5), b'A');
        assert_eq!(desk.find((1, 5), b'B'), Found::Reused);
        assert!(desk.record((1, 5), b'B', OK));
        assert_eq!(desk.find((1, 5), b'A'), Found::New);
        assert_eq!(desk.find((2, 5), b'A'), Found::Copy(OK), "the other host is believed");
    }

    /// Two writes with one tag under way together are seen when both have been
    /// answered, in whichever order.
    #[test]
    fn two_at_once_with_one_tag_end_the_belief() {
        let mut desk = Desk::new();
        assert_eq!(desk.find((1, 5), b'A'), Found::New);
        assert_eq!(desk.find((1, 5), b'B'), Found::New);
        assert!(desk.record((1, 5), b'B', OK));
        assert!(!desk.record((1, 5), b'A', OK));
        for letter in [b'A', b'B', b'C'] {
            assert_eq!(desk.find((1, 5), letter), Found::New);
        }
    }

    #[test]
    fn thirty_seconds_are_the_horizon() {
        let mut desk = Desk::new();
        desk.write((1, 5), b'A');
        desk.now_ns = HORIZON_NS;
        assert_eq!(desk.find((1, 5), b'A'), Found::Copy(OK));
        desk.now_ns += 1;
        assert_eq!(desk.find((1, 5), b'A'), Found::New);
        desk.write((1, 5), b'B');
        assert_eq!(desk.find((1, 5), b'B'), Found::Copy(OK), "a tag may be used again by then");
    }

    #[test]
    fn sixteen_initiators_keep_their_places() {
        let mut desk = Desk::new();
        for round in 0..4 {
            for host in 1..=INITIATORS_MAX as u8 {
                desk.write((host, round), host);
            }
        }
        // The second writes again, so the first is the one that goes.
        desk.write((1, 77), 1);
        desk.write((99, 1), b'A');
        assert_eq!(desk.find((2, 0), 2), Found::New);
        for host in (1..=INITIATORS_MAX as u8).filter(|host| *host != 2) {
            for round in 0..4 {
                assert_eq!(desk.find((host, round), host), Found::Copy(OK), "host {host}");
            }
        }
        assert_eq!(desk.find((99, 0), 2), Found::New, "what was there before is not its own");
        desk.write((99, 0), b'C');
    }

    /// The last 4096 writes are remembered, whatever their tags, and no others.
    #[test]
    fn the_ring_comes_round() {
        for step in [1u32, 0x10000, 0x10001, 0x9E37_79B9] {
            let mut desk = Desk::new();
            let total = 3 * WRITES_MAX as u32 + 5;
            for n in 0..total {
                desk.write((1, n.wrapping_mul(step)), n as u8);
            }
            for n in 0..total {
                let known = n >= total - WRITES_MAX as u32;
                let expected = if known { Found::Copy(OK) } else { Found::New };
                assert_eq!(desk.find((1, n.wrapping_mul(step)), n as u8), expected, "step {step:#x}, {n}");
            }
        }
    }
}
