//! Rate limits: requests over a limit wait, each limit is kept, and nothing else changes.

use std::collections::HashMap;
use std::sync::Arc;

use xblade::shelf::{HostRate, Rate, Rates, Settings};
use xblade::wire::ether;
use xblade::worker::WorkerCommand;
use xblade_sim::store::Order;
use xblade_tests::frame::{Ask, QUERY, query};
use xblade_tests::{ExportPlan, FakeTarget, HOST, Mac, Plan, pattern, settings};

use crate::{DISK, SECOND, good, read, store, write};

const OTHER: Mac = [2, 0xbe, 0, 0, 0, 1];
const SECOND_NS: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn iops(iops: u32) -> Rate {
    Rate { iops, bytes_per_second: 0, burst_ms: 10 }
}

fn of_export(export: Rate) -> Rates {
    Rates { export, ..Rates::default() }
}

/// Two exports, the first with these limits, that know two hosts.
fn limited(rates: [Rates; 2], change: impl FnOnce(&mut Plan)) -> FakeTarget {
    let exports = [DISK, SECOND].into_iter().zip(rates);
    let exports = exports.map(|(address, rates)| ExportPlan {
        rates,
        ..ExportPlan::new(address, store(Order::Submitted, 256))
    });
    let mut plan = Plan::new(exports.collect());
    (plan.ring, plan.chunks, plan.in_flight) = (512, 4096, 256);
    change(&mut plan);
    let target = FakeTarget::new(plan);
    target.clock.0.set(SECOND_NS);
    target.enter_host(HOST);
    target.enter_host(OTHER);
    target
}

/// Sends these at once, and lets time pass in steps of a millisecond. Returns the number of
/// replies to each host until each millisecond.
fn over_time(target: &mut FakeTarget, asks: &[Ask], ms: u64) -> Vec<HashMap<Mac, usize>> {
    asks.iter().for_each(|ask| assert!(target.deliver(0, &ask.bytes())));
    let mut counts: HashMap<Mac, usize> = HashMap::new();
    let mut after = Vec::new();
    for _ in 0..ms {
        for _ in 0..16 {
            target.round();
        }
        for reply in target.sent(0) {
            *counts.entry(reply[..6].try_into().unwrap()).or_default() += 1;
        }
        after.push(counts.clone());
        target.clock.0.set(target.clock.0.get() + MS);
    }
    after
}

fn reads(host: Mac, to: xblade_tests::Address, count: u32, sectors: u8) -> Vec<Ask> {
    (0..count).map(|tag| read(to, tag, u64::from(8 * tag % 504), sectors).from(host)).collect()
}

#[test]
fn requests_over_a_limit_wait_and_run_as_the_limit_allows() {
    let bytes = Rate { iops: 0, bytes_per_second: 2_000 * 4096, burst_ms: 10 };
    let (host, both) = (ether::Mac(HOST), [DISK, SECOND]);
    let certain =
        || Rates { hosts: [Arc::new(HostRate::new(iops(2_000), vec![host]))].into(), ..Rates::default() };
    let shared = certain();
    for (rates, to) in [
        ([of_export(iops(2_000)), Rates::default()], &both[..1]),
        ([of_export(bytes), Rates::default()], &both[..1]),
        ([Rates { each_host: iops(2_000), ..Rates::default() }, Rates::default()], &both[..1]),
        ([certain(), Rates::default()], &both[..1]),
        // One limit over two exports.
        ([shared.clone(), shared], &both[..]),
    ] {
        let name = format!("{rates:?}");
        let mut target = limited(rates, |_| {});
        let each = 200 / to.len() as u32;
        let asks: Vec<_> = to.iter().flat_map(|to| reads(HOST, *to, each, 8)).collect();
        let after = over_time(&mut target, &asks, 100);
        // A burst of 10 ms, then two each millisecond.
        for ms in [0, 10, 50, 80] {
            let (expected, found) = (20 + 2 * ms, after[ms].values().sum::<usize>());
            assert!(found.abs_diff(expected) <= 2, "{found} after {ms} ms, not {expected}: {name}");
        }
        assert_eq!(after[99][&HOST], 200, "none is lost: {name}");
        target.settle();
        target.assert_at_rest();
    }
}

