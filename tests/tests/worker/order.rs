//! The order of one host's writes over several lanes, of one worker and of two.
//!
//! Linux resends a write over another interface if a reply is late. If the first copy is
//! still waiting on its lane after the second has been acknowledged and newer data has
//! been written, executing it would bring the old data back.

use std::cell::{Cell, RefCell};

use xblade::worker::Clock;
use xblade_sim::FakeStore;
use xblade_sim::store::Order;
use xblade_tests::frame::Ask;
use xblade_tests::{FakeTarget, pattern};

use crate::channels::{on_lane, pair};
use crate::{DISK, SECOND, read, release_all, store, target, write};

/// A backlog of several batches on lane 0 with the write at its end, the resend on lane
/// 1, and the newer write as soon as the resend is acknowledged.
#[test]
fn a_write_that_waits_does_not_overwrite_a_newer_one() {
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    for backlog in [0u64, 1, 63, 64, 130, 250] {
        let store = store(Order::Submitted, 256);
        let mut target = target(&store, |plan| {
            (plan.lanes, plan.ring, plan.chunks) = (vec![0, 0], 512, 2048);
        });
        for at in 0..backlog {
            assert!(target.deliver(0, &write(DISK, at as u32, 8 + at % 32, &pattern(3, at, 1)).bytes()));
        }
        assert!(target.deliver(0, &write(DISK, 1000, 0, &old).bytes()));
        assert!(target.deliver(1, &on_lane(1, write(DISK, 1001, 0, &old)).bytes()));
        let mut acknowledged = false;
        for _ in 0..20 {
            target.round();
            if !acknowledged && !target.sent(1).is_empty() {
                acknowledged = true;
                assert!(target.deliver(1, &on_lane(1, write(DISK, 1002, 0, &new)).bytes()));
            }
        }
        target.settle();
        assert!(acknowledged, "the resend was answered");
        assert_eq!(&store.bytes()[..512], &new[..], "backlog {backlog}");
        target.sent(0);
        target.sent(1);
        let ask = read(DISK, 1003, 0, 1);
        assert_eq!(&target.channels(0, &ask.bytes())[0][36..], &new[..]);
        target.assert_at_rest();
    }
}

/// The race between two workers: an old write waits on the lane of a worker that is not
/// scheduled. Its resend and a newer write arrive on the lane of the other worker, which
/// owns the export.
struct Race {
    target: FakeTarget,
    store: FakeStore,
    stamped: bool,
    now_ns: u64,
}

impl Race {
    fn new(order: Order, stamped: bool) -> Self {
        let (target, [_, store]) = pair(order);
        let mut race = Self { target, store, stamped, now_ns: 0 };
        // Both workers have had a turn.
        race.pass(1_000_000_000);
        race.target.round();
        race
    }

    fn pass(&mut self, ns: u64) {
        self.now_ns += ns;
        self.target.clock.0.set(self.now_ns);
    }

    /// Delivers a write to [`SECOND`] now.
    fn deliver(&mut self, lane: usize, ask: &Ask) {
        let arrived_ns = self.stamped.then_some(self.now_ns);
        assert!(self.target.deliver_at(lane, &on_lane(lane as u8, ask.clone()).bytes(), arrived_ns));
        self.pass(10_000);
    }

    /// Runs only the worker that owns the export.
    fn owner_runs(&mut self) {
        for _ in 0..4 {
            self.pass(1_000);
            self.target.workers[1].turn(&self.target.clock);
        }
    }

    fn both_run(&mut self) {
        self.pass(1_000);
        self.target.settle();
    }

    fn late(&self) -> u64 {
        self.target.count(|c| c.late_writes)
    }

    fn sector(&self) -> Vec<u8> {
        self.store.bytes()[..512].to_vec()
    }
}

/// For short and long pauses, with and without stamps.
#[test]
pub fn a_write_that_waited_at_another_worker_does_not_overwrite_a_newer_one() {
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    for (waited_ns, stamped) in [1_000, 1_000_000, 49_000_000, 60_000_000, 5_000_000_000]
        .into_iter()
        .flat_map(|ns| [(ns, true), (ns, false)])
    {
        let mut race = Race::new(Order::Submitted, stamped);
        race.deliver(0, &write(SECOND, 1, 0, &old));
        race.pass(waited_ns);
        race.deliver(1, &write(SECOND, 2, 0, &old));
        race.owner_runs();
        assert_eq!(race.target.sent(1).len(), 1, "the resend is answered");
        race.deliver(1, &write(SECOND, 3, 0, &new));
        race.owner_runs();
        assert_eq!(race.target.sent(1).len(), 1, "so is the newer write");
        race.both_run();
        assert_eq!(race.sector(), new, "after {waited_ns} ns, stamped: {stamped}");
        assert_eq!(race.target.sent(0), [] as [Vec<u8>; 0], "the old one gets no answer");
        assert_eq!(race.late(), 1);
        // The host resends it, if it still waits for it: that is a newer write.
        race.deliver(0, &write(SECOND, 4, 0, &old));
        race.both_run();
        assert_eq!((race.target.sent(0).len(), race.sector()), (1, old.clone()));
        race.target.assert_at_rest();
    }
}

