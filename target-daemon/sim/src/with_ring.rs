//! A store with a ring of its own, for tests without a worker.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xblade_store::{Completion, Full, Geometry, IoError, Op, OpResult, Ring, Store};

/// A store, and a ring if it uses one.
pub struct WithRing {
    store: Box<dyn Store>,
    ring: Option<Ring>,
}

impl WithRing {
    /// Gives this store a ring if it uses one.
    ///
    /// # Panics
    ///
    /// The kernel gives no ring.
    #[allow(clippy::expect_used)] // For tests.
    pub fn new(mut store: Box<dyn Store>) -> Self {
        let ring = store.calls().is_some().then(|| Ring::open(Vec::new()).expect("a ring"));
        if let Some(ring) = &ring {
            store.join(ring.registered());
        }
        Self { store, ring }
    }

    /// Sleeps until the ring has results, but at most this long. Returns whether it has; at once
    /// without a ring.
    pub fn wait(&mut self, limit: Duration) -> bool {
        let Some(ring) = &mut self.ring else { return true };
        if !ring.arm() {
            let mut fd = [PollFd::from_borrowed_fd(ring.fd(), PollFlags::IN)];
            let limit =
                Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
            if poll(&mut fd, Some(&limit)) != Ok(1) {
                ring.disarm();
                return false;
            }
            let _ = rustix::io::read(ring.fd(), &mut [0; 8]);
        }
        ring.disarm();
        true
    }
}

impl Store for WithRing {
    fn geometry(&self) -> Geometry {
        self.store.geometry()
    }

    fn degraded(&self) -> Option<IoError> {
        self.store.degraded()
    }

    fn degrade(&mut self, fault: IoError) {
        self.store.degrade(fault);
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        self.store.submit(op)
    }

    fn prefetch(&self, sector: u64, sectors: u64) {
        self.store.prefetch(sector, sectors);
    }

    fn try_inline(&mut self, op: &mut Op) -> Option<OpResult> {
        self.store.try_inline(op)
    }

    /// As two turns of a worker.
    fn kick(&mut self) {
        for _ in 0..2 {
            self.store.kick();
            if let (Some(ring), Some(calls)) = (&mut self.ring, self.store.calls()) {
                ring.take(0, calls);
                ring.exchange(|_, call, result| calls.deliver(call, result));
            }
        }
        self.store.kick();
    }

    fn complete(&mut self) -> Option<Completion> {
        self.store.complete()
    }
}
