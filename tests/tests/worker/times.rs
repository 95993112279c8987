//! How long requests took: the time in the store is a part of the total.

use std::cell::Cell;

use crossbeam_channel::bounded;
use xblade::observe::Operation;
use xblade::ring::BATCH;
use xblade::store::Kind;
use xblade::worker::{Clock, TraceOutcome, Tracer, WorkerCommand};
use xblade_sim::store::Order;
use xblade_tests::{FakeTarget, pattern};

use crate::{DISK, read, release_all, send, store, target, write};

const MICROSECOND: u64 = 1_000;

/// A clock that advances by a microsecond with every reading.
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + MICROSECOND);
        self.0.get()
    }
}

/// Service and store time of each request from a trace, in order of completion.
fn told(target: &mut FakeTarget, act: impl FnOnce(&mut FakeTarget)) -> Vec<(u64, u64)> {
    let (to, told) = bounded(1024);
    target.order(WorkerCommand::Trace(Some(Tracer {
        every: 1,
        dropped: false,
        to,
        missed: Default::default(),
    })));
    act(target);
    let times = told.try_iter().map(|traced| match traced.what {
        TraceOutcome::Request { service_ns, store_ns, .. } => (service_ns, store_ns),
        TraceOutcome::Dropped(reason) => panic!("{reason:?}"),
    });
    times.collect()
}

/// Frames of one pass are received in several turns, each later than the last: a request
/// received in the last turn has not been at the store since the first.
#[test]
fn a_store_takes_no_time_before_its_request_came() {
    for at_once in [&[][..], &[Kind::Read]] {
        let store = store(Order::Submitted, 512);
        store.set_at_once(at_once);
        let mut target = target(&store, |plan| plan.in_flight = 512);
        let asks = 3 * BATCH;
        for tag in 0..asks {
            assert!(target.deliver(0, &read(DISK, tag as u32, 0, 1).bytes()));
        }
        let clock = Ticking(Cell::new(0));
        let times = told(&mut target, |target| while target.workers[0].turn(&clock) > 0 {});
        assert_eq!(times.len(), asks);
        for (service_ns, store_ns) in times {
            // The clock is read on arrival and on completion.
            assert_eq!((service_ns, store_ns), (MICROSECOND, MICROSECOND), "at once: {at_once:?}");
        }
        let tally = target.workers[0].export(0).unwrap().tally;
        let (service, store) = (tally.service.of(Operation::Read), tally.store.of(Operation::Read));
        assert_eq!((service.count(), store.count()), (asks as u64, asks as u64));
        for share in [0.0, 0.5, 0.99, 1.0] {
            let (service, store) = (service.quantile(share), store.quantile(share));
            assert!(store <= service, "at once: {at_once:?}: {store} ns of {service} ns, {share}");
        }
        target.assert_at_rest();
    }
}

/// Time spent in the ring because the worker does not run counts in the response time,
/// but not in the service time.
#[test]
fn the_response_time_begins_with_the_stamp() {
    const WAITED_NS: u64 = 120_000_000;
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let clock = Ticking(Cell::new(WAITED_NS));
    assert!(target.deliver_at(0, &read(DISK, 1, 0, 1).bytes(), Some(MICROSECOND)));
    assert!(target.deliver(0, &read(DISK, 2, 0, 1).bytes()));
    while target.workers[0].turn(&clock) > 0 {}
    let tally = target.workers[0].export(0).unwrap().tally;
    let [response, service] = [&tally.response, &tally.service].map(|times| times.of(Operation::Read));
    assert_eq!((response.count(), service.count()), (1, 2), "a frame without a stamp has no response time");
    assert!(response.quantile(0.0) >= WAITED_NS - WAITED_NS / 100, "{}", response.quantile(0.0));
    assert!(service.max() < WAITED_NS / 100, "{}", service.max());
    target.assert_at_rest();
}

/// A request that waits for another one is not at the store meanwhile.
#[test]
fn waiting_is_no_time_of_the_store() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |_| {});
    let times = told(&mut target, |target| {
        target.clock.0.set(MICROSECOND);
        send(target, &[write(DISK, 1, 0, &pattern(1, 0, 1)), write(DISK, 2, 0, &pattern(2, 0, 1))]);
        for _ in 0..2 {
            target.clock.0.set(target.clock.0.get() + 5 * MICROSECOND);
            release_all(&store);
            target.settle();
        }
    });
    assert_eq!(times, [(5 * MICROSECOND, 5 * MICROSECOND), (10 * MICROSECOND, 5 * MICROSECOND)]);
    target.assert_at_rest();
}