/// What a worker's own rounds take is in order, and needs no proof that it arrived after
/// what another worker handed over before the round.
#[test]
fn a_backlog_of_the_owner_is_not_late() {
    let mut race = Race::new(Order::Submitted, false);
    race.owner_runs();
    race.deliver(0, &write(SECOND, 1, 0, &pattern(1, 0, 1)));
    race.target.workers[0].turn(&race.target.clock);
    for tag in 2..=101 {
        race.deliver(1, &write(SECOND, tag, 8, &pattern(tag as u8, 8, 1)));
    }
    let last = pattern(2, 0, 1);
    race.deliver(1, &write(SECOND, 102, 0, &last));
    race.both_run();
    assert_eq!((race.late(), race.sector()), (0, last));
    assert_eq!((race.target.sent(0).len(), race.target.sent(1).len()), (1, 101));
    race.target.assert_at_rest();
}

/// All that had been handed over when a round began is of it, in however many turns.
#[test]
fn a_backlog_of_jobs_is_done_before_what_comes_later() {
    let mut race = Race::new(Order::Submitted, false);
    race.owner_runs();
    for tag in 1..=100 {
        race.deliver(0, &write(SECOND, tag, 8, &pattern(tag as u8, 8, 1)));
    }
    race.deliver(0, &write(SECOND, 101, 0, &pattern(1, 0, 1)));
    for worker in [0, 0, 1] {
        race.target.workers[worker].turn(&race.target.clock);
    }
    let last = pattern(2, 0, 1);
    race.deliver(1, &write(SECOND, 102, 0, &last));
    race.both_run();
    assert_eq!((race.late(), race.sector()), (0, last));
    assert_eq!((race.target.sent(0).len(), race.target.sent(1).len()), (101, 1));
    race.target.assert_at_rest();
}

/// A write that waited for long is executed if nothing newer has been answered.
#[test]
fn a_write_that_waited_alone_is_executed() {
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    for stamped in [true, false] {
        let mut race = Race::new(Order::Submitted, stamped);
        race.deliver(0, &write(SECOND, 1, 0, &old));
        race.pass(5_000_000_000);
        race.deliver(1, &write(SECOND, 2, 40, &new));
        race.owner_runs();
        race.both_run();
        assert_eq!((race.sector(), race.late()), (old.clone(), 0), "stamped: {stamped}");
        assert_eq!((race.target.sent(0).len(), race.target.sent(1).len()), (1, 1));
        race.target.assert_at_rest();
    }
}

/// Two writes on one lane of a worker that hands them over: their order is known.
#[test]
fn writes_over_one_lane_are_not_late_after_each_other() {
    for stamped in [true, false] {
        let mut race = Race::new(Order::Submitted, stamped);
        for tag in 1..=200 {
            race.deliver(0, &write(SECOND, tag, 0, &pattern(tag as u8, 0, 1)));
            if tag % 7 == 0 {
                race.both_run();
            }
        }
        race.both_run();
        assert_eq!((race.sector(), race.late()), (pattern(200, 0, 1), 0), "stamped: {stamped}");
        assert_eq!(race.target.sent(0).len(), 200);
        race.target.assert_at_rest();
    }
}

/// The newer write is still in flight when the old one arrives. The old one waits for it,
/// and is late once the newer has been answered.
#[test]
pub fn a_write_that_waits_for_a_newer_one_is_late_afterwards() {
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    for stamped in [true, false] {
        let mut race = Race::new(Order::Manual, stamped);
        race.deliver(0, &write(SECOND, 1, 0, &old));
        race.deliver(1, &write(SECOND, 3, 0, &new));
        race.owner_runs();
        race.both_run();
        assert_eq!(race.target.count(|c| c.waited), 1, "the old one waits for the new one");
        release_all(&race.store);
        race.both_run();
        assert_eq!((race.sector(), race.late()), (new.clone(), 1), "stamped: {stamped}");
        assert!(race.store.pending().is_empty());
        race.target.assert_at_rest();
    }
}

