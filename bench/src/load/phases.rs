//! The end of a run: when requests stop becoming due, how long due requests may still be
//! sent, and when the rest is given up.

use super::schedule::NEVER;
use super::worker::Worker;

/// How long to wait for replies after an interrupt.
const HASTE_NS: u64 = 1_000_000_000;
/// A run of a number of requests ends after this many give-up times without an answer.
const PATIENCE: u64 = 3;

/// The phases of a run.
#[derive(Clone, Debug)]
pub struct Course {
    /// When it ends; [`NEVER`] if not known yet.
    pub end_ns: u64,
    /// The time of the last answer, or of the start.
    pub answered_ns: u64,
    give_up_ns: u64,
    abandon_ns: u64,
    stopped: bool,
}

impl Course {
    /// A run that begins now.
    pub fn new(now_ns: u64, end_ns: u64, give_up_ns: u64) -> Self {
        Self { end_ns, answered_ns: now_ns, give_up_ns, abandon_ns: NEVER, stopped: false }
    }

    /// Ends and abandons the load when it is time. Returns `true` if not even requests in
    /// flight should be waited for.
    pub fn check(&mut self, worker: &mut Worker, now_ns: u64, stopped: bool) -> bool {
        let silence_ns = now_ns.saturating_sub(self.answered_ns);
        let silent = self.end_ns == NEVER && silence_ns > PATIENCE.saturating_mul(self.give_up_ns);
        let ended = now_ns >= self.end_ns || stopped || silent;
        if ended && self.abandon_ns == NEVER {
            self.end_ns = self.end_ns.min(now_ns);
            self.abandon_ns = self.end_ns.saturating_add(self.give_up_ns);
            worker.end(self.end_ns);
        }
        if stopped && !self.stopped {
            self.stopped = true;
            self.abandon_ns = self.abandon_ns.min(now_ns + HASTE_NS);
        }
        if now_ns < self.abandon_ns {
            return false;
        }
        worker.abandon(now_ns);
        stopped
    }
}