#[test]
fn a_limit_of_a_host_leaves_the_others_alone() {
    let certain = HostRate::new(iops(100), vec![ether::Mac(HOST)]);
    let rates = Rates { hosts: [Arc::new(certain)].into(), ..Rates::default() };
    let mut target = limited([rates, Rates::default()], |_| {});
    let asks = [reads(HOST, DISK, 100, 1), reads(OTHER, DISK, 100, 1)].concat();
    let after = over_time(&mut target, &asks, 2);
    assert_eq!((after[1][&OTHER], after[1][&HOST]), (100, 2));
    // What it has asked another export is not limited.
    let after = over_time(&mut target, &reads(HOST, SECOND, 50, 1), 1);
    assert!(after[0][&HOST] >= 50, "{after:?}");
}

#[test]
fn hosts_take_turns_at_the_limit_of_an_export() {
    let mut target = limited([of_export(iops(1_000)), Rates::default()], |_| {});
    // One has much more waiting.
    let asks = [reads(HOST, DISK, 200, 1), reads(OTHER, DISK, 30, 1)].concat();
    let after = over_time(&mut target, &asks, 60);
    let gets = after[59][&OTHER];
    assert!((25..=30).contains(&gets), "{gets} of the 60 that ran");
}

/// None of the exports that share a limit of a host gets all of it.
#[test]
fn exports_share_the_limit_of_a_host() {
    let hosts = [HOST, OTHER];
    let certain = HostRate::new(iops(500), hosts.map(ether::Mac).to_vec());
    let rates = Rates { hosts: [Arc::new(certain)].into(), ..Rates::default() };
    let mut target = limited([rates.clone(), rates], |_| {});
    // A window of four for each host and export.
    let mut asks: Vec<_> =
        [DISK, SECOND].into_iter().flat_map(|to| hosts.map(|host| reads(host, to, 4, 1))).flatten().collect();
    let mut counts: HashMap<(Mac, u8), u32> = HashMap::new();
    for _ in 0..400 {
        asks.iter().for_each(|ask| assert!(target.deliver(0, &ask.bytes())));
        target.settle();
        asks.clear();
        for reply in target.sent(0) {
            let (host, slot): (Mac, u8) = (reply[..6].try_into().unwrap(), reply[18]);
            let count = counts.entry((host, slot)).or_default();
            *count += 1;
            asks.push(read((1, slot), 100 + *count, u64::from(*count), 1).from(host));
        }
        target.clock.0.set(target.clock.0.get() + MS);
    }
    // 200 in 400 ms, and a burst of 5, for each host.
    assert_eq!(counts.len(), 4);
    assert!(counts.values().all(|count| (95..=110).contains(count)), "{counts:?}");
}

/// The clock stands still during a turn.
#[test]
fn a_request_runs_when_its_time_has_come_and_not_before() {
    let mut target = limited([of_export(iops(100)), Rates::default()], |_| {});
    let begin_ns = target.clock.0.get();
    over_time(&mut target, &reads(HOST, DISK, 3, 1), 1);
    for (at_ns, replies) in [(begin_ns + 10 * MS - 1, 0), (begin_ns + 10 * MS, 1)] {
        target.clock.0.set(at_ns);
        target.settle();
        assert_eq!(target.sent(0).len(), replies);
    }
    let tally = target.workers[0].export(0).unwrap().tally;
    assert_eq!((tally.counters.limited, tally.counters.limited_ns), (1, 10 * MS));
}

/// A turn executes so many, and then others are first.
#[test]
fn what_may_run_at_once_takes_several_turns() {
    let mut target = limited([of_export(iops(10)), of_export(iops(10))], |_| {});
    let asks = [reads(HOST, DISK, 102, 1), reads(HOST, SECOND, 102, 1)].concat();
    let at_once = over_time(&mut target, &asks, 1)[0][&HOST];
    for (index, to) in [(0, DISK), (1, SECOND)] {
        target.order(WorkerCommand::Change(index, Box::new(settings(to))));
    }
    let mut slots: HashMap<u8, usize> = HashMap::new();
    for turn in 1..=4 {
        target.round();
        let sent = target.sent(0);
        assert_eq!(sent.len(), 64.min(204 - at_once - 64 * (turn - 1)), "turn {turn}");
        sent.iter().for_each(|reply| *slots.entry(reply[18]).or_default() += 1);
        assert!(turn != 2 || slots.values().all(|count| *count == 64), "{slots:?}");
    }
}

