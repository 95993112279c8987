//! Stores that answer late, and in an order of their own.

use xblade::store::fake::Order;
use xblade_tests::pattern;

use crate::{DISK, fill, good, read, release_all, store, target, write};

#[test]
fn nobody_is_answered_before_the_store_has_done_it() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let data = pattern(1, 0, 4);
    let ask = write(DISK, 1, 40, &data);
    assert_eq!(target.channels(0, &ask.bytes()), [] as [Vec<u8>; 0]);
    assert!(target.workers[0].is_busy());
    assert_eq!(store.bytes()[40 * 512..][..2048], [0; 2048], "not done yet");
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0), [good(&ask, &[])]);
    assert_eq!(store.bytes()[40 * 512..][..2048], data);
    target.assert_at_rest();
}

#[test]
fn replies_go_out_as_the_store_finishes() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let data = pattern(9, 0, 64);
    fill(&mut target, &store, DISK, 0, &data);
    let asks: Vec<_> = (0..16).map(|n| read(DISK, 100 + n, u64::from(n) * 4, 4)).collect();
    for ask in &asks {
        assert!(target.deliver(0, &ask.bytes()));
    }
    target.settle();
    let tokens = store.pending();
    assert_eq!(tokens.len(), 16);
    // Back to front, odd ones first: one after the other, and nothing twice.
    let order = (0..16).rev().filter(|n| n % 2 == 1).chain((0..16).rev().filter(|n| n % 2 == 0));
    for n in order {
        assert!(store.release(tokens[n]));
        target.settle();
        assert_eq!(target.sent(0), [good(&asks[n], &data[n * 2048..][..2048])], "request {n}");
    }
    target.assert_at_rest();
}

#[test]
fn any_order_answers_each_once() {
    for seed in 1..=20 {
        let store = store(Order::Seeded(seed), 64);
        let mut target = target(&store, |plan| plan.chunk_bytes = 2048);
        let data = |n: u64| pattern(seed as u8, n, 1 + n as usize % 16);
        for turn in 0..2 {
            let asks = (0..30).map(|n| match turn {
                0 => (write(DISK, n as u32, n * 16, &data(n)), Vec::new()),
                _ => (read(DISK, n as u32, n * 16, 1 + n as u8 % 16), data(n)),
            });
            let mut expected = Vec::new();
            for (ask, data) in asks {
                assert!(target.deliver(0, &ask.bytes()));
                expected.push(good(&ask, &data));
            }
            target.settle();
            let mut replies = target.sent(0);
            assert_ne!(replies, expected, "not in order");
            replies.sort();
            expected.sort();
            assert_eq!(replies, expected, "seed {seed}");
        }
        target.assert_at_rest();
    }
}
