//! A worker whose stores are slow sleeps, and wakes when they have completed something:
//! whole threads, in real time.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use io_uring::{opcode, types};
use xblade::store::{Calls, Completion, Full, Geometry, MemRegion, Op, Registered, Store};
use xblade::worker::{self, IdlePolicy, WorkerCommand};
use xblade_sim::store::Order;
use xblade_tests::{ExportPlan, FakeTarget, Plan};

use crate::{DISK, SECOND, good, read, store};

const PATIENCE: Duration = Duration::from_secs(10);

/// Completes what it has when a byte arrives.
struct Slow {
    bytes: UnixStream,
    byte: Box<[u8; 1]>,
    /// Reads the byte, if the store uses the ring of its worker.
    calls: Option<Calls>,
    tokens: Vec<u32>,
    asked: Arc<AtomicU64>,
}

impl Store for Slow {
    fn geometry(&self) -> Geometry {
        Geometry::new(100, 512)
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        self.tokens.push(op.token);
        if let Some(calls) = &mut self.calls {
            let read = opcode::Read::new(types::Fd(self.bytes.as_raw_fd()), self.byte.as_mut_ptr(), 1);
            // SAFETY: nothing else uses the byte, and the test ends after the call.
            unsafe { calls.push(read.build()) };
        }
        Ok(())
    }

