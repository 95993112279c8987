use xblade_sim::FakeRings;

use super::*;
use crate::ring::Lane;
use crate::store::Kind;
use crate::wire::aoe::{Command, Header, Role};
use crate::wire::ether::{Ether, Tags};

const OK: Result<(), IoError> = Ok(());
const SECOND: u64 = 1_000_000_000;

/// The record under test, and a source of requests.
struct Memory {
    answered: AnsweredWrites,
    lane: Lane<FakeRings>,
    now_ns: u64,
}

/// A write: which host sends it with which tag, and when it arrives at which worker.
#[derive(Clone, Copy)]
struct From {
    host: u8,
    tag: u32,
    arrived_ns: u64,
    worker: u16,
}

fn from(host: u8, tag: u32) -> From {
    From { host, tag, arrived_ns: 0, worker: 0 }
}

impl From {
    fn at(self, arrived_ns: u64, worker: u16) -> Self {
        Self { arrived_ns, worker, ..self }
    }
}

fn fingerprint(letter: u8) -> Fingerprint {
    Fingerprint { kind: Kind::Write, sector: 8, bytes: 512, hash: letter.into() }
}

fn sectors(sector: u64, count: u32) -> Fingerprint {
    Fingerprint { kind: Kind::Write, sector, bytes: count * 512, hash: 1 }
}

impl Memory {
    fn new() -> Self {
        let (lane, _wire) = FakeRings::open(64, 2048, 16).unwrap();
        Self { answered: AnsweredWrites::new(), lane, now_ns: 100 * SECOND }
    }

    fn with<T>(&mut self, from: From, act: impl FnOnce(&mut AnsweredWrites, &Inbound, u64) -> T) -> T {
        let ether = Ether { dst: Mac::default(), src: Mac([2, 0, 0, 0, 0, from.host]), tags: Tags::NONE };
        let (role, command) = (Role::Request, Command::Ata);
        let header = Header { ether, role, shelf: 0, slot: 0, command, tag: from.tag };
        let frame = self.lane.allocate(60).unwrap();
        let inbound = Inbound::of(frame, header, from.arrived_ns);
        let result = act(&mut self.answered, &inbound, self.now_ns);
        self.lane.release(inbound.frame);
        result
    }

    fn find(&mut self, from: From, letter: u8) -> Found {
        self.with(from, |answered, inbound, now_ns| answered.find(inbound, &fingerprint(letter), now_ns))
    }

    fn record(&mut self, from: From, letter: u8, result: Result<(), IoError>) -> Recorded {
        self.with(from, |answered, inbound, now_ns| {
            answered.record(inbound, inbound.arrival(from.worker), &fingerprint(letter), result, now_ns)
        })
    }

    /// A write arrives and is answered.
    fn write(&mut self, from: From, letter: u8) {
        assert_eq!(self.find(from, letter), Found::New);
        assert_eq!(self.record(from, letter, OK), Recorded::Kept);
    }

    /// A write to these sectors arrives, is executed and answered.
    fn answer(&mut self, from: From, fingerprint: Fingerprint) {
        self.observe(from);
        assert!(!self.is_overtaken(from, fingerprint));
        self.with(from, |answered, inbound, now_ns| {
            answered.record(inbound, inbound.arrival(from.worker), &fingerprint, OK, now_ns)
        });
    }

    fn observe(&mut self, from: From) {
        self.with(from, |answered, inbound, now_ns| answered.observe(inbound, Observed::Other, now_ns));
    }

    fn is_overtaken(&mut self, from: From, fingerprint: Fingerprint) -> bool {
        self.with(from, |answered, inbound, now_ns| {
            answered.is_overtaken(inbound, inbound.arrival(from.worker), &fingerprint, now_ns)
        })
    }

    /// As [`Self::is_overtaken`], but first observes the tag.
    fn arrives_late(&mut self, from: From, fingerprint: Fingerprint) -> bool {
        self.observe(from);
        self.is_overtaken(from, fingerprint)
    }

