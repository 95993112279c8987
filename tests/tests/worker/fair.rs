//! Hosts share a worker: none takes it, or anything that it needs, from the others.

use std::collections::HashMap;

use xblade::wire::DropReason;
use xblade::worker::Sharing;
use xblade_sim::store::Order;
use xblade_tests::frame::{Ask, QUERY, SHELF_ANY, SLOT_ANY, query};
use xblade_tests::{ExportPlan, FakeTarget, HOST, Mac, Plan, Target as _, pattern};

use crate::channels::on_lane;
use crate::{DISK, good, read, release_all, store, target, write};

const FLOOD: Mac = [2, 0xbd, 0, 0, 0, 1];

/// A target that knows two hosts.
fn crowded(mut target: FakeTarget) -> FakeTarget {
    target.clock.0.set(1_000_000_000);
    for host in [FLOOD, HOST] {
        target.enter_host(host);
        assert_eq!(target.channels(0, &read(DISK, 1, 0, 1).from(host).bytes()).len(), 1);
    }
    target
}

/// The number of rounds until this reply has been sent, and of other replies before it.
fn rounds_until(target: &mut FakeTarget, reply: &[u8]) -> (usize, usize) {
    let mut others = 0;
    for round in 1..1_000 {
        target.round();
        let sent = target.sent(0);
        others += sent.iter().filter(|frame| *frame != reply).count();
        if sent.iter().any(|frame| frame == reply) {
            return (round, others);
        }
    }
    panic!("no reply");
}

#[test]
fn a_flood_does_not_hold_up_another_host() {
    let store = store(Order::Submitted, 256);
    let target = target(&store, |plan| (plan.ring, plan.chunks) = (1024, 4096));
    let mut target = crowded(target);
    for tag in 0..900 {
        assert!(target.deliver(0, &read(DISK, 100 + tag, 0, 1).from(FLOOD).bytes()));
    }
    let ask = read(DISK, 7, 8, 1);
    assert!(target.deliver(0, &ask.bytes()));
    // In order, it would come after 900 others.
    let (rounds, before) = rounds_until(&mut target, &good(&ask, &[0; 512]));
    assert!(rounds <= 5 && before <= 5 * 64, "{rounds} rounds, {before} others before it");
    target.settle();
    let after = target.sent(0).len();
    let dropped = target.count(|counters| counters.over_share) as usize;
    assert_eq!(before + after + dropped, 900, "each is answered or counted");
    assert!(dropped > 0, "half of what may be held is left to others");
    target.assert_at_rest();
}

/// The same if each host has a lane of its own: one of two queues, or of two interfaces.
#[test]
fn a_flood_on_one_lane_does_not_hold_up_another() {
    let store = store(Order::Submitted, 256);
    let mut target = target(&store, |plan| {
        (plan.lanes, plan.ring, plan.chunks) = (vec![0, 0], 1024, 4096);
    });
    target.clock.0.set(1_000_000_000);
    target.enter_host(FLOOD);
    target.enter_host(HOST);
    let flood = |target: &FakeTarget| {
        for tag in 0..900 {
            assert!(target.deliver(0, &read(DISK, 100 + tag, 0, 1).from(FLOOD).bytes()));
        }
    };
    // Both lanes have something waiting when a pass begins.
    flood(&target);
    assert!(target.deliver(1, &on_lane(1, read(DISK, 7, 8, 1)).bytes()));
    target.settle();
    target.sent(1);
    // The next request arrives when a pass has begun.
    flood(&target);
    target.round();
    let ask = on_lane(1, read(DISK, 8, 8, 1));
    assert!(target.deliver(1, &ask.bytes()));
    let mut rounds = 0;
    while target.sent(1) != [good(&ask, &[0; 512])] {
        target.round();
        rounds += 1;
        assert!(rounds <= 5, "it waits for the pass to end");
    }
    target.settle();
    target.assert_at_rest();
}

#[test]
fn a_host_alone_is_served_in_order_and_gets_everything() {
    for lanes in [vec![0], vec![0, 0]] {
        let store = store(Order::Submitted, 256);
        let mut target =
            target(&store, |plan| (plan.lanes, plan.ring, plan.chunks) = (lanes.clone(), 1024, 4096));
        target.clock.0.set(1_000_000_000);
        target.enter_host(HOST);
        // More than may be held of one host.
        let asks: Vec<_> = (0..3_000).map(|tag| read(DISK, tag, u64::from(tag % 512), 1)).collect();
        let mut sent = Vec::new();
        for ask in &asks {
            while !target.deliver(0, &ask.bytes()) {
                target.round();
                sent.extend(target.sent(0));
            }
        }
        target.settle();
        sent.extend(target.sent(0));
        let expected: Vec<_> = asks.iter().map(|ask| good(ask, &[0; 512])).collect();
        assert!(sent == expected, "{} of 3,000 replies, or in another order", sent.len());
        target.assert_at_rest();
    }
}

