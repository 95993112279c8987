//! Stores that do reads and writes at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xblade::store::{Calls, Completion, Full, Geometry, IoError, Op, Store};
use xblade_tests::frame::{ATA, Ask, trim};
use xblade_tests::{ExportPlan, FakeTarget, Plan};

use crate::{DISK, read};

#[derive(Default)]
struct Counts {
    kicks: AtomicU64,
    at_once: AtomicU64,
    submitted: AtomicU64,
}

impl Counts {
    fn count(&self) -> [u64; 3] {
        [&self.kicks, &self.at_once, &self.submitted].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Does whatever it is asked to.
struct Willing {
    counts: Arc<Counts>,
    calls: Option<Calls>,
    done: Vec<u32>,
}

impl Store for Willing {
    fn geometry(&self) -> Geometry {
        Geometry { discards: true, ..Geometry::new(100, 512) }
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        self.counts.submitted.fetch_add(1, Ordering::Relaxed);
        self.done.push(op.token);
        Ok(())
    }

    fn try_inline(&mut self, _: &mut Op) -> Option<Result<(), IoError>> {
        self.counts.at_once.fetch_add(1, Ordering::Relaxed);
        Some(Ok(()))
    }

    fn kick(&mut self) {
        self.counts.kicks.fetch_add(1, Ordering::Relaxed);
    }

    fn complete(&mut self) -> Option<Completion> {
        self.done.pop().map(|token| Completion { token, result: Ok(()) })
    }

    fn calls(&mut self) -> Option<&mut Calls> {
        self.calls.as_mut()
    }
}

fn willing(uses_ring: bool) -> (FakeTarget, Arc<Counts>) {
    let calls = Arc::new(Counts::default());
    let store =
        Willing { counts: Arc::clone(&calls), calls: uses_ring.then(|| Calls::new(1)), done: Vec::new() };
    (FakeTarget::new(Plan::new(vec![ExportPlan::new(DISK, store)])), calls)
}

/// Also of a store that has nothing to tell the turn has an end. One that was not asked
/// for anything is left alone.
#[test]
fn a_turn_ends_for_the_store_that_it_used() {
    let (mut target, calls) = willing(false);
    assert_eq!(calls.count(), [0, 0, 0]);
    for turn in 1..=3 {
        assert_eq!(target.channels(0, &read(DISK, 1, 0, 1).bytes()).len(), 1);
        assert_eq!(calls.count(), [turn, turn, 0]);
    }
    target.assert_at_rest();
}

#[test]
fn a_discard_is_not_done_at_once_nor_anything_by_a_store_that_uses_the_ring() {
    let (mut target, calls) = willing(false);
    assert_eq!(target.channels(0, &Ask::new(DISK, ATA, trim(&[(0, 1)])).bytes()).len(), 1);
    assert_eq!(calls.count()[1..], [0, 1]);
    let (mut target, calls) = willing(true);
    assert_eq!(target.channels(0, &read(DISK, 1, 0, 1).bytes()).len(), 1);
    assert_eq!(calls.count()[1..], [0, 1]);
}