    fn identify(&mut self, from: From) {
        self.with(from, |answered, inbound, now_ns| answered.observe(inbound, Observed::Identify, now_ns));
    }
}

#[test]
fn an_exact_copy_is_known_with_its_answer() {
    let mut umem = Memory::new();
    assert_eq!(umem.find(from(1, 5), b'A'), Found::New);
    assert_eq!(umem.record(from(1, 5), b'A', Err(IoError::NoSpace)), Recorded::Kept);
    umem.write(from(1, 6), b'B');
    assert_eq!(umem.find(from(1, 5), b'A'), Found::Copy(Err(IoError::NoSpace)));
    assert_eq!(umem.find(from(1, 6), b'B'), Found::Copy(OK));
    assert_eq!(umem.find(from(1, 7), b'A'), Found::New, "another tag");
    assert_eq!(umem.find(from(2, 5), b'A'), Found::New, "another host");
}

#[test]
fn a_tag_for_two_writes_ends_the_search_for_copies() {
    let mut umem = Memory::new();
    umem.write(from(1, 5), b'A');
    umem.write(from(2, 5), b'A');
    assert_eq!(umem.find(from(1, 5), b'B'), Found::TagReused);
    assert_eq!(umem.record(from(1, 5), b'B', OK), Recorded::Kept);
    assert_eq!(umem.find(from(1, 5), b'A'), Found::New);
    assert_eq!(umem.find(from(2, 5), b'A'), Found::Copy(OK), "the other host is believed");
}

/// Two writes with one tag in flight together are detected when both have been answered,
/// in either order.
#[test]
fn two_at_once_with_one_tag_end_the_search_for_copies() {
    let mut umem = Memory::new();
    assert_eq!(umem.find(from(1, 5), b'A'), Found::New);
    assert_eq!(umem.find(from(1, 5), b'B'), Found::New);
    assert_eq!(umem.record(from(1, 5), b'B', OK), Recorded::Kept);
    assert_eq!(umem.record(from(1, 5), b'A', OK), Recorded::TagReused);
    for letter in [b'A', b'B', b'C'] {
        assert_eq!(umem.find(from(1, 5), letter), Found::New);
    }
}

#[test]
fn four_seconds_are_the_horizon() {
    let mut umem = Memory::new();
    umem.write(from(1, 5), b'A');
    umem.now_ns += HORIZON_NS;
    assert_eq!(umem.find(from(1, 5), b'A'), Found::Copy(OK));
    umem.now_ns += 1;
    assert_eq!(umem.find(from(1, 5), b'A'), Found::New);
    umem.write(from(1, 5), b'B');
    assert_eq!(umem.find(from(1, 5), b'B'), Found::Copy(OK), "a tag may be used again by then");
}

/// A host that boots starts with the same tags, and may write the same data.
#[test]
fn identify_ends_what_is_remembered_of_its_host() {
    let mut umem = Memory::new();
    umem.write(from(1, 4), b'A');
    umem.write(from(1, 5), b'B');
    umem.write(from(2, 4), b'A');
    umem.identify(from(1, 3));
    umem.write(from(1, 4), b'A');
    assert_eq!(umem.find(from(1, 4), b'A'), Found::Copy(OK), "of the write after it");
    assert_eq!(umem.find(from(2, 4), b'A'), Found::Copy(OK), "the other host has not booted");
}

/// A Linux host is not late after a reboot either, whatever its clock shows; and a host
/// that has not booted is remembered.
#[test]
fn a_linux_host_has_booted_if_its_tags_restart() {
    for clock in [5, 600, 2_000, 4_000, 40_000] {
        let mut umem = Memory::new();
        linux(&mut umem, 1, 1_000);
        umem.now_ns += SECOND;
        umem.identify(from(1, tag(2, clock)));
        assert!(!umem.arrives_late(from(1, tag(3, clock)), sectors(0, 8_000)), "clock {clock}");
    }
    let mut umem = Memory::new();
    let now = linux(&mut umem, 1, 1_000);
    umem.identify(from(1, tag(now, now)));
    assert!(umem.arrives_late(from(1, tag(now - 2, now - 2)), sectors(8 * 999, 8)));
    let copy = sectors(8 * 998, 8);
    let found = umem.with(from(1, tag(998, 998)), |a, inbound, now_ns| a.find(inbound, &copy, now_ns));
    assert_eq!(found, Found::Copy(OK));
}

