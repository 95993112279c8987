//! Several workers: each export has one owner, each frame one lane.

use xblade::wire::aoe::Address;
use xblade::wire::vlan::UNTAGGED;
use xblade::wire::{DropReason, ether};
use xblade_sim::FakeStore;
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, QUERY, SHELF_ANY, SLOT_ANY, ata, query, query_done};
use xblade_tests::{BROADCAST, ExportPlan, FakeTarget, HOST, OTHER_HOST, Plan, TARGET_MAC, pattern};

use crate::{DISK, SECOND, good, read, store, write};

/// Four lanes for two workers, which own one export each.
pub fn pair(order: Order) -> (FakeTarget, [FakeStore; 2]) {
    let stores = [store(order, 64), store(order, 64)];
    let exports = vec![
        ExportPlan::new(DISK, stores[0].clone()),
        ExportPlan::new(SECOND, stores[1].clone()).owned_by(1),
    ];
    let plan = Plan { lanes: vec![0, 1, 1, 0], workers: 2, ..Plan::new(exports) };
    (FakeTarget::new(plan), stores)
}

/// The same request as it would arrive on another lane.
pub fn on_lane(lane: u8, ask: Ask) -> Ask {
    let [a, b, c, d, e, f] = TARGET_MAC;
    Ask { dst: [a, b, c, d, e, f + lane], ..ask }
}

#[test]
fn a_reply_leaves_by_the_lane_of_its_request() {
    let (mut target, stores) = pair(Order::Submitted);
    for lane in 0..4u8 {
        for (index, to) in [DISK, SECOND].into_iter().enumerate() {
            let lba = u64::from(lane) * 16;
            let data = pattern(lane, index as u64, 16);
            let ask = on_lane(lane, write(to, 1, lba, &data));
            assert_eq!(target.channels(lane.into(), &ask.bytes()), [good(&ask, &[])]);
            assert_eq!(stores[index].bytes()[lba as usize * 512..][..8192], data, "in the store of {to:?}");
            let ask = on_lane(lane, read(to, 2, lba, 16));
            assert_eq!(target.channels(lane.into(), &ask.bytes()), [good(&ask, &data)]);
            for other in 0..4 {
                assert_eq!(target.sent(other), [] as [Vec<u8>; 0], "nothing on lane {other}");
            }
        }
    }
    assert_eq!(target.count(|counters| counters.handed_over), 8, "half of them");
    for worker in &target.workers {
        assert_eq!(worker.stats().counters.handed_over, 4);
    }
    target.assert_at_rest();
}

#[test]
fn a_frame_for_another_lane_is_not_answered() {
    let (mut target, _) = pair(Order::Submitted);
    let ask = on_lane(1, read(DISK, 1, 0, 1));
    assert_eq!(target.channels(0, &ask.bytes()), [] as [Vec<u8>; 0]);
    assert_eq!(target.dropped(DropReason::Destination), 1);
    target.assert_at_rest();
}

#[test]
fn a_broadcast_is_answered_by_every_owner_on_its_lane() {
    let (mut target, _) = pair(Order::Seeded(3));
    for lane in 0..4 {
        for (command, argument) in [(QUERY, query(0, b"")), (ATA, ata(0x24, 0, 16, &[]))] {
            let ask = on_lane(lane, Ask::new((SHELF_ANY, SLOT_ANY), command, argument));
            let mut expected: Vec<_> = [DISK, SECOND]
                .iter()
                .map(|from| match command {
                    QUERY => ask.reply(*from, &query_done(64, 16, 0, b"")),
                    _ => good(&Ask { shelf: from.0, slot: from.1, ..ask.clone() }, &[0; 8192]),
                })
                .collect();
            let mut replies = target.channels(lane.into(), &ask.bytes());
            replies.sort();
            expected.sort();
            assert_eq!(replies, expected, "lane {lane}");
        }
    }
    target.assert_at_rest();
}

#[test]
fn exports_are_announced_on_one_interface_to_those_who_are_to_hear() {
    let (mut target, _) = pair(Order::Submitted);
    let rows = [
        (0, vec![(DISK, BROADCAST), (SECOND, BROADCAST)]),
        (2, vec![(DISK, HOST), (DISK, OTHER_HOST), (SECOND, HOST)]),
        (1, vec![(SECOND, OTHER_HOST)]),
        (3, vec![]),
    ];
    for (lane, told) in rows {
        let worker = [0, 1, 1, 0][lane];
        let audience: Vec<_> = told
            .iter()
            .map(|((shelf, slot), to)| (Address { shelf: *shelf, slot: *slot }, ether::Mac(*to), UNTAGGED))
            .collect();
        target.workers[worker].announce(lane, &audience, &target.clock);
        target.settle();
        let announcement = |to: &[u8; 6], from: (u16, u8)| {
            let unsent = on_lane(lane as u8, Ask { tag: 0, ..Ask::new(from, QUERY, []) }.from(*to));
            unsent.reply(from, &query_done(64, 16, 0, b""))
        };
        let mut expected: Vec<_> = told.iter().map(|(from, to)| announcement(to, *from)).collect();
        let mut sent = target.sent(lane);
        sent.sort();
        expected.sort();
        assert_eq!(sent, expected, "lane {lane}");
        assert!((0..4).all(|other| target.sent(other).is_empty()), "and on no other");
    }
    target.assert_at_rest();
}

/// 4096 requests wait for a busy worker; more are dropped, and counted by the worker that
/// could not hand them over.
#[test]
fn a_full_channel_drops_and_counts() {
    let second = store(Order::Submitted, 256);
    let exports =
        vec![ExportPlan::new(DISK, store(Order::Submitted, 8)), ExportPlan::new(SECOND, second).owned_by(1)];
    let plan = Plan {
        lanes: vec![0, 1],
        workers: 2,
        chunks: 16384,
        chunk_bytes: 2048,
        in_flight: 256,
        ..Plan::new(exports)
    };
    let mut target = FakeTarget::new(plan);
    for tag in 0..4106 {
        assert!(target.deliver(0, &read(SECOND, tag, 0, 1).bytes()));
        target.workers[0].turn(&target.clock);
    }
    assert_eq!(target.count(|counters| counters.hand_over_full), 10);
    assert_eq!(target.count(|counters| counters.handed_over), 4096);
    assert!(target.workers[0].is_busy() && target.workers[1].is_busy());
    target.settle();
    let replies = target.sent(0);
    let expected: Vec<_> = (0..4096).map(|tag| good(&read(SECOND, tag, 0, 1), &[0; 512])).collect();
    assert!(replies == expected, "{} replies, the first 4096 in order", replies.len());
    target.assert_at_rest();
}
