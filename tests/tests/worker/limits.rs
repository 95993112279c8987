//! A full resource drops a request, counts it, and loses nothing else.

use xblade_sim::store::Order;
use xblade_tests::frame::{QUERY, query};
use xblade_tests::{ExportPlan, FakeTarget, Plan};

use crate::{DISK, SECOND, good, read, release_all, store, target};

/// Sends ten reads, of which `room` are accepted; once all have completed, the next ten
/// fare the same.
fn holds(store: &xblade_sim::FakeStore, mut target: FakeTarget, room: usize) -> FakeTarget {
    for turn in 0..3 {
        let asks: Vec<_> = (0..10).map(|n| read(DISK, turn * 100 + n, u64::from(n), 1)).collect();
        for ask in &asks {
            assert!(target.deliver(0, &ask.bytes()));
        }
        target.settle();
        assert_eq!(target.sent(0), [] as [Vec<u8>; 0]);
        assert_eq!(store.pending().len(), room);
        release_all(store);
        target.settle();
        let expected: Vec<_> = asks[..room].iter().map(|ask| good(ask, &[0; 512])).collect();
        assert_eq!(target.sent(0), expected, "the first ones, and no others");
    }
    target.assert_at_rest();
    target
}

#[test]
fn full_store() {
    let store = store(Order::Manual, 4);
    let target = target(&store, |_| {});
    let target = holds(&store, target, 4);
    assert_eq!(target.count(|counters| counters.store_full), 3 * 6);
}

#[test]
fn full_slab() {
    let store = store(Order::Manual, 64);
    let target = target(&store, |plan| plan.in_flight = 3);
    let target = holds(&store, target, 3);
    assert_eq!(target.count(|counters| counters.slab_full), 3 * 7);
}

/// Eight chunks of 2 KiB, four of them with the kernel: a reply of 14 sectors takes five,
/// so only one fits at a time.
#[test]
fn no_chunks_for_a_longer_reply() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |plan| (plan.chunks, plan.chunk_bytes) = (8, 2048));
    for turn in 0..3 {
        let asks = [read(DISK, turn, 0, 14), read(DISK, turn + 10, 16, 14)];
        assert!(target.deliver(0, &asks[0].bytes()));
        assert!(target.deliver(0, &asks[1].bytes()));
        target.settle();
        assert_eq!(store.pending().len(), 1);
        release_all(&store);
        target.settle();
        assert_eq!(target.sent(0), [good(&asks[0], &[0; 14 * 512])]);
        target.assert_at_rest();
    }
    assert_eq!(target.count(|counters| counters.no_chunks), 3);
}

/// Requests of a host that would use up the chunks are dropped, and once chunks are back,
/// others are received.
#[test]
fn no_chunks_to_receive_into() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |plan| (plan.chunks, plan.chunk_bytes) = (8, 2048));
    let (mut delivered, mut replies) = (0, 0);
    for _ in 0..3 {
        for tag in 0..20 {
            delivered += usize::from(target.deliver(0, &read(DISK, tag, u64::from(tag), 1).bytes()));
            target.settle();
        }
        let before = replies;
        while !store.pending().is_empty() {
            release_all(&store);
            target.settle();
            replies += target.sent(0).len();
        }
        assert!(replies > before, "the chunks are not lost");
    }
    assert_eq!(replies + target.count(|counters| counters.over_share) as usize, delivered);
    target.assert_at_rest();
}

/// Four chunks are free for the copies of a broadcast to ten exports: it goes on in later
/// turns, when the first replies have been sent.
#[test]
fn a_broadcast_waits_for_chunks() {
    let exports = (0..10).map(|slot| ExportPlan::new((1, slot), store(Order::Submitted, 64))).collect();
    let mut target = FakeTarget::new(Plan { chunks: 8, ring: 64, ..Plan::new(exports) });
    let ask = xblade_tests::frame::Ask::new((1, 0xff), QUERY, query(0, b""));
    for _ in 0..3 {
        assert_eq!(target.channels(0, &ask.bytes()).len(), 10);
        target.assert_at_rest();
    }
}

/// Replies wait for the link while there is room; those without room are dropped and
/// counted. Then the link comes back.
#[test]
fn link_that_is_down_for_a_while() {
    for count in [1, 8] {
        let store = store(Order::Submitted, 256);
        let mut target = target(&store, |plan| plan.ring = 64);
        for turn in 1..=3 {
            target.wires[0].set_down(true);
            let asks: Vec<_> = (0..200).map(|n| read(DISK, n, u64::from(n), count)).collect();
            for ask in &asks {
                assert!(target.deliver(0, &ask.bytes()));
                target.round();
            }
            target.settle();
            assert_eq!(target.sent(0), [] as [Vec<u8>; 0]);
            assert!(target.workers[0].is_busy(), "replies wait");
            let lost = target.count(|counters| counters.tx_full + counters.over_share) as usize;
            assert!(lost > 0);
            target.wires[0].set_down(false);
            target.settle();
            let replies = target.sent(0);
            assert_eq!(replies.len() + lost / turn, 200, "nothing lost but what was counted");
            let data = vec![0; usize::from(count) * 512];
            let expected: Vec<_> = asks[..replies.len()].iter().map(|ask| good(ask, &data)).collect();
            assert_eq!(replies, expected, "the first ones, each once");
            target.assert_at_rest();
        }
    }
}

/// Nothing is sent while the link is down, and the worker knows that it has something to
/// send.
#[test]
fn one_reply_waits_for_the_link() {
    let store = store(Order::Submitted, 256);
    let mut target = target(&store, |_| {});
    target.wires[0].set_down(true);
    let ask = read(DISK, 7, 0, 2);
    assert_eq!(target.channels(0, &ask.bytes()), [] as [Vec<u8>; 0]);
    assert!(target.workers[0].is_busy());
    target.wires[0].set_down(false);
    target.settle();
    assert_eq!(target.sent(0), [good(&ask, &[0; 1024])]);
    target.assert_at_rest();
}

/// An export whose store is full does not hold up another.
#[test]
fn full_store_is_a_matter_of_its_own_export() {
    let (stuck, free) = (store(Order::Manual, 2), store(Order::Submitted, 2));
    let exports = vec![ExportPlan::new(DISK, stuck.clone()), ExportPlan::new(SECOND, free)];
    let mut target = FakeTarget::new(Plan::new(exports));
    for n in 0..5 {
        assert_eq!(target.channels(0, &read(DISK, n, 0, 1).bytes()), [] as [Vec<u8>; 0]);
        let ask = read(SECOND, n, 0, 1);
        assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    }
    assert_eq!(target.count(|counters| counters.store_full), 3);
    release_all(&stuck);
    target.settle();
    assert_eq!(target.sent(0).len(), 2);
    target.assert_at_rest();
}