/// A stamp in the future is ignored.
#[test]
fn a_stamp_from_the_future_is_not_believed() {
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    let mut race = Race::new(Order::Submitted, true);
    let ask = on_lane(0, write(SECOND, 1, 0, &old));
    assert!(race.target.deliver_at(0, &ask.bytes(), Some(u64::MAX / 2)));
    race.deliver(1, &write(SECOND, 2, 0, &old));
    race.owner_runs();
    race.deliver(1, &write(SECOND, 3, 0, &new));
    race.owner_runs();
    race.both_run();
    assert_eq!((race.sector(), race.late()), (new, 1));
}

/// The tag of a Linux host.
fn linux(counter: u32, clock: u32) -> u32 {
    (counter & 0x7fff) << 16 | clock & 0xffff
}

/// The network, or the ring of a NIC, delays a write; a single worker.
#[test]
pub fn a_write_that_the_network_delays_is_late_by_its_tag() {
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    target.clock.0.set(10_000_000_000);
    for n in 0..40 {
        let ask = write(DISK, linux(n, n), 64 + u64::from(n), &pattern(3, 0, 1));
        assert_eq!(target.channels(0, &ask.bytes()).len(), 1);
    }
    let held_back = write(DISK, linux(40, 40), 0, &old);
    for ask in [write(DISK, linux(41, 70), 0, &old), write(DISK, linux(42, 70), 0, &new)] {
        assert_eq!(target.channels(0, &ask.bytes()).len(), 1);
    }
    assert_eq!(target.channels(0, &held_back.bytes()), [] as [Vec<u8>; 0]);
    assert_eq!(store.bytes()[..512], new[..]);
    assert_eq!(target.count(|c| c.late_writes), 1);
    // Delayed as well, but harmless: nothing newer was written there.
    let harmless = write(DISK, linux(39, 40), 300, &old);
    assert_eq!(target.channels(0, &harmless.bytes()).len(), 1);
    target.assert_at_rest();
}

/// A clock that shows a pause of the worker when it is read for the second time; during
/// the pause a frame arrives.
struct Interrupted<'a> {
    reads: Cell<u64>,
    arrives: &'a dyn Fn(),
}

impl Clock for Interrupted<'_> {
    fn now_ns(&self) -> u64 {
        let reads = self.reads.get() + 1;
        self.reads.set(reads);
        if reads == 2 {
            (self.arrives)();
        }
        if reads < 2 { 1_000_000_000 } else { 1_005_000_000 }
    }
}

/// Otherwise the pass would include what arrived on a lane counted after the pause, but
/// not what arrived earlier on a lane counted before it.
#[test]
fn a_count_that_was_interrupted_is_taken_again() {
    for lanes in [2, 3] {
        let store = store(Order::Submitted, 64);
        let mut target = target(&store, |plan| plan.lanes = vec![0; lanes]);
        let write = |lane: usize| on_lane(lane as u8, write(DISK, lane as u32, 0, &pattern(1, 0, 1)));
        let mut workers = std::mem::take(&mut target.workers);
        let arrives = || {
            for lane in 0..lanes {
                assert!(target.deliver(lane, &write(lane).bytes()));
            }
        };
        let clock = Interrupted { reads: Cell::new(0), arrives: &arrives };
        workers[0].turn(&clock);
        let reads = clock.reads.get();
        workers[0].turn(&clock);
        assert_eq!(clock.reads.get() - reads, 2, "one that was not interrupted is not");
        target.workers = workers;
        for lane in 0..lanes {
            assert_eq!(target.sent(lane).len(), 1, "all are of this round");
        }
        target.assert_at_rest();
    }
}

/// What another worker hands over while a round goes on waits for the next one.
#[test]
fn what_is_handed_over_in_a_round_belongs_to_the_next() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |plan| (plan.lanes, plan.workers) = (vec![0, 1], 2));
    let asks = [write(DISK, 1, 0, &pattern(1, 0, 1)), on_lane(1, write(DISK, 2, 8, &pattern(1, 8, 1)))];
    for (lane, ask) in asks.iter().enumerate() {
        assert!(target.deliver(lane, &ask.bytes()));
    }
    let mut workers = std::mem::take(&mut target.workers);
    let other = RefCell::new(workers.pop().unwrap());
    let hands_over = || assert_eq!(other.borrow_mut().turn(&target.clock), 1);
    let clock = Interrupted { reads: Cell::new(0), arrives: &hands_over };
    workers[0].turn(&clock);
    assert_eq!(store.submitted().len(), 1, "its own");
    workers[0].turn(&clock);
    assert_eq!(store.submitted().len(), 2);
    workers.push(other.into_inner());
    target.workers = workers;
    target.settle();
    assert_eq!((target.sent(0).len(), target.sent(1).len()), (1, 1));
    target.assert_at_rest();
}
