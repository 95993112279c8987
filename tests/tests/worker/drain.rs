//! A draining worker finishes what is in flight, and accepts nothing new.

use xblade_sim::store::Order;
use xblade_tests::{ExportPlan, FakeTarget, Plan, pattern};

use crate::{DISK, SECOND, good, read, release_all, store, target, write};

#[test]
fn what_is_under_way_is_finished_and_nothing_else() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let data = pattern(3, 3, 5);
    let under_way = [write(DISK, 1, 10, &data), read(DISK, 2, 100, 5)];
    for ask in &under_way {
        assert!(target.deliver(0, &ask.bytes()));
    }
    target.round();
    assert!(target.deliver(0, &read(DISK, 3, 0, 1).bytes()));
    for _ in 0..3 {
        target.workers[0].drain(&target.clock);
        assert!(target.workers[0].is_busy(), "the store has not answered");
    }
    release_all(&store);
    target.workers[0].drain(&target.clock);
    assert!(!target.workers[0].is_busy());
    let expected = [good(&under_way[0], &[]), good(&under_way[1], &[0; 2560])];
    assert_eq!(target.sent(0), expected, "and the third has not been received");
    assert_eq!(store.submitted().len(), 2);
}

/// One worker is idle, but gets a request from the other one.
#[test]
fn jobs_of_others_are_finished_too() {
    let second = store(Order::Manual, 64);
    let exports = vec![
        ExportPlan::new(DISK, store(Order::Manual, 64)),
        ExportPlan::new(SECOND, second.clone()).owned_by(1),
    ];
    let mut target = FakeTarget::new(Plan { lanes: vec![0, 1], workers: 2, ..Plan::new(exports) });
    let ask = read(SECOND, 1, 7, 16);
    assert!(target.deliver(0, &ask.bytes()));
    target.workers[0].turn(&target.clock);
    let busy = |target: &FakeTarget| [0, 1].map(|index| target.workers[index].is_busy());
    assert_eq!(busy(&target), [true, true], "away, and in the channel");
    target.workers[1].drain(&target.clock);
    assert_eq!(busy(&target), [true, true], "in the store");
    release_all(&second);
    target.workers[1].drain(&target.clock);
    assert_eq!(busy(&target), [true, false], "on its way back");
    target.workers[0].drain(&target.clock);
    assert_eq!(busy(&target), [false, false]);
    assert_eq!(target.sent(0), [good(&ask, &[0; 8192])]);
    target.assert_at_rest();
}
