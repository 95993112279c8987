//! Tracing of single requests and frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::bounded;
use xblade::observe::{Operation, Outcome};
use xblade::shelf::{Rate, Rates};
use xblade::wire::{DropReason, ata};
use xblade::worker::{TraceOutcome, Traced, Tracer, WorkerCommand};
use xblade_sim::store::Order;
use xblade_tests::frame::{Ask, QUERY, query};

use crate::{DISK, SECTORS, good, read, store, target, write};

/// A tracer of one request in `every`, and its counter of missed records.
fn tracer(every: u32, dropped: bool, to: crossbeam_channel::Sender<Traced>) -> (Tracer, Arc<AtomicU64>) {
    let missed = Arc::<AtomicU64>::default();
    (Tracer { every, dropped, to, missed: Arc::clone(&missed) }, missed)
}

#[test]
fn one_of_so_many_requests_and_every_dropped_frame_is_told() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, told) = bounded(16);
    target.order(WorkerCommand::Trace(Some(tracer(3, true, to).0)));
    for tag in 1..=7 {
        let ask = read(DISK, tag, 0, 1);
        assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    }
    for tag in [3, 6] {
        let traced = told.try_recv().unwrap();
        let TraceOutcome::Request { operation, outcome, .. } = traced.what else { panic!("{traced:?}") };
        assert_eq!((operation, outcome), (Operation::Read, Outcome::Done));
        let reply = good(&read(DISK, tag, 0, 1), &[0; 512]);
        assert_eq!(usize::try_from(traced.len).unwrap(), reply.len());
        assert_eq!(traced.bytes[..traced.captured.into()], reply[..256]);
    }
    // Not for us, and not a matching config test: the worker reports the one, its exports
    // the other.
    let stranger = read((9, 9), 8, 0, 1).bytes();
    let other = Ask::new(DISK, QUERY, query(1, b"other")).bytes();
    for (frame, reason) in [(stranger, DropReason::Address), (other, DropReason::ConfigMismatch)] {
        assert!(target.channels(0, &frame).is_empty());
        let traced = told.try_recv().unwrap();
        assert_eq!(traced.what, TraceOutcome::Dropped(reason));
        assert_eq!(traced.bytes[..traced.captured.into()], frame[..frame.len().min(256)]);
    }
    target.order(WorkerCommand::Trace(None));
    for tag in 10..20 {
        target.channels(0, &read(DISK, tag, 0, 1).bytes());
    }
    assert!(told.try_recv().is_err());
    target.assert_at_rest();
}

/// What it asked for is told of a request that ends while it waits for a limit.
#[test]
fn a_request_that_waited_for_too_long_is_told() {
    let store = store(Order::Submitted, 64);
    let export = Rate { iops: 10, bytes_per_second: 0, burst_ms: 1 };
    let mut target = target(&store, |plan| plan.exports[0].rates = Rates { export, ..Rates::default() });
    let (to, told) = bounded(16);
    target.order(WorkerCommand::Trace(Some(tracer(1, true, to).0)));
    for tag in 1..=2 {
        assert!(target.deliver(0, &read(DISK, tag, 8, 1).bytes()));
    }
    target.settle();
    target.clock.0.set(2_000_000_000);
    target.settle();
    for outcome in [Outcome::Done, Outcome::Unanswered] {
        let traced = told.try_recv().unwrap();
        let TraceOutcome::Request { asked, outcome: ended, .. } = traced.what else { panic!("{traced:?}") };
        assert_eq!((asked.map(|ata| ata.lba()), ended), (Some(8), outcome));
    }
}

/// A worker does not wait for the observer, but counts what it missed.
#[test]
fn what_nobody_takes_is_not_told() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, told) = bounded(1);
    let (tracer, missed) = tracer(1, false, to);
    target.order(WorkerCommand::Trace(Some(tracer)));
    for tag in 1..=5 {
        let ask = read(DISK, tag, 0, 1);
        assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    }
    assert!(told.try_recv().is_ok() && told.try_recv().is_err());
    assert_eq!(missed.load(Ordering::Relaxed), 4);
    drop(told);
    let ask = read(DISK, 9, 0, 1);
    assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    target.assert_at_rest();
}

/// A reply does not contain the request: the number of sectors, the opcode.
#[test]
fn what_a_host_has_asked_for_is_told_with_the_answer() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, told) = bounded(16);
    target.order(WorkerCommand::Trace(Some(tracer(1, true, to).0)));
    // The last one is beyond the end: no store is involved.
    let asks = [write(DISK, 1, 7, &[1; 1024]), read(DISK, 2, 9, 2), read(DISK, 3, SECTORS, 2)];
    let rows = [(0x34, 7, Outcome::Done), (0x24, 9, Outcome::Done), (0x24, SECTORS, Outcome::Failed)];
    for (ask, (opcode, lba, expected)) in asks.iter().zip(rows) {
        assert_eq!(target.channels(0, &ask.bytes()).len(), 1);
        let TraceOutcome::Request { asked: Some(asked), outcome, .. } = told.try_recv().unwrap().what else {
            panic!("not told");
        };
        assert_eq!((asked.command, asked.lba(), asked.count), (ata::Command::from(opcode), lba, 2));
        assert_eq!(outcome, expected);
    }
    target.assert_at_rest();
}

/// The command to stop may be lost: a worker that is held up receives none.
#[test]
fn a_worker_ends_by_itself_when_nobody_looks_any_more() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, told) = bounded(16);
    let (tracer, held) = tracer(1, true, to);
    target.order(WorkerCommand::Trace(Some(tracer)));
    drop(told);
    assert_eq!(Arc::strong_count(&held), 2);
    let ask = read(DISK, 1, 0, 1);
    assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    assert_eq!(Arc::strong_count(&held), 1, "the worker has let go");
    target.assert_at_rest();
}
