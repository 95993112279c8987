//! Stores that fail, and stores that report false completions.

use std::sync::mpsc::{Receiver, Sender, channel};

use xblade::store::{Completion, Full, Geometry, IoError, Kind, Op, Store};
use xblade::worker::Counters;
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, ata, ata_done};
use xblade_tests::{ExportPlan, FakeTarget, Plan, pattern};

use crate::{DISK, SECTORS, good, read, store, target};

/// Each failure has its ATA error. None sets the error flag, after which Linux would wait
/// 180 s.
#[test]
pub fn every_fault_is_an_ata_error() {
    type Count = fn(&Counters) -> u64;
    let (media, space, other): (Count, Count, Count) =
        (|c| c.media_faults, |c| c.no_space_faults, |c| c.other_faults);
    let rows = [
        (Kind::Read, IoError::Media, 0x40, media),
        (Kind::Read, IoError::System, 0x04, other),
        (Kind::Read, IoError::Range, 0x10, other),
        (Kind::Write, IoError::Media, 0x04, media),
        (Kind::Write, IoError::NoSpace, 0x04, space),
        (Kind::Write, IoError::ReadOnly, 0x04, other),
        (Kind::Write, IoError::System, 0x04, other),
        (Kind::Write, IoError::Range, 0x10, other),
        (Kind::Flush, IoError::Media, 0x04, media),
        (Kind::Flush, IoError::NoSpace, 0x04, space),
    ];
    for chunk_bytes in [2048, 4096] {
        let store = store(Order::Submitted, 64);
        let mut target = target(&store, |plan| plan.chunk_bytes = chunk_bytes);
        for (tag, (kind, fault, error, counter)) in (0..).step_by(2).zip(rows) {
            let argument = match kind {
                Kind::Read => ata(0x24, 5, 16, &[]),
                Kind::Write => ata(0x34, 5, 16, &pattern(1, 1, 16)),
                _ => ata(0xE7, 0, 0, &[]),
            };
            let ask = Ask { tag, ..Ask::new(DISK, ATA, argument) };
            let counted = target.count(counter);
            store.fail_next(kind, fault);
            let expected = ask.reply(DISK, &ata_done(&ask.argument, 0x41, error, &[]));
            assert_eq!(target.channels(0, &ask.bytes()), [expected], "{kind:?} {fault:?}");
            assert_eq!(target.count(counter), counted + 1, "{kind:?} {fault:?}");
            let data: &[u8] = if kind == Kind::Read { &store.bytes()[5 * 512..][..8192] } else { &[] };
            // Another tag, because a duplicate of a write would get the same answer.
            let again = Ask { tag: ask.tag + 1, ..ask };
            assert_eq!(target.channels(0, &again.bytes()), [good(&again, data)], "and good again");
        }
        assert_eq!(target.directory.degraded().count(), 0, "the store takes writes");
        target.assert_at_rest();
    }
}

/// A store that does nothing, and completes the tokens it is sent.
struct Puppet {
    submitted: Sender<u32>,
    told: Receiver<u32>,
}

impl Store for Puppet {
    fn geometry(&self) -> Geometry {
        Geometry::new(100, 512)
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        self.submitted.send(op.token).unwrap();
        Ok(())
    }

    fn complete(&mut self) -> Option<Completion> {
        let token = self.told.try_recv().ok()?;
        Some(Completion { token, result: Ok(()) })
    }
}

#[test]
fn a_completion_that_cannot_be_is_counted_and_answers_nobody() {
    let ((submitted, tokens), (tell, told)) = (channel(), channel());
    let mut target = FakeTarget::new(Plan::new(vec![ExportPlan::new(DISK, Puppet { submitted, told })]));
    for turn in 1..=50 {
        let ask = Ask { tag: turn, ..Ask::new(DISK, ATA, ata(0x34, 1, 1, &[7; 512])) };
        assert_eq!(target.channels(0, &ask.bytes()), [] as [Vec<u8>; 0]);
        let token = tokens.try_recv().unwrap();
        // An unknown index, another generation, the previous one, beyond the slab.
        let lies = [token ^ 1, token ^ 1 << 16, token.wrapping_sub(1 << 16), token | 0xffff];
        lies.iter().for_each(|lie| tell.send(*lie).unwrap());
        target.settle();
        assert_eq!(target.sent(0), [] as [Vec<u8>; 0], "the store has not said so");
        assert!(target.workers[0].is_busy());
        // The true completion, twice.
        tell.send(token).unwrap();
        target.settle();
        assert_eq!(target.sent(0), [good(&ask, &[])]);
        let another = Ask { tag: turn, ..Ask::new(DISK, ATA, ata(0x34, 2, 1, &[7; 512])) };
        target.channels(0, &another.bytes());
        tell.send(token).unwrap();
        target.settle();
        assert_eq!(target.sent(0), [] as [Vec<u8>; 0], "that was another request");
        tell.send(tokens.try_recv().unwrap()).unwrap();
        target.settle();
        assert_eq!(target.sent(0), [good(&another, &[])]);
        assert_eq!(target.count(|counters| counters.stale_completions), u64::from(turn) * 5);
    }
    assert!(!target.workers[0].is_busy());
    assert!(target.workers[0].lanes().all(|lane| lane.check(0).is_ok()));
}

/// A request refused for its range, count or data does not reach the store.
#[test]
pub fn a_store_sees_only_what_it_has() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let last = SECTORS - 1;
    for argument in [
        ata(0x24, SECTORS, 1, &[]),
        ata(0x24, last, 2, &[]),
        ata(0x24, (1 << 48) - 1, 16, &[]),
        ata(0x24, 0, 128, &[]),
        ata(0x24, 0, 0, &[]),
        ata(0x34, SECTORS, 1, &[7; 512]),
        ata(0x34, last, 2, &[7; 1024]),
        ata(0x34, 0, 2, &[7; 1023]),
        ata(0x34, 0, 0, &[7; 512]),
        ata(0x06, 0, 1, &[7; 512]),
    ] {
        let replies = target.channels(0, &Ask::new(DISK, ATA, argument).bytes());
        assert_eq!(replies.len(), 1);
        assert_eq!(store.submitted(), []);
    }
    let ask = read(DISK, 1, last, 1);
    assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    assert_eq!(store.submitted().len(), 1);
    target.assert_at_rest();
}

/// The store checks the size again, whatever the worker believes it to be.
#[test]
fn a_store_that_has_shrunk_unseen_fails_the_request() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    store.resize(10);
    let ask = read(DISK, 1, 9, 2);
    let expected = ask.reply(DISK, &ata_done(&ask.argument, 0x41, 0x40, &[]));
    assert_eq!(target.channels(0, &ask.bytes()), [expected]);
    target.assert_at_rest();
}