/// A store that completes nothing, and reads of the longest kind: the chunks are used up
/// first.
#[test]
fn a_host_leaves_chunks_to_others() {
    let store = store(Order::Manual, 4096);
    let target = target(&store, |plan| {
        (plan.ring, plan.chunks, plan.in_flight) = (1024, 2048, 1024);
    });
    target.enter_host(FLOOD);
    target.enter_host(HOST);
    let mut target = target;
    target.clock.0.set(1_000_000_000);
    for tag in 0..2_000 {
        target.deliver(0, &read(DISK, tag, 0, 16).from(FLOOD).bytes());
        target.round();
    }
    let before = store.pending().len();
    let ask = read(DISK, 7, 8, 16);
    assert!(target.deliver(0, &ask.bytes()));
    target.settle();
    assert_eq!(target.count(|counters| counters.no_chunks), 0, "requests wait instead");
    assert!(store.pending().len() > before, "{before}: no chunk is left for another host");
    for _ in 0..100 {
        release_all(&store);
        target.settle();
    }
    assert!(target.sent(0).contains(&good(&ask, &[0; 16 * 512])));
    target.assert_at_rest();
}

/// Writes to one sector, which run one at a time, and those of another host to another one.
#[test]
fn a_host_leaves_entries_of_an_export_to_others() {
    let store = store(Order::Manual, 64);
    let mut target = crowded_manual(&store);
    for tag in 0..40 {
        let data = pattern(tag as u8, 0, 1);
        assert!(target.deliver(0, &write(DISK, 100 + tag, 0, &data).from(FLOOD).bytes()));
    }
    target.settle();
    assert_eq!(target.count(|counters| counters.slab_full), 40 - 8, "as many as one host may have");
    let asks: Vec<_> = (0..4).map(|n| write(DISK, n, 8 + u64::from(n), &pattern(9, 0, 1))).collect();
    asks.iter().for_each(|ask| assert!(target.deliver(0, &ask.bytes())));
    target.settle();
    assert_eq!(target.count(|counters| counters.slab_full), 40 - 8);
    for _ in 0..20 {
        release_all(&store);
        target.settle();
    }
    assert_eq!(target.sent(0).len(), 8 + 4);
    target.assert_at_rest();
}

fn crowded_manual(store: &xblade_sim::FakeStore) -> FakeTarget {
    let target = target(store, |plan| plan.in_flight = 8);
    target.clock.0.set(1_000_000_000);
    target.enter_host(FLOOD);
    target.enter_host(HOST);
    target
}

/// A flood from addresses that come once each, while a host that is known reads.
#[test]
fn addresses_without_number_share_one_place() {
    let store = store(Order::Submitted, 256);
    let target = target(&store, |plan| (plan.ring, plan.chunks) = (1024, 4096));
    let mut target = crowded(target);
    for tag in 0..900_u32 {
        let [_, _, high, low] = tag.to_be_bytes();
        let ask = read(DISK, tag, 0, 1).from([2, 0xbe, 0, 0, high, low]);
        assert!(target.deliver(0, &ask.bytes()));
    }
    let ask = read(DISK, 7, 8, 1);
    assert!(target.deliver(0, &ask.bytes()));
    let (rounds, before) = rounds_until(&mut target, &good(&ask, &[0; 512]));
    assert!(rounds <= 5 && before <= 5 * 64, "{rounds} rounds, {before} others before it");
    target.assert_at_rest();
}

#[test]
fn a_broadcast_goes_on_in_later_turns() {
    let exports = (0..200).map(|slot| ExportPlan::new((1, slot), store(Order::Submitted, 4))).collect();
    let target = FakeTarget::new(Plan { ring: 512, chunks: 4096, ..Plan::new(exports) });
    let mut target = crowded(target);
    for tag in 0..400 {
        let ask = Ask { tag, ..Ask::new((SHELF_ANY, SLOT_ANY), QUERY, query(0, b"")) };
        assert!(target.deliver(0, &ask.from(FLOOD).broadcast().bytes()));
    }
    let ask = read(DISK, 7, 8, 1);
    assert!(target.deliver(0, &ask.bytes()));
    let (rounds, before) = rounds_until(&mut target, &good(&ask, &[0; 512]));
    assert!(rounds <= 10 && before <= 100, "{rounds} rounds, {before} others before it");
    for _ in 0..1_000 {
        target.round();
        let sent = target.sent(0).len();
        assert!(sent <= 8, "{sent} replies to broadcasts in a turn");
    }
    target.settle();
    let refused = target.count(|counters| counters.over_share);
    assert_eq!(refused, 400 - 4, "those under way, of one host");
    // Later, each export answers a broadcast once.
    target.sent(0);
    let ask = Ask { tag: 9_999, ..Ask::new((SHELF_ANY, SLOT_ANY), QUERY, query(0, b"")) };
    let mut replies: HashMap<[u8; 3], usize> = HashMap::new();
    for reply in target.channels(0, &ask.broadcast().bytes()) {
        *replies.entry(reply[16..19].try_into().unwrap()).or_default() += 1;
    }
    assert!(replies.len() == 200 && replies.values().all(|count| *count == 1), "{replies:?}");
    target.assert_at_rest();
}

