//! Rounds: what waits when one begins is executed before anything that arrives
//! later.

use super::job::Arrival;
use super::{Clock, Worker};
use crate::plant::{Bug, planted};
use crate::ring::{Frame, Rings};

/// What is executed before anything that arrives later.
#[derive(Debug, Default)]
pub(super) struct Round {
    began_ns: u64,
    /// When the round before it began.
    previous_ns: u64,
    /// Jobs of other workers that have not been taken over yet.
    pub jobs: usize,
}

impl Round {
    /// When a frame of this round arrived that `worker` received at `received_ns`, for
    /// an export of `owner`.
    ///
    /// Without a stamp it has arrived since the last round began, for that took all that
    /// waited then. To the worker itself the beginning of this one is as good: what its
    /// own rounds take in order needs no other proof.
    pub fn arrival(&self, frame: &Frame, received_ns: u64, worker: u16, owner: u16) -> Arrival {
        let (earliest_ns, latest_ns) = match frame.arrived_ns().filter(|ns| *ns <= received_ns) {
            Some(ns) => (ns, ns),
            None if owner == worker || planted(Bug::ArrivedWithRound) => (self.began_ns, received_ns),
            None => (self.previous_ns, received_ns),
        };
        Arrival { earliest_ns, latest_ns, worker }
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
    pub(super) fn begin_round(&mut self, clock: &impl Clock) {
        if self.round.jobs > 0 || self.lanes.iter().any(|own| own.left > 0) {
            return;
        }
        self.round.previous_ns = self.round.began_ns;
        self.round.began_ns = clock.now_ns();
        self.desk.set_time(self.round.began_ns);
        self.round.jobs = self.exchange.jobs_waiting();
        for own in &mut self.lanes {
            own.left = own.lane.waiting();
        }
    }

    /// A round of a worker that ends: nothing from the wire.
    pub(super) fn last_round(&mut self, clock: &impl Clock) {
        for own in &mut self.lanes {
            own.left = 0;
        }
        self.desk.set_time(clock.now_ns());
        self.round.jobs = self.exchange.jobs_waiting();
    }
}