#[test]
fn sources_that_write_keep_their_places() {
    let mut umem = Memory::new();
    for turn in 0..4 {
        for host in 1..=SOURCES_MAX as u8 {
            umem.write(from(host, turn), host);
        }
    }
    assert_eq!(umem.record(from(99, 1), b'A', OK), Recorded::NoPlace);
    for host in 1..=SOURCES_MAX as u8 {
        for turn in 0..4 {
            assert_eq!(umem.find(from(host, turn), host), Found::Copy(OK), "host {host}");
        }
    }
    // All but one have been silent for longer than the horizon.
    umem.now_ns += HORIZON_NS;
    assert_eq!(umem.record(from(99, 1), b'A', OK), Recorded::NoPlace, "not for longer yet");
    umem.write(from(1, 77), 1);
    umem.now_ns += 1;
    umem.write(from(99, 1), b'A');
    assert_eq!(umem.find(from(99, 1), b'A'), Found::Copy(OK));
    assert_eq!(umem.find(from(1, 77), 1), Found::Copy(OK));
    assert_eq!(umem.find(from(99, 0), 2), Found::New, "what was there before is not its own");
}

/// Nothing of the others changes with that.
#[test]
fn one_place_is_given_away() {
    let mut memory = Memory::new();
    for host in 0..SOURCES_MAX as u8 {
        memory.write(from(host, 1), b'A');
    }
    memory.now_ns += HORIZON_NS + 1;
    for host in (0..SOURCES_MAX as u8).filter(|host| *host != 5) {
        memory.write(from(host, 2), b'B');
    }
    memory.answered.sources[7].follows = (5, SAME_HOST - 1);
    memory.answered.sources[8].follows = (6, SAME_HOST - 1);
    memory.write(from(99, 1), b'C');
    for host in (0..SOURCES_MAX as u8).filter(|host| *host != 5) {
        assert_eq!(memory.find(from(host, 2), b'B'), Found::Copy(OK), "host {host}");
    }
    assert_eq!(memory.answered.sources[7].follows, (5, 0), "another host is there");
    assert_eq!(memory.answered.sources[8].follows, (6, SAME_HOST - 1));
}

/// Without a place nothing is known of a host: it may have booted.
#[test]
fn identify_of_a_host_without_a_place_counts() {
    let mut memory = Memory::new();
    for host in 0..SOURCES_MAX as u8 {
        memory.write(from(host, 1), b'A');
    }
    for (kind, restarted) in [(Observed::Identify, true), (Observed::Read, false), (Observed::Other, false)] {
        let observed =
            memory.with(from(99, 1), |answered, inbound, now_ns| answered.observe(inbound, kind, now_ns));
        assert_eq!(observed, restarted, "{kind:?}");
    }
}

/// The last 4096 writes are remembered, whatever their tags, and no others.
#[test]
fn the_ring_comes_round() {
    for step in [1u32, 0x10000, 0x10001, 0x9E37_79B9] {
        let mut umem = Memory::new();
        let total = 3 * WRITES_MAX as u32 + 5;
        for n in 0..total {
            umem.write(from(1, n.wrapping_mul(step)), n as u8);
        }
        for n in 0..total {
            let known = n >= total - WRITES_MAX as u32;
            let expected = if known { Found::Copy(OK) } else { Found::New };
            assert_eq!(umem.find(from(1, n.wrapping_mul(step)), n as u8), expected, "step {step:#x}, {n}");
        }
    }
}

