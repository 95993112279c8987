//! The fake store keeps the promises on which other tests rely.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use xblade_sim::FakeStore;
use xblade_sim::store::Order;
use xblade_store::{Completion, IoError, IoVec, Kind, Op, Store};

fn operation(token: u32, kind: Kind, sector: u64, memory: &mut [u8]) -> Op {
    let mut buffers = IoVec::empty();
    // SAFETY: the callers below do not touch the memory until the completion.
    assert!(unsafe { buffers.push(memory) });
    Op { token, kind, sector, buffers }
}

#[test]
fn released_operations_happen_in_the_order_of_their_release() {
    let mut store = FakeStore::new(4, 8, Order::Manual);
    let test = store.clone();
    let (mut one, mut two, mut got) = ([1; 512], [2; 512], [0; 512]);
    store.submit(operation(1, Kind::Write, 0, &mut one)).unwrap();
    store.submit(operation(2, Kind::Write, 0, &mut two)).unwrap();
    store.submit(operation(3, Kind::Read, 0, &mut got)).unwrap();
    assert_eq!(store.complete(), None);
    assert_eq!(test.pending(), [1, 2, 3]);
    for token in [2, 3, 1] {
        assert!(test.release(token));
        assert_eq!(store.complete(), Some(Completion { token, result: Ok(()) }));
    }
    assert!(!test.release(1));
    assert_eq!((got, &test.bytes()[..512]), ([2; 512], &[1; 512][..]));
    let order: Vec<u32> = test.executed().iter().map(|logged| logged.token).collect();
    assert_eq!(order, [2, 3, 1]);
    assert_eq!(test.submitted().len(), 3);
}

#[test]
fn a_seed_gives_one_order_and_loses_nothing() {
    let run = |seed| {
        let mut store = FakeStore::new(64, 64, Order::Seeded(seed));
        let mut memory = [0; 64 * 512];
        for (token, piece) in memory.chunks_mut(512).enumerate() {
            store.submit(operation(token as u32, Kind::Read, 0, piece)).unwrap();
        }
        let mut calls = 0;
        let mut order = Vec::new();
        while order.len() < 64 && calls < 10_000 {
            calls += 1;
            order.extend(store.complete().map(|completion| completion.token));
        }
        (order, calls)
    };
    let (order, calls) = run(7);
    assert_eq!(run(7), (order.clone(), calls));
    assert_ne!(run(8).0, order);
    assert!(calls > 64, "none came late");
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..64).collect::<Vec<_>>());
    assert_ne!(sorted, order);
}

#[test]
fn faults_capacity_and_size_are_the_tests_to_choose() {
    let mut store = FakeStore::new(2, 1, Order::Submitted);
    let test = store.clone();
    test.fail_next(Kind::Write, IoError::NoSpace);
    let mut memory = [5; 512];
    let mut run = |kind, sector| {
        store.submit(operation(1, kind, sector, &mut memory)).unwrap();
        let full = store.submit(operation(9, kind, sector, &mut memory)).unwrap_err();
        assert_eq!(full.0.token, 9);
        store.complete().unwrap().result
    };
    assert_eq!(run(Kind::Read, 0), Ok(()));
    assert_eq!(run(Kind::Write, 0), Err(IoError::NoSpace));
    assert_eq!(run(Kind::Write, 0), Ok(()));
    assert_eq!(run(Kind::Write, 2), Err(IoError::Range));
    test.resize(3);
    assert_eq!(store.geometry().sectors, 2);
    store.submit(operation(4, Kind::Measure, 0, &mut [])).unwrap();
    assert_eq!(store.complete(), Some(Completion { token: 4, result: Ok(()) }));
    assert_eq!(store.geometry().sectors, 3);
}
