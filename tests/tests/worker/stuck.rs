//! A store that does not respond: it gets no made-up replies, it is reported, and the
//! other exports continue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xblade::store::{Calls, Completion, Full, Geometry, Op, Store};
use xblade_sim::store::Order;
use xblade_tests::{ExportPlan, FakeTarget, Plan, pattern};

use crate::{DISK, SECOND, good, read, release_all, send, store, write};

const SECOND_NS: u64 = 1_000_000_000;

/// Advances the clock and gives the workers turns.
fn pass(target: &mut FakeTarget, ns: u64) {
    let now = target.clock.0.get();
    target.clock.0.set(now + ns);
    target.settle();
}

fn stuck(target: &FakeTarget) -> Vec<(u16, u8)> {
    target.directory.stuck().map(|address| (address.shelf, address.slot)).collect()
}

#[test]
fn a_store_that_does_not_answer_is_told_of_once_and_answered_for_never() {
    let (hung, free) = (store(Order::Manual, 64), store(Order::Submitted, 64));
    let exports = vec![ExportPlan::new(DISK, hung.clone()), ExportPlan::new(SECOND, free)];
    let mut target = FakeTarget::new(Plan::new(exports));
    pass(&mut target, 77 * SECOND_NS);
    let (data, newer) = (pattern(1, 0, 1), pattern(2, 0, 1));
    // Two that the store has, and one that waits for the first and does not count against
    // the store.
    let asks = [write(DISK, 1, 0, &data), read(DISK, 2, 9, 1), write(DISK, 3, 0, &newer)];
    send(&mut target, &asks);
    pass(&mut target, 10 * SECOND_NS);
    assert_eq!((stuck(&target), target.count(|c| c.stuck_operations)), (vec![], 0), "not yet");
    for _ in 0..20 {
        pass(&mut target, SECOND_NS);
        assert_eq!((stuck(&target), target.count(|c| c.stuck_operations)), (vec![DISK], 2));
        let ask = read(SECOND, 4, 0, 1);
        assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[0; 512])], "and no reply else");
    }
    let tokens = hung.pending();
    hung.release(tokens[0]);
    target.settle();
    assert_eq!(target.sent(0), [good(&asks[0], &[])], "answered when it is done");
    pass(&mut target, SECOND_NS / 5);
    assert_eq!(stuck(&target), [DISK], "one is left; the one that waited has only just begun");
    hung.release(tokens[1]);
    target.settle();
    pass(&mut target, SECOND_NS / 5);
    assert_eq!(stuck(&target), []);
    assert_eq!(target.count(|c| c.stuck_operations), 2);
    pass(&mut target, 10 * SECOND_NS);
    assert_eq!((stuck(&target), target.count(|c| c.stuck_operations)), (vec![DISK], 3));
    release_all(&hung);
    pass(&mut target, SECOND_NS / 5);
    assert_eq!(stuck(&target), [], "also when nothing is under way any more");
    assert_eq!(target.sent(0), [good(&asks[1], &[0; 512]), good(&asks[2], &[])]);
    assert_eq!(hung.bytes()[..512], newer[..]);
    target.assert_at_rest();
}

/// To look for them takes time, so it is not done in each turn.
#[test]
fn stores_are_looked_at_every_tenth_of_a_second() {
    let hung = store(Order::Manual, 64);
    let mut target = FakeTarget::new(Plan::new(vec![ExportPlan::new(DISK, hung.clone())]));
    pass(&mut target, SECOND_NS);
    send(&mut target, &[read(DISK, 1, 0, 1)]);
    for (ns, expected) in [(10 * SECOND_NS, 0), (SECOND_NS / 10 - 1, 0), (1, 1)] {
        pass(&mut target, ns);
        assert_eq!(stuck(&target).len(), expected, "after {ns} ns more");
    }
    release_all(&hung);
}

/// An entry that held a stuck operation is not suspect when it is reused.
#[test]
fn an_entry_begins_again() {
    let hung = store(Order::Manual, 64);
    let exports = vec![ExportPlan::new(DISK, hung.clone())];
    let mut target = FakeTarget::new(Plan { in_flight: 1, ..Plan::new(exports) });
    for turn in 1..=3 {
        pass(&mut target, SECOND_NS);
        send(&mut target, &[read(DISK, 1, 0, 1)]);
        pass(&mut target, 9 * SECOND_NS);
        assert_eq!(stuck(&target), []);
        pass(&mut target, 2 * SECOND_NS);
        assert_eq!((stuck(&target), target.count(|c| c.stuck_operations)), (vec![DISK], turn));
        release_all(&hung);
        target.settle();
    }
}

/// A store whose sync waits for a write that hangs: no result of the ring says when the wait
/// is over.
#[test]
fn a_store_that_waits_for_the_time_is_polled_now_and_then() {
    struct Waits {
        calls: Calls,
        token: Option<u32>,
        is_over: Arc<AtomicBool>,
    }

    impl Store for Waits {
        fn geometry(&self) -> Geometry {
            Geometry::new(100, 512)
        }

        fn submit(&mut self, op: Op) -> Result<(), Full> {
            self.token = Some(op.token);
            Ok(())
        }

        fn complete(&mut self) -> Option<Completion> {
            let token = self.token.take_if(|_| self.is_over.load(Ordering::Relaxed))?;
            Some(Completion { token, result: Ok(()) })
        }

        fn calls(&mut self) -> Option<&mut Calls> {
            Some(&mut self.calls)
        }
    }

    let is_over = Arc::new(AtomicBool::new(false));
    let waits = Waits { calls: Calls::new(1), token: None, is_over: Arc::clone(&is_over) };
    let exports = vec![ExportPlan::new(DISK, waits)];
    let mut target = FakeTarget::new(Plan { rings: true, ..Plan::new(exports) });
    pass(&mut target, SECOND_NS);
    let ask = write(DISK, 1, 0, &pattern(1, 0, 1));
    send(&mut target, std::slice::from_ref(&ask));
    pass(&mut target, 1);
    is_over.store(true, Ordering::Relaxed);
    pass(&mut target, SECOND_NS / 10 - 2);
    assert_eq!(target.sent(0), [] as [Vec<u8>; 0], "not in each turn");
    pass(&mut target, 1);
    assert_eq!(target.sent(0), [good(&ask, &[])]);
    target.assert_at_rest();
}
