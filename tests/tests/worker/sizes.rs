//! Stores that grow, shrink, and discard.

use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use xblade::store::{IoError, Kind};
use xblade::worker::{self, IdlePolicy};
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, ata, ata_done, trim};
use xblade_tests::{FakeTarget, pattern};

use crate::{DISK, SECTORS, good, read, release_all, store, target, write};

/// The size that the target has noted for its only export.
fn noted(target: &FakeTarget) -> u64 {
    target.directory.sizes().map(|(_, sectors)| sectors).next().unwrap()
}

#[test]
fn a_new_size_is_noted_for_every_caller() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    target.order(worker::WorkerCommand::Measure);
    target.settle();
    assert_eq!(noted(&target), 0, "nothing has changed");
    store.resize(600);
    assert_eq!(target.channels(0, &read(DISK, 1, 599, 1).bytes()).len(), 1);
    assert_eq!(store.executed().iter().filter(|op| op.kind == Kind::Read).count(), 0, "unseen");
    target.order(worker::WorkerCommand::Measure);
    target.settle();
    assert_eq!(noted(&target), 600);
    let ask = read(DISK, 2, 599, 1);
    assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    store.resize(700);
    assert_eq!(target.channels(0, &Ask::new(DISK, ATA, ata(0xEC, 0, 1, &[])).bytes()).len(), 1);
    assert_eq!(noted(&target), 700, "by IDENTIFY");
    target.assert_at_rest();
}

/// A store that does not respond gets one size check, and requests continue meanwhile.
#[test]
fn measurements_do_not_pile_up() {
    let store = store(Order::Manual, 8);
    let mut target = target(&store, |_| {});
    for _ in 0..20 {
        target.order(worker::WorkerCommand::Measure);
        target.round();
    }
    let measured = || store.submitted().iter().filter(|op| op.kind == Kind::Measure).count();
    assert_eq!((measured(), store.pending().len()), (1, 1));
    assert!(!target.workers[0].is_busy(), "it does not prevent draining");
    let [stuck] = store.pending()[..] else { panic!("one") };
    let ask = read(DISK, 1, 0, 1);
    target.deliver(0, &ask.bytes());
    target.round();
    let [_, other] = store.pending()[..] else { panic!("two") };
    assert!(store.release(other));
    target.settle();
    assert_eq!(target.sent(0), [good(&ask, &[0; 512])]);
    store.resize(600);
    assert!(store.release(stuck));
    target.settle();
    assert_eq!(noted(&target), 600);
    target.order(worker::WorkerCommand::Measure);
    release_all(&store);
    target.settle();
    assert_eq!(measured(), 2, "when it has answered it is asked again");
    target.assert_at_rest();
}

/// A store that completes a size check twice is detected.
#[test]
fn a_fault_of_a_measurement_changes_nothing() {
    let store = store(Order::Submitted, 8);
    let mut target = target(&store, |_| {});
    store.resize(600);
    store.fail_next(Kind::Measure, IoError::Media);
    target.order(worker::WorkerCommand::Measure);
    target.settle();
    assert_eq!(noted(&target), 0);
    target.assert_at_rest();
}

/// Chunks of 2 KiB split a block, and a range, in two.
#[test]
fn ranges_in_any_piece_of_a_frame_are_forgotten() {
    for chunk_bytes in [2048, 4096] {
        let store = store(Order::Submitted, 64);
        store.set_discards(true);
        let mut target = target(&store, |plan| plan.chunk_bytes = chunk_bytes);
        for lba in (0..SECTORS).step_by(16) {
            target.channels(0, &write(DISK, 1, lba, &pattern(1, lba, 16)).bytes());
        }
        let mut expected = store.bytes();
        let ranges: Vec<_> = (0..1024u64).map(|at| (at / 2, u16::from(at % 10 == 0))).collect();
        let ask = Ask::new(DISK, ATA, trim(&ranges));
        assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[])]);
        for (lba, count) in ranges {
            expected[lba as usize * 512..][..usize::from(count) * 512].fill(0);
        }
        assert!(store.bytes() == expected, "chunks of {chunk_bytes}");
        // The same, with a final range that is out of bounds.
        let ranges: Vec<_> = (0..1024u64).map(|at| (if at < 1023 { 1 } else { SECTORS }, 1)).collect();
        let ask = Ask::new(DISK, ATA, trim(&ranges));
        let error = ask.reply(DISK, &ata_done(&ask.argument, 0x41, 0x10, &[]));
        assert_eq!(target.channels(0, &ask.bytes()), [error]);
        assert!(store.bytes() == expected, "nothing is forgotten");
        assert_eq!(target.count(|counters| counters.discards), 2);
        target.assert_at_rest();
    }
}

#[test]
fn who_asks_for_the_size_of_one_store_is_told() {
    let store = store(Order::Submitted, 64);
    store.resize(600);
    let FakeTarget { mut workers, wakers, .. } = target(&store, |_| {});
    let (orders, inbox) = bounded(4);
    let (to, size) = bounded(1);
    orders.send(worker::WorkerCommand::MeasureOne(0, to)).unwrap();
    let (worker, waker) = (workers.pop().unwrap(), wakers[0].clone());
    let thread = thread::spawn(move || {
        let waiter = worker.waiter(&wakers[0]).unwrap();
        worker::run(worker, &inbox, &waiter, IdlePolicy::Spin)
    });
    let told = size.recv_timeout(Duration::from_secs(10));
    orders.send(worker::WorkerCommand::Drain).unwrap();
    drop(orders);
    waker.notify();
    assert!(thread.join().unwrap().drained);
    assert_eq!(told, Ok(600));
}