/// A write that another worker received earlier must not be executed after an overlapping
/// one that arrived later; all others may.
#[test]
fn what_arrived_before_an_answered_write_is_late() {
    let mut umem = Memory::new();
    umem.answer(from(1, 1).at(1_000, 0), sectors(8, 8));
    let late = |umem: &mut Memory, at, worker, fingerprint| {
        umem.is_overtaken(from(1, 2).at(at, worker), fingerprint)
    };
    assert!(late(&mut umem, 999, 1, sectors(8, 8)));
    assert!(late(&mut umem, 999, 1, sectors(15, 1)) && late(&mut umem, 999, 1, sectors(0, 9)));
    assert!(!late(&mut umem, 999, 1, sectors(16, 8)) && !late(&mut umem, 999, 1, sectors(0, 8)));
    assert!(!late(&mut umem, 1_000, 1, sectors(8, 8)), "at the same time");
    assert!(!late(&mut umem, 999, 0, sectors(8, 8)), "the same worker keeps the order by itself");
    // Regardless of the source: a host may have several addresses.
    umem.answer(from(2, 1).at(2_000, 1), sectors(100, 8));
    assert!(late(&mut umem, 1_500, 0, sectors(107, 1)));
    assert!(!late(&mut umem, 1_500, 0, sectors(8, 8)));
    // A discard counts as everything, on either side.
    let discard = Fingerprint { kind: Kind::Discard, sector: 0, bytes: 512, hash: 3 };
    assert!(late(&mut umem, 1_500, 0, discard));
    umem.answer(from(2, 2).at(3_000, 1), discard);
    assert!(late(&mut umem, 2_500, 0, sectors(1 << 40, 1)));
}

/// Also where something else had arrived later.
#[test]
fn what_arrived_with_an_answered_write_is_not_late() {
    let mut memory = Memory::new();
    memory.answer(from(1, 1).at(2_000, 0), sectors(100, 8));
    memory.answer(from(1, 2).at(1_000, 0), sectors(8, 8));
    assert!(memory.is_overtaken(from(1, 3).at(999, 1), sectors(8, 8)));
    assert!(!memory.is_overtaken(from(1, 3).at(1_000, 1), sectors(8, 8)));
}

/// Beyond the records nothing can be decided.
#[test]
fn what_arrived_before_the_records_begin_is_late() {
    let mut umem = Memory::new();
    let total = WRITES_MAX as u64 + 10;
    for n in 0..total {
        umem.answer(from(1, n as u32).at(1_000 + n, 0), sectors(8 * n, 8));
    }
    let elsewhere = sectors(1 << 30, 1);
    let newest = 1_000 + total - 1;
    let oldest = newest - (WRITES_MAX as u64 - 1);
    assert!(!umem.is_overtaken(from(1, 0).at(oldest, 1), elsewhere));
    assert!(umem.is_overtaken(from(1, 0).at(oldest - 1, 1), elsewhere));
    // And after a write of a source whose entry was reused.
    let mut umem = Memory::new();
    for host in 0..SOURCES_MAX as u8 {
        umem.write(from(host, 1).at(1_000, 0), b'A');
    }
    umem.now_ns += HORIZON_NS + 1;
    for host in 1..SOURCES_MAX as u8 {
        umem.write(from(host, 2).at(2_500, 0), b'C');
    }
    umem.write(from(98, 1).at(3_000, 0), b'D');
    assert!(umem.is_overtaken(from(1, 3).at(999, 1), elsewhere));
}

