//! Passes: everything waiting at the start of a pass is executed before anything that
//! arrives later, unless it is held (`held.rs`).

use super::{Clock, Worker};
use crate::plant::{Bug, planted};
use crate::ring::Rings;

/// Counting the waiting requests normally takes less than this, and a host takes longer
/// than this to resend a write. If the count took longer, the worker was interrupted.
/// Then the count may include a resend on one lane, but not the write itself, which
/// arrived meanwhile on a lane counted earlier.
const COUNT_NS: u64 = 50_000;

/// Maximum number of attempts at counting.
const COUNTS_MAX: usize = 8;

/// What is executed before anything that arrives later.
#[derive(Debug, Default)]
pub(super) struct Pass {
    began_ns: u64,
    /// When the previous pass began.
    previous_ns: u64,
    /// Number of descriptors that waited on all lanes when it began.
    pub waiting: usize,
    /// Requests from other workers not yet executed in this pass.
    pub inbound: usize,
}

impl Pass {
    /// Lower bound of the arrival time of a frame in this pass that has no stamp.
    /// `is_own`: its export belongs to this worker.
    ///
    /// It arrived after the previous pass began, because that pass took everything
    /// waiting then. For this worker's own exports, the start of this pass can be used
    /// instead: passes already keep the order of the requests that a worker receives
    /// itself.
    pub fn since_ns(&self, is_own: bool) -> u64 {
        if is_own || planted(Bug::ArrivedWithRound) { self.began_ns } else { self.previous_ns }
    }
}

impl<R: Rings> Worker<R> {
    /// If the previous pass is complete, begins a new one: notes how much waits on every
    /// lane and from every other worker.
    ///
    /// All of that is executed before anything that arrives later. So a write that waits
    /// on one lane cannot be executed after a newer one by the same host to the same
    /// sectors: the host sends the newer one only after the first, or its resend on
    /// another lane, has been acknowledged, which happens in this pass at the earliest.
    /// For lanes of different workers, the owner of the export compares the arrival times
    /// (`answered.rs`).
    pub(super) fn begin_pass(&mut self, clock: &impl Clock) {
        if self.pass.inbound > 0 || self.lanes.iter().any(|own| own.left > 0) {
            return;
        }
        // First, so that all that the XDP program has counted until then is in this pass.
        for own in &mut self.lanes {
            let (held, ring_size) = (&self.held, own.lane.ring_size());
            own.hosts.begin_pass(|host| held.ring_share(host, ring_size).into(), self.pass.began_ns);
        }
        self.pass.previous_ns = self.pass.began_ns;
        for _ in 0..COUNTS_MAX {
            self.pass.began_ns = clock.now_ns();
            self.pass.inbound = self.channels.inbound_waiting();
            for own in &mut self.lanes {
                own.left = own.lane.waiting();
            }
            if self.lanes.len() < 2 || clock.now_ns().saturating_sub(self.pass.began_ns) <= COUNT_NS {
                break;
            }
        }
        self.pass.waiting = self.lanes.iter().map(|own| own.left).sum();
        if self.lanes.iter().filter(|own| own.left > 0).count() > 1 {
            // Of different hosts, as far as is known before they are received.
            self.several_ns = self.pass.began_ns;
        }
        self.exports.set_time(self.pass.began_ns);
    }

    /// The pass of a draining worker: receives nothing from its lanes.
    pub(super) fn last_pass(&mut self, clock: &impl Clock) {
        for own in &mut self.lanes {
            own.left = 0;
        }
        self.exports.set_time(clock.now_ns());
        self.exports.look_at_once();
        self.exports.lift_limits();
        self.pass.inbound = self.channels.inbound_waiting();
    }
}
