//! Rounds: what waits when one begins is executed before anything that arrives
//! later.

use super::{Clock, Worker};
use crate::plant::{Bug, planted};
use crate::ring::Rings;

/// Counting what waits takes less than this, which is less than a host takes to repeat
/// a write. If it took longer, the worker was interrupted: then a resend may have been
/// counted on one lane, and not the write itself, which came meanwhile on a lane that
/// had been counted before.
const COUNT_NS: u64 = 50_000;

/// How often it is tried at most.
const COUNTS_MAX: usize = 8;

/// What is executed before anything that arrives later.
#[derive(Debug, Default)]
pub(super) struct Pass {
    began_ns: u64,
    /// When the round before it began.
    previous_ns: u64,
    /// Jobs of other workers that have not been taken over yet.
    pub inbound: usize,
}

impl Pass {
    /// When a frame of this round without a stamp arrived at the earliest: it is for an
    /// export of this worker's own, or of another's.
    ///
    /// It has arrived since the last round began, for that took all that waited then. To
    /// the worker itself the beginning of this one is as good: what its own rounds take in
    /// order needs no other proof.
    pub fn since_ns(&self, is_own: bool) -> u64 {
        if is_own || planted(Bug::ArrivedWithRound) { self.began_ns } else { self.previous_ns }
    }
}

impl<R: Rings> Worker<R> {
    /// If the last round is over, notes what waits on every lane and from every
    /// other worker: that is the new round.
    ///
    /// All of it is executed before anything that arrives later. So a write
    /// that waits on one lane cannot be executed after a newer one of the same
    /// host to the same sectors: the host sends that when the first one, or its
    /// resend on another lane, has been acknowledged, which is in this round at
    /// the earliest. Between lanes of several workers their owner compares when
    /// writes arrived (`answered.rs`).
    pub(super) fn begin_pass(&mut self, clock: &impl Clock) {
        if self.pass.inbound > 0 || self.lanes.iter().any(|own| own.left > 0) {
            return;
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
        self.exports.set_time(self.pass.began_ns);
    }

    /// A round of a worker that ends: nothing from the wire.
    pub(super) fn last_pass(&mut self, clock: &impl Clock) {
        for own in &mut self.lanes {
            own.left = 0;
        }
        self.exports.set_time(clock.now_ns());
        self.pass.inbound = self.channels.inbound_waiting();
    }
}