/// However much hosts without an entry write, only what overlaps their writes is late.
#[test]
fn hosts_without_a_place_do_not_make_the_writes_of_others_late() {
    let mut umem = Memory::new();
    for host in 0..SOURCES_MAX as u8 {
        umem.write(from(host, 1).at(1_000, 0), b'A');
    }
    for n in 0..WRITES_MAX as u64 {
        let source = from(99 + (n % 50) as u8, n as u32).at(10_000 + n, (n % 2) as u16);
        let fingerprint = sectors(1_000 + 8 * n, 8);
        let recorded = umem.with(source, |answered, inbound, now_ns| {
            answered.record(inbound, inbound.arrival(source.worker), &fingerprint, OK, now_ns)
        });
        assert_eq!(recorded, Recorded::NoPlace);
        assert!(!umem.is_overtaken(from(1, 2).at(10_000 - 1, 0), sectors(8, 8)), "write {n}");
    }
    // Number 200 arrived at worker 0.
    let overlapping = sectors(1_000 + 8 * 200, 1);
    assert!(umem.is_overtaken(from(1, 2).at(10_199, 1), overlapping));
    assert!(!umem.is_overtaken(from(1, 2).at(10_200, 1), overlapping));
    assert!(!umem.is_overtaken(from(1, 2).at(10_199, 0), overlapping), "the same worker");
    assert!(!umem.is_overtaken(from(1, 2).at(9_999, 1), sectors(8, 8)));
    let last = from(99, 9).at(20_000, 0);
    umem.with(last, |answered, inbound, now_ns| {
        answered.record(inbound, inbound.arrival(last.worker), &overlapping, OK, now_ns)
    });
    assert!(umem.is_overtaken(from(1, 2).at(9_999, 1), sectors(8, 8)), "the first is not known any more");
}

/// Which host the first two addresses count as.
fn hosts(memory: &Memory) -> Vec<usize> {
    memory.answered.sources.iter().take(2).map(|source| source.host).collect()
}

fn tag(counter: u32, clock: u32) -> u32 {
    (counter & 0x7fff) << 16 | clock & 0xffff
}

/// A Linux host has sent this many requests, 4 ms apart; returns its clock.
fn linux(umem: &mut Memory, host: u8, requests: u32) -> u32 {
    for n in 0..requests {
        umem.now_ns += SECOND / 250;
        umem.answer(from(host, tag(n, n)), sectors(8 * u64::from(n), 8));
    }
    requests
}

/// Within one worker, and at any arrival time: the tag decides.
#[test]
fn what_a_tag_says_to_be_older_is_late() {
    let mut umem = Memory::new();
    let now = linux(&mut umem, 1, 100);
    umem.answer(from(1, tag(now + 1, now)), sectors(8, 8));
    assert!(umem.arrives_late(from(1, tag(now, now)), sectors(8, 8)));
    assert!(umem.arrives_late(from(1, tag(50, 50)), sectors(15, 1)));
    assert!(!umem.arrives_late(from(1, tag(50, 50)), sectors(2_000, 1)), "no overlap");
    assert!(!umem.arrives_late(from(2, tag(50, 50)), sectors(8, 8)), "another host");
    assert!(!umem.arrives_late(from(1, 0x8000_0000), sectors(8, 8)), "a tool's tag is in no order");
    assert!(!umem.arrives_late(from(1, tag(now + 2, now)), sectors(8, 8)));
    assert!(!umem.arrives_late(from(1, tag(now + 2, now)), sectors(8, 8)), "the same one");
}

/// What was answered after the newer write does not hide it: neither one that was sent
/// before both, nor that of a tool.
#[test]
fn what_is_older_is_late_whatever_was_answered_since() {
    let mut memory = Memory::new();
    let now = linux(&mut memory, 1, 100);
    memory.answer(from(1, tag(now + 3, now)), sectors(8, 8));
    memory.answer(from(1, tag(now + 1, now)), sectors(10_000, 8));
    assert!(memory.arrives_late(from(1, tag(now + 2, now)), sectors(8, 8)));
    let mut memory = Memory::new();
    let now = linux(&mut memory, 1, 100);
    memory.answer(from(1, 0x8000_0000 | (now + 100)), sectors(10_000, 8));
    memory.answer(from(1, tag(now + 3, now)), sectors(8, 8));
    assert!(memory.arrives_late(from(1, tag(now + 2, now)), sectors(8, 8)));
}

