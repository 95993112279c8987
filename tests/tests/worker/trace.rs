//! What is told of single requests and frames.

use crossbeam_channel::bounded;
use xblade::observe::{Operation, Outcome};
use xblade::store::fake::Order;
use xblade::wire::DropReason;
use xblade::worker::{Tracer, What};
use xblade_tests::frame::{Ask, QUERY, query};

use crate::{DISK, good, read, store, target};

#[test]
fn one_of_so_many_requests_and_every_dropped_frame_is_told() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, told) = bounded(16);
    target.workers[0].trace(Some(Tracer { every: 3, dropped: true, to }));
    for tag in 1..=7 {
        let ask = read(DISK, tag, 0, 1);
        assert_eq!(target.exchange(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    }
    for tag in [3, 6] {
        let traced = told.try_recv().unwrap();
        let What::Request { operation, outcome, .. } = traced.what else { panic!("{traced:?}") };
        assert_eq!((operation, outcome), (Operation::Read, Outcome::Done));
        let reply = good(&read(DISK, tag, 0, 1), &[0; 512]);
        assert_eq!(usize::try_from(traced.len).unwrap(), reply.len());
        assert_eq!(traced.bytes[..traced.captured.into()], reply[..256]);
    }
    // Not for us, and not what is asked for: told by the worker, and by the desk.
    let stranger = read((9, 9), 8, 0, 1).bytes();
    let other = Ask::new(DISK, QUERY, query(1, b"other")).bytes();
    for (frame, reason) in [(stranger, DropReason::Address), (other, DropReason::ConfigMismatch)] {
        assert!(target.exchange(0, &frame).is_empty());
        let traced = told.try_recv().unwrap();
        assert_eq!(traced.what, What::Dropped(reason));
        assert_eq!(traced.bytes[..traced.captured.into()], frame[..frame.len().min(256)]);
    }
    target.workers[0].trace(None);
    for tag in 10..20 {
        target.exchange(0, &read(DISK, tag, 0, 1).bytes());
    }
    assert!(told.try_recv().is_err());
    target.assert_at_rest();
}

/// A worker does not wait for who looks.
#[test]
fn what_nobody_takes_is_not_told() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, told) = bounded(1);
    target.workers[0].trace(Some(Tracer { every: 1, dropped: false, to }));
    for tag in 1..=5 {
        let ask = read(DISK, tag, 0, 1);
        assert_eq!(target.exchange(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    }
    assert!(told.try_recv().is_ok() && told.try_recv().is_err());
    drop(told);
    let ask = read(DISK, 9, 0, 1);
    assert_eq!(target.exchange(0, &ask.bytes()), [good(&ask, &[0; 512])]);
    target.assert_at_rest();
}
