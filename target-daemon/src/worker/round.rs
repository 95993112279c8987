//! Rounds: what waits when one begins is executed before anything that arrives
//! later.

use super::lanes::SharedLane;
use super::{Clock, Worker};
use crate::ring::Rings;

/// A frame that may have waited this long is late: meanwhile its host may have
/// sent it again, over a lane of another worker. Half of the 100 ms at which
/// Linux looks for requests to send again; shorter, and a store that takes its
/// time to sync would starve the exports of other workers.
const LATE_NS: u64 = 50_000_000;

/// What is executed before anything that arrives later.
#[derive(Debug, Default)]
pub(super) struct Round {
    began_ns: u64,
    /// Jobs of other workers that have not been taken over yet.
    pub jobs: usize,
    /// Its frames may have waited for longer than [`LATE_NS`].
    pub late: bool,
    /// The worker has slept since it began.
    pub slept: bool,
}

impl<R: Rings> Worker<R> {
    /// If the last round is over, notes what waits on every lane and from every
    /// other worker: that is the new round.
    ///
    /// All of it is executed before anything that arrives later. So a write
    /// that waits on one lane cannot be executed after a newer one of the same
    /// host to the same sectors: the host sends that when the first one, or its
    /// resend on another lane, has been acknowledged, which is in this round at
    /// the earliest.
    pub(super) fn begin_round(&mut self, clock: &impl Clock) {
        if self.round.jobs > 0 || self.lanes.iter().any(|own| own.left > 0) {
            return;
        }
        let now_ns = clock.now_ns();
        let waited_ns = now_ns.saturating_sub(self.round.began_ns);
        // A frame that ends a sleep has not waited for us.
        let slept = std::mem::take(&mut self.round.slept);
        self.round.late = waited_ns > LATE_NS && !slept;
        self.round.began_ns = now_ns;
        self.desk.set_time(now_ns);
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

/// Whether hosts reach us on lanes of other workers, too. Where all frames come
/// in on one worker's lanes, no request can overtake another.
pub(super) fn other_lane_used(lanes: &[SharedLane], worker: u16) -> bool {
    lanes.iter().any(|lane| lane.worker != worker && lane.is_used())
}