/// A write that comes late is executed where only older ones were answered.
#[test]
fn what_is_newer_than_all_that_it_overlaps_is_not_late() {
    let mut memory = Memory::new();
    let now = linux(&mut memory, 1, 100);
    memory.answer(from(1, tag(now + 1, now)), sectors(8, 8));
    memory.answer(from(1, tag(now + 3, now)), sectors(10_000, 8));
    assert!(!memory.arrives_late(from(1, tag(now + 2, now)), sectors(8, 8)));
}

/// Tags of an order that has ended are not compared with those of now: their clocks are so
/// far apart that the old one seems to be newer, or older, as it comes.
#[test]
fn an_order_that_has_ended_says_nothing_of_the_next() {
    let mut memory = Memory::new();
    memory.answer(from(1, tag(50, 32_800)), sectors(10_000, 8));
    for n in 0..32 {
        memory.answer(from(1, tag(5_000 + n, 50 + n)), sectors(10_000, 8));
    }
    memory.answer(from(1, tag(5_040, 82)), sectors(8, 8));
    assert!(memory.arrives_late(from(1, tag(4_990, 20)), sectors(8, 8)));
}

/// It would take too long to look at all of them.
#[test]
fn among_too_many_that_arrived_later_a_write_is_late() {
    for (hosts, late) in [(2, false), (3, true)] {
        let mut memory = Memory::new();
        for (host, n) in (0..hosts).flat_map(|host| (0..WRITES_MAX as u64 - 1).map(move |n| (host, n))) {
            memory.answer(from(host, n as u32).at(10_000 + n, 0), sectors(8 * n, 8));
        }
        assert_eq!(memory.is_overtaken(from(9, 1).at(9_999, 1), sectors(1 << 30, 1)), late, "{hosts} hosts");
    }
}

/// The order of tags is valid within the horizon, and only for what is remembered.
#[test]
fn an_older_tag_is_late_for_as_long_as_it_can_be_compared() {
    let mut umem = Memory::new();
    let now = linux(&mut umem, 1, 2_000);
    // 2,000 ticks of 4 ms: the first ones are beyond the horizon, and are not compared.
    assert!(umem.arrives_late(from(1, tag(1_500, 1_500)), sectors(8 * 1_501, 8)));
    assert!(!umem.arrives_late(from(1, tag(100, 100)), sectors(8 * 101, 8)));
    // Enough at once for the ring to wrap within the horizon: nothing can be decided.
    for n in 0..WRITES_MAX as u32 + 10 {
        umem.answer(from(1, tag(now + n, now)), sectors(1 << 20, 1));
    }
    assert!(umem.arrives_late(from(1, tag(now - 1, now - 1)), sectors(1 << 30, 1)));
}

/// A host with two interfaces sends over both in one order: an old write over one is late
/// after a newer one over the other.
#[test]
fn two_addresses_of_one_host_are_judged_together() {
    let mut umem = Memory::new();
    for n in 0..100 {
        umem.now_ns += SECOND / 250;
        umem.answer(from(1 + (n % 2) as u8, tag(n, n)), sectors(8 * u64::from(n), 8));
    }
    umem.answer(from(1, tag(101, 100)), sectors(8, 8));
    assert!(umem.arrives_late(from(2, tag(100, 100)), sectors(8, 8)));
    // One of them boots: both are reset.
    umem.now_ns += SECOND;
    umem.identify(from(2, tag(1, 99)));
    assert!(!umem.arrives_late(from(1, tag(99, 100)), sectors(8, 8)));
}

/// Under load a worker takes a batch from one lane, then one from the other.
#[test]
fn two_addresses_are_joined_when_their_requests_come_in_batches() {
    for batch in [1, 2, 7, 32, 64] {
        let mut umem = Memory::new();
        for round in 0..20 {
            umem.now_ns += SECOND / 250;
            for lane in 0..2 {
                for n in 0..batch {
                    let counter = 2 * (round * batch + n) + lane;
                    umem.observe(from(1 + lane as u8, tag(counter, round)));
                }
            }
        }
        if 20 * 2 * batch < 64 {
            continue;
        }
        let hosts: Vec<usize> = umem.answered.sources.iter().take(2).map(|s| s.host).collect();
        assert_eq!(hosts[0], hosts[1], "batches of {batch}");
    }
}