    fn kick(&mut self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    fn complete(&mut self) -> Option<Completion> {
        match &mut self.calls {
            Some(calls) => assert_eq!(calls.take_done()?, (0, 1)),
            None => self.bytes.read_exact(&mut [0]).ok()?,
        }
        Some(Completion { token: self.tokens.pop()?, result: Ok(()) })
    }

    fn calls(&mut self) -> Option<&mut Calls> {
        self.calls.as_mut()
    }
}

/// Returns how often the store was polled and how many turns the worker ran during 300 ms in
/// which the store had nothing to report, and the shortest time from its completion of an
/// operation to the reply.
fn serve(uses_ring: bool) -> (u64, u64, Duration) {
    let (bytes, mut end) = UnixStream::pair().unwrap();
    // The ring waits itself.
    bytes.set_nonblocking(!uses_ring).unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let calls = uses_ring.then(|| Calls::new(1));
    let slow = Slow { bytes, byte: Box::new([0]), calls, tokens: Vec::new(), asked: Arc::clone(&asked) };
    let idle = ExportPlan::new(SECOND, store(Order::Submitted, 1));
    let target = FakeTarget::new(Plan { rings: true, ..Plan::new(vec![ExportPlan::new(DISK, slow), idle]) });
    let FakeTarget { mut workers, wakers, wires, .. } = target;
    let (orders, inbox) = bounded(4);
    let waker = wakers[0].clone();
    let worker = workers.pop().unwrap();
    let thread = thread::spawn(move || {
        let waiter = worker.waiter(&wakers[0]).unwrap();
        worker::run(worker, &inbox, &waiter, IdlePolicy::Adaptive { spin: Duration::from_micros(50) })
    });
    let (mut idle, mut turns, mut shortest) = (u64::MAX, u64::MAX, Duration::MAX);
    for tag in 0..6 {
        let ask = read(DISK, tag, 0, 1);
        let before = asked.load(Ordering::Relaxed);
        assert!(wires[0].deliver(&ask.bytes()));
        waker.notify();
        let deadline = Instant::now() + PATIENCE;
        while asked.load(Ordering::Relaxed) == before {
            assert!(Instant::now() < deadline, "the worker does not turn");
            thread::yield_now();
        }
        let before = asked.load(Ordering::Relaxed);
        let turns_before = waker.heartbeats();
        thread::sleep(if tag == 0 { Duration::from_millis(300) } else { Duration::from_millis(10) });
        if tag == 0 {
            idle = asked.load(Ordering::Relaxed) - before;
            turns = waker.heartbeats() - turns_before;
            let (to, report) = bounded(1);
            orders.send(WorkerCommand::Report(to)).unwrap();
            waker.notify();
            let snapshot = report.recv_timeout(PATIENCE).unwrap();
            assert_eq!(snapshot.unfinished.iter().map(|(_, requests)| *requests).collect::<Vec<_>>(), [1]);
        }
        assert_eq!(wires[0].sent(), None);
        let finished = Instant::now();
        end.write_all(&[1]).unwrap();
        let reply = loop {
            if let Some(reply) = wires[0].sent() {
                break reply;
            }
            assert!(finished.elapsed() < PATIENCE, "no reply");
            thread::yield_now();
        };
        if tag > 0 {
            // After 10 ms: the longest sleep is not over.
            shortest = shortest.min(finished.elapsed());
        }
        assert_eq!(reply.len(), good(&ask, &[0; 512]).len());
    }
    orders.send(WorkerCommand::Drain).unwrap();
    drop(orders);
    waker.notify();
    let snapshot = thread.join().unwrap();
    assert!(snapshot.drained);
    assert_eq!(snapshot.exports.len(), 2, "the last snapshot has the exports");
    assert_eq!(snapshot.stats.counters.imbalances, 0);
    (idle, turns, shortest)
}

/// Awake for 50 µs after the request, then about four times in 300 ms.
#[test]
fn a_worker_sleeps_while_its_store_works() {
    let (asked, turns, shortest) = serve(true);
    assert!(asked < 5_000 && turns < 5_000, "asked {asked} times in {turns} turns in 300 ms");
    assert!(shortest < Duration::from_millis(50), "woken by the store, not by the clock: {shortest:?}");
}

/// A store that nothing reports on is polled continuously.
#[test]
fn a_store_without_the_ring_is_polled() {
    let (asked, ..) = serve(false);
    assert!(asked > 5_000, "asked {asked} times in 300 ms");
}

/// A store learns where buffers may be before there are any.
#[test]
fn a_store_is_told_of_the_memory_of_every_lane() {
    struct Curious(std::sync::mpsc::Sender<(Option<Registered>, Option<usize>)>);

    impl Store for Curious {
        fn geometry(&self) -> Geometry {
            Geometry::new(100, 512)
        }

        fn join(&mut self, registered: &Registered) {
            self.0.send((Some(registered.clone()), None)).unwrap();
        }

        fn submit(&mut self, op: Op) -> Result<(), Full> {
            self.0.send((None, Some(op.buffers.iovecs()[0].iov_base as usize))).unwrap();
            Ok(())
        }

        fn complete(&mut self) -> Option<Completion> {
            None
        }
    }

    let (tell, told) = std::sync::mpsc::channel();
    let exports = vec![ExportPlan::new(DISK, Curious(tell))];
    let plan = Plan { lanes: vec![0, 1], workers: 2, rings: true, ..Plan::new(exports) };
    let mut target = FakeTarget::new(plan);
    let registered = told.try_recv().unwrap().0.unwrap();
    // The last one is the bounce memory of the worker.
    let [areas @ .., _] = registered.areas() else { panic!("nothing is registered") };
    assert_eq!(areas.len(), 2);
    assert!(areas.iter().all(|area| area.bytes == 1024 * 4096));
    let mut used = Vec::new();
    for lane in [0u8, 1] {
        let ask = crate::channels::on_lane(lane, read(DISK, 1, 0, 1));
        target.deliver(lane.into(), &ask.bytes());
        target.settle();
        let at = told.try_recv().unwrap().1.unwrap();
        let within = |area: &&MemRegion| (area.base..area.base + area.bytes).contains(&at);
        used.extend(areas.iter().find(within).map(|area| area.base));
    }
    used.dedup();
    assert_eq!(used.len(), 2, "each frame lies in its lane's area");

    // Lanes of one queue share one UMEM, which is registered once.
    let (tell, told) = std::sync::mpsc::channel();
    let exports = vec![ExportPlan::new(DISK, Curious(tell))];
    let plan = Plan { lanes: vec![0, 1], workers: 2, one_queue: true, rings: true, ..Plan::new(exports) };
    FakeTarget::new(plan);
    assert_eq!(told.try_recv().unwrap().0.unwrap().areas().len(), 2);
}
