//! Stores that fail, and stores that lie.

use std::collections::VecDeque;

use xblade::store::fake::Order;
use xblade::store::{Completion, Fault, Full, Geometry, Kind, Op, Store};
use xblade::worker::Counters;
use xblade_tests::frame::{ATA, Ask, ata, ata_done};
use xblade_tests::{ExportPlan, FakeTarget, Plan, pattern};

use crate::{DISK, good, read, store, target};

/// Each fault has its ATA error. None has the error flag, after which Linux
/// would wait 180 s.
#[test]
fn every_fault_is_an_ata_error() {
    type Count = fn(&Counters) -> u64;
    let (media, space, other): (Count, Count, Count) =
        (|c| c.media_faults, |c| c.no_space_faults, |c| c.other_faults);
    let rows = [
        (Kind::Read, Fault::Media, 0x40, media),
        (Kind::Read, Fault::System, 0x04, other),
        (Kind::Read, Fault::Range, 0x10, other),
        (Kind::Write, Fault::Media, 0x04, media),
        (Kind::Write, Fault::NoSpace, 0x04, space),
        (Kind::Write, Fault::ReadOnly, 0x04, other),
        (Kind::Write, Fault::System, 0x04, other),
        (Kind::Write, Fault::Range, 0x10, other),
        (Kind::Flush, Fault::Media, 0x04, media),
        (Kind::Flush, Fault::NoSpace, 0x04, space),
    ];
    for chunk_bytes in [2048, 4096] {
        let store = store(Order::Submitted, 64);
        let mut target = target(&store, |plan| plan.chunk_bytes = chunk_bytes);
        for (kind, fault, error, counter) in rows {
            let argument = match kind {
                Kind::Read => ata(0x24, 5, 16, &[]),
                Kind::Write => ata(0x34, 5, 16, &pattern(1, 1, 16)),
                Kind::Flush => ata(0xE7, 0, 0, &[]),
            };
            let ask = Ask::new(DISK, ATA, argument);
            let counted = target.count(counter);
            store.fail_next(kind, fault);
            let expected = ask.reply(DISK, &ata_done(&ask.argument, 0x41, error, &[]));
            assert_eq!(target.exchange(0, &ask.bytes()), [expected], "{kind:?} {fault:?}");
            assert_eq!(target.count(counter), counted + 1, "{kind:?} {fault:?}");
            let data: &[u8] = if kind == Kind::Read { &store.bytes()[5 * 512..][..8192] } else { &[] };
            assert_eq!(target.exchange(0, &ask.bytes()), [good(&ask, data)], "and good again");
        }
        target.assert_at_rest();
    }
}

/// Completes every operation twice, and now and then one that never was.
struct Liar(VecDeque<Completion>);

impl Store for Liar {
    fn geometry(&self) -> Geometry {
        Geometry { sectors: 100, physical_bytes: 512 }
    }

    fn refresh(&mut self) -> Geometry {
        self.geometry()
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        let told = |token| Completion { token, result: Ok(()) };
        // One that never was, of another generation, beyond the slab; then the
        // truth; then the truth again.
        let lies = [op.token ^ 1, op.token ^ 1 << 16, op.token | 0xffff, op.token, op.token];
        self.0.extend(lies.map(told));
        Ok(())
    }

    fn complete(&mut self) -> Option<Completion> {
        self.0.pop_front()
    }
}

#[test]
fn a_completion_that_cannot_be_is_counted_and_answers_nobody() {
    let mut target = FakeTarget::new(Plan::new(vec![ExportPlan::new(DISK, Liar(VecDeque::new()))]));
    for turn in 1..=50 {
        let ask = Ask { tag: turn, ..Ask::new(DISK, ATA, ata(0x34, 1, 1, &[7; 512])) };
        assert_eq!(target.exchange(0, &ask.bytes()), [good(&ask, &[])], "once");
        assert_eq!(target.count(|counters| counters.stale_completions), u64::from(turn) * 4);
    }
    assert!(!target.workers[0].is_busy());
    assert!(target.workers[0].lanes().all(|lane| lane.check(0).is_ok()));
}

/// The size that a worker knows is checked again by the store.
#[test]
fn a_store_that_has_shrunk_unseen_fails_the_request() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    store.resize(10);
    let ask = read(DISK, 1, 9, 2);
    let expected = ask.reply(DISK, &ata_done(&ask.argument, 0x41, 0x40, &[]));
    assert_eq!(target.exchange(0, &ask.bytes()), [expected]);
    target.assert_at_rest();
}