/// Such a request looks at some exports in each turn.
#[test]
fn a_request_to_no_export_of_many_is_counted() {
    let exports = (0..200).map(|slot| ExportPlan::new((1, slot), store(Order::Submitted, 4))).collect();
    let mut target = crowded(FakeTarget::new(Plan { chunks: 4096, ..Plan::new(exports) }));
    let ask = |slot, tag| Ask { tag, ..Ask::new((SHELF_ANY, slot), QUERY, query(0, b"")) }.broadcast();
    assert_eq!(target.channels(0, &ask(199, 1).bytes()).len(), 1);
    assert_eq!(target.drops().unwrap()[DropReason::Address as usize], 0);
    assert_eq!(target.channels(0, &ask(200, 2).bytes()).len(), 0);
    assert_eq!(target.drops().unwrap()[DropReason::Address as usize], 1);
    target.assert_at_rest();
}

/// Hosts that are not in the table have more requests to several exports under way than one
/// that is, but not one each.
#[test]
fn unknown_hosts_share_broadcasts() {
    let exports = (0..20).map(|slot| ExportPlan::new((1, slot), store(Order::Submitted, 4))).collect();
    let target = FakeTarget::new(Plan { ring: 512, chunks: 4096, ..Plan::new(exports) });
    let mut target = crowded(target);
    for tag in 0..100_u8 {
        let ask = Ask::new((SHELF_ANY, SLOT_ANY), QUERY, query(0, b"")).from([2, 0xbe, 0, 0, 0, tag]);
        assert!(target.deliver(0, &ask.broadcast().bytes()));
    }
    target.settle();
    assert_eq!(target.count(|counters| counters.over_share), 100 - 16);
    assert_eq!(target.sent(0).len(), 16 * 20);
    target.assert_at_rest();
}

/// An old write is held behind others on one lane. Its resend on another lane, with another
/// tag, is executed sooner, and so is a newer write.
#[test]
pub fn a_held_write_does_not_overwrite_a_newer_one() {
    let store = store(Order::Submitted, 256);
    let (old, new) = (pattern(1, 0, 1), pattern(2, 0, 1));
    let mut target = target(&store, |plan| {
        (plan.lanes, plan.ring, plan.chunks) = (vec![0, 0], 512, 2048);
        plan.sharing = Sharing { in_order_max: 0, turn_max: 1 };
    });
    target.clock.0.set(1_000_000_000);
    target.enter_host(HOST);
    target.enter_host(FLOOD);
    let deliver = |target: &FakeTarget, lane: usize, ask: Ask| {
        let arrived_ns = Some(target.clock.0.get());
        assert!(target.deliver_at(lane, &on_lane(lane as u8, ask).bytes(), arrived_ns));
    };
    let round = |target: &mut FakeTarget| {
        target.clock.0.set(target.clock.0.get() + 1_000);
        target.round();
    };
    deliver(&target, 0, read(DISK, 1, 0, 1).from(FLOOD));
    for tag in 0..40 {
        deliver(&target, 0, read(DISK, 100 + tag, 64, 1));
    }
    deliver(&target, 0, write(DISK, 1_000, 0, &old));
    round(&mut target);
    deliver(&target, 1, write(DISK, 1_001, 0, &old));
    while target.sent(1).is_empty() {
        round(&mut target);
    }
    deliver(&target, 1, write(DISK, 1_002, 0, &new));
    while target.sent(1).is_empty() {
        round(&mut target);
    }
    assert!(target.workers[0].is_busy(), "the old one is still held");
    for _ in 0..200 {
        round(&mut target);
    }
    assert_eq!(&store.bytes()[..512], &new[..]);
    assert_eq!(target.count(|counters| counters.late_writes), 1);
    target.assert_at_rest();
}