/// The limits count what the store does, not what is answered without it.
#[test]
fn queries_are_not_limited_and_advertise_a_smaller_window() {
    let mut target = limited([of_export(iops(100)), Rates::default()], |_| {});
    over_time(&mut target, &reads(HOST, DISK, 50, 1), 1);
    for (to, expected) in [(DISK, 2_u16), (SECOND, 64)] {
        let ask = Ask { tag: 9, ..Ask::new(to, QUERY, query(0, &[])) };
        let replies = target.channels(0, &ask.bytes());
        let count = replies.last().map(|reply| u16::from_be_bytes([reply[24], reply[25]]));
        assert_eq!(count, Some(expected), "{to:?}");
    }
}

/// A resend takes the place of the request that waits, so that it costs the host no more than
/// one of its turns.
#[test]
fn a_resend_replaces_the_request_that_waits() {
    let mut target = limited([of_export(iops(50)), Rates::default()], |_| {});
    let data = pattern(7, 0, 1);
    // The first uses up the burst.
    let asks = [read(DISK, 1, 0, 1), write(DISK, 2, 8, &data), read(DISK, 3, 16, 1)];
    let after = over_time(&mut target, &asks, 1);
    assert_eq!(after[0][&HOST], 1);
    target.clock.0.set(target.clock.0.get() + 5 * MS);
    // Too early to be a resend.
    assert!(over_time(&mut target, &[write(DISK, 4, 8, &data)], 1)[0].is_empty());
    let waits = |target: &FakeTarget| target.workers[0].export(0).unwrap().waiting;
    assert_eq!(waits(&target), 3);
    let mut target = limited([of_export(iops(10)), Rates::default()], |_| {});
    over_time(&mut target, &asks, 60);
    let resend = Ask { tag: 12, ..write(DISK, 2, 8, &data) };
    over_time(&mut target, std::slice::from_ref(&resend), 1);
    assert_eq!(waits(&target), 2, "the copy and the other read");
    assert_eq!(target.count(|counters| counters.limited_too_long), 1);
    let mut sent = Vec::new();
    for _ in 0..300 {
        target.clock.0.set(target.clock.0.get() + MS);
        target.settle();
        sent.extend(target.sent(0));
    }
    assert_eq!(sent, [good(&resend, &[]), good(&asks[2], &[0; 512])], "in their order, each once");
    target.settle();
    target.assert_at_rest();
}

/// Another host may have taken over by then. Also if no limit holds it up any more.
#[test]
fn a_request_that_has_waited_for_a_second_is_dropped() {
    for lifted in [false, true] {
        a_request_that_has_waited(lifted);
    }
}

fn a_request_that_has_waited(lifted: bool) {
    let mut target = limited([of_export(iops(10)), Rates::default()], |_| {});
    over_time(
        &mut target,
        &[reads(HOST, DISK, 1, 1), vec![write(DISK, 7, 64, &pattern(1, 0, 1))]].concat(),
        1,
    );
    // The process was stopped meanwhile.
    target.clock.0.set(target.clock.0.get() + 3 * SECOND_NS);
    if lifted {
        target.order(WorkerCommand::Change(0, Box::new(settings(DISK))));
    }
    target.settle();
    assert_eq!(target.sent(0), Vec::<Vec<u8>>::new());
    assert_eq!(target.count(|counters| counters.limited_too_long), 1);
    target.assert_at_rest();
}