/// In between there may be another, whose requests fit nothing.
#[test]
fn strangers_do_not_keep_two_addresses_apart() {
    let mut memory = Memory::new();
    for n in 0..200 {
        memory.now_ns += SECOND / 250;
        memory.observe(from(1 + (n % 2) as u8, tag(n, n)));
        if n > 1 {
            memory.observe(from(3, tag(n, 30_000 * (n % 2))));
        }
    }
    assert_eq!(hosts(&memory)[0], hosts(&memory)[1]);
}

/// A tag that is in no order with those before may be of another host.
#[test]
fn two_addresses_are_judged_apart_after_a_misfit() {
    let mut memory = Memory::new();
    for n in 0..100 {
        memory.now_ns += SECOND / 250;
        memory.observe(from(1 + (n % 2) as u8, tag(n, n)));
    }
    let leader = hosts(&memory)[0];
    assert_eq!(hosts(&memory)[1], leader);
    memory.observe(from(1, tag(20_000, 40_000)));
    assert_eq!(hosts(&memory), [0, 1]);
    let order = memory.answered.sources[1 - leader].order;
    assert!(!order.is_believed(), "what it had before they were joined is long ago");
}

/// Two addresses of one host read in runs: each of their requests says that they are one.
#[test]
fn runs_of_reads_do_not_keep_two_addresses_apart() {
    let mut memory = Memory::new();
    for n in 0..400 {
        memory.now_ns += SECOND / 1_000;
        let host = 1 + (n / 4 % 2) as u8;
        memory.with(from(host, tag(n, n)), |answered, inbound, now_ns| {
            answered.observe(inbound, Observed::Read, now_ns)
        });
    }
    assert_eq!(hosts(&memory)[0], hosts(&memory)[1]);
}

/// The firmware of a host counts differently from the Linux that it boots.
#[test]
fn a_host_is_known_again_after_it_has_booted() {
    let mut umem = Memory::new();
    for n in 0..200 {
        umem.observe(from(1, 0x18ae_0000 + n));
    }
    assert_eq!(umem.answered.settled, Some(Mac([2, 0, 0, 0, 0, 1])), "no Linux host");
    umem.now_ns += 2 * SECOND;
    umem.identify(from(1, tag(1, 1)));
    for n in 2..40 {
        umem.observe(from(1, tag(n, n)));
    }
    umem.answer(from(1, tag(42, 41)), sectors(8, 8));
    assert!(umem.arrives_late(from(1, tag(41, 41)), sectors(8, 8)));
}

/// Each pause of a target leaves a late request behind, and there may be many pauses
/// before two addresses have taken many turns.
#[test]
fn late_requests_do_not_keep_two_addresses_apart() {
    let mut umem = Memory::new();
    let mut counter = 0;
    let mut next = || {
        counter += 1;
        tag(counter, counter)
    };
    for _ in 0..10 {
        umem.now_ns += SECOND / 250;
        let (a, b, held_back, c, d) = (next(), next(), next(), next(), next());
        for (host, tag) in [(1, a), (2, b), (1, c), (2, d), (2, held_back)] {
            umem.observe(from(host, tag));
        }
    }
    let hosts: Vec<usize> = umem.answered.sources.iter().take(2).map(|s| s.host).collect();
    assert_eq!(hosts[0], hosts[1]);
    let (old, new) = (next(), next());
    umem.answer(from(1, new), sectors(8, 8));
    assert!(umem.arrives_late(from(2, old), sectors(8, 8)));
}

/// A host that has only read is known when it first writes; but readers take no entries
/// from writers.
#[test]
fn a_host_is_known_by_what_it_reads() {
    let mut umem = Memory::new();
    for n in 0..40 {
        umem.observe(from(1, tag(n, n)));
    }
    umem.answer(from(1, tag(42, 41)), sectors(8, 8));
    assert!(umem.arrives_late(from(1, tag(41, 41)), sectors(8, 8)));
    for host in 2..100 {
        umem.observe(from(host, tag(1, 1)));
    }
    umem.write(from(200, 1), b'A');
    assert_eq!(umem.find(from(200, 1), b'A'), Found::Copy(OK), "it took the place of a reader");
    assert!(umem.arrives_late(from(1, tag(41, 41)), sectors(8, 8)), "and not that of a writer");
}

/// A host that wants to be judged together with another continues that one's order, and
/// then goes back with a tag that fits no order.
#[test]
fn a_host_cannot_join_another_by_going_back() {
    let mut umem = Memory::new();
    umem.answer(from(2, tag(1, 1)), sectors(1 << 20, 1));
    let now = linux(&mut umem, 1, 100);
    for n in now..now + 100 {
        umem.answer(from(1, tag(n, n)), sectors(8, 8));
        for (counter, clock) in [(n + 100, n), (n, n), (n + 100, n + 30_000), (n, n)] {
            umem.observe(from(2, tag(counter, clock)));
        }
        let hosts: Vec<usize> = umem.answered.sources.iter().take(2).map(|s| s.host).collect();
        assert_eq!(hosts, [0, 1], "request {n}");
    }
}

/// Two hosts remain two hosts, even if their counters happen to be close.
#[test]
fn two_hosts_are_not_judged_together() {
    for offset in [0, 1, 50, 5_000, 32_767] {
        let mut umem = Memory::new();
        for n in 0..1_000u32 {
            umem.now_ns += SECOND / 250;
            // The first sends two for one of the second.
            umem.answer(from(1, tag(2 * n, n)), sectors(16, 8));
            umem.answer(from(1, tag(2 * n + 1, n)), sectors(16, 8));
            umem.answer(from(2, tag(n + offset, n)), sectors(16, 8));
            let hosts: Vec<usize> = umem.answered.sources.iter().take(2).map(|s| s.host).collect();
            assert_eq!(hosts, [0, 1], "offset {offset}, request {n}");
        }
    }
}

/// Two hosts behind one address, of which one has a clock that is behind and writes less:
/// its writes are late repeatedly until the address is recognized as shared, which takes
/// no longer than recovering from a lost path.
#[test]
fn a_host_that_shares_its_address_is_not_locked_out() {
    for (hz, lag, each_second) in [(1000, 2_000, 3_000), (250, 1_000, 3_000), (1000, 3_900, 20_000)] {
        let mut umem = Memory::new();
        let start_ns = umem.now_ns;
        let mut last_done_ns = 0;
        for n in 0..each_second * 20 {
            let since_ns = u64::from(n) * SECOND / u64::from(each_second);
            umem.now_ns = start_ns + since_ns;
            let clock = (since_ns * hz / SECOND) as u32;
            umem.answer(from(1, tag(n, clock + lag)), sectors(1_000 + 8 * u64::from(n), 8));
            if n % (each_second / 10) == 0 {
                let second = from(1, tag(7_000 + n / (each_second / 10), clock));
                if !umem.arrives_late(second, sectors(8, 8)) {
                    umem.answer(second, sectors(8, 8));
                    last_done_ns = since_ns;
                }
                assert!(since_ns - last_done_ns < 2 * SECOND, "{hz} Hz, lag {lag}, after {since_ns} ns");
            }
        }
    }
}

#[test]
fn the_last_arrivals_of_other_workers_are_known() {
    let mut latest = LatestArrivals::default();
    let mut all = Vec::new();
    for (ns, worker) in [(5, 1), (3, 2), (9, 1), (7, 3), (11, 2), (10, 1), (12, 2), (2, 4)] {
        latest.add(Arrival { earliest_ns: 0, latest_ns: ns, worker });
        all.push((ns, worker));
        for worker in 0..6 {
            let expected = all.iter().filter(|(_, w)| *w != worker).map(|(ns, _)| *ns).max().unwrap_or(0);
            assert_eq!(latest.beside(worker), expected, "{all:?}, beside {worker}");
        }
    }
}