/// What a flood has asked for does not count after it, though its limit is kept over several
/// exports.
#[test]
fn a_flood_takes_only_a_second_of_what_its_host_may() {
    let certain = HostRate::new(iops(100), vec![ether::Mac(HOST)]);
    let rates = Rates { hosts: [Arc::new(certain)].into(), ..Rates::default() };
    let mut target = limited([rates.clone(), rates], |_| {});
    for round in 0..100 {
        let asks = [DISK, SECOND].map(|to| reads(HOST, to, 50, 1)).concat();
        over_time(&mut target, &asks, 20);
        assert!(round < 50 || target.count(|counters| counters.over_share) > 1_000);
    }
    over_time(&mut target, &[], 1_100);
    let after = over_time(&mut target, &reads(HOST, DISK, 20, 1), 400);
    assert_eq!(after[399].get(&HOST), Some(&20));
}

/// A write that waited is not executed after a newer one of another host.
#[test]
fn a_write_that_waited_is_dropped_if_a_newer_one_was_answered() {
    let certain = HostRate::new(iops(10), vec![ether::Mac(HOST)]);
    let rates = Rates { hosts: [Arc::new(certain)].into(), ..Rates::default() };
    let mut target = limited([rates, Rates::default()], |_| {});
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    over_time(&mut target, &[read(DISK, 1, 0, 1), write(DISK, 2, 8, &old)], 1);
    let newer = write(DISK, 3, 8, &new).from(OTHER);
    assert_eq!(over_time(&mut target, std::slice::from_ref(&newer), 1)[0][&OTHER], 1);
    over_time(&mut target, &[], 200);
    assert_eq!(target.count(|counters| counters.late_writes), 1);
    let ask = read(DISK, 4, 8, 1).from(OTHER);
    assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &new)]);
}

/// Each command lets everything run, or most, and loses no request.
#[test]
fn changes_lose_nothing_that_waits() {
    let change = |rates: Rates| {
        let settings = Settings { rates, ..settings(DISK) };
        WorkerCommand::Change(0, Box::new(settings))
    };
    for rates in [Rates::default(), of_export(iops(1_000_000))] {
        let mut target = limited([of_export(iops(10)), Rates::default()], |_| {});
        over_time(&mut target, &reads(HOST, DISK, 200, 1), 1);
        target.order(change(rates));
        assert_eq!(over_time(&mut target, &[], 2)[1][&HOST], 199);
        target.settle();
        target.assert_at_rest();
    }
    // From no limit to one, and the same limit again, which does not start again.
    let mut target = limited([Rates::default(), Rates::default()], |_| {});
    for _ in 0..2 {
        target.order(change(of_export(iops(10))));
        over_time(&mut target, &reads(HOST, DISK, 20, 1), 1);
    }
    assert_eq!(target.workers[0].export(0).unwrap().waiting, 39);
    // The export leaves.
    let (to, from) = crossbeam_channel::bounded(1);
    target.order(WorkerCommand::Detach(0, to));
    assert_eq!(over_time(&mut target, &[], 1)[0][&HOST], 39);
    assert!(from.try_recv().is_ok());
    target.assert_at_rest();
}

#[test]
fn a_worker_that_ends_answers_what_waits() {
    let mut target = limited([of_export(iops(10)), Rates::default()], |_| {});
    over_time(&mut target, &reads(HOST, DISK, 200, 1), 1);
    for _ in 0..8 {
        target.workers[0].drain(&target.clock);
    }
    assert_eq!(target.sent(0).len(), 199);
    target.assert_at_rest();
}

/// A host that ignores the window does not push others out.
#[test]
fn a_host_leaves_room_to_wait_to_others() {
    let mut target =
        limited([of_export(iops(10)), Rates::default()], |plan| (plan.ring, plan.in_flight) = (1024, 64));
    over_time(&mut target, &[reads(HOST, DISK, 300, 1), reads(OTHER, DISK, 10, 1)].concat(), 1);
    assert!(target.count(|counters| counters.over_share) > 0);
    let waiting = target.workers[0].export(0).unwrap().waiting;
    assert!((64..128).contains(&waiting), "{waiting}");
    target.order(WorkerCommand::Change(0, Box::new(settings(DISK))));
    assert_eq!(over_time(&mut target, &[], 2)[1][&OTHER], 10);
}
