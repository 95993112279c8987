//! How a run comes to its end: when nothing becomes due any more, how long what
//! was due may still be sent, and when that is given up.

use super::schedule::NEVER;
use super::worker::Worker;

/// How long replies are awaited after an interrupt.
const HASTE_NS: u64 = 1_000_000_000;
/// A run of a number of requests ends after so many times without an answer
/// that a single request is given up.
const PATIENCE: u64 = 3;

/// The course of a run.
#[derive(Clone, Debug)]
pub struct Course {
    /// When it ends; [`NEVER`] if that is not known yet.
    pub end_ns: u64,
    /// When something was answered last, or it began.
    pub answered_ns: u64,
    give_up_ns: u64,
    abandon_ns: u64,
    stopped: bool,
}

impl Course {
    /// One that begins now.
    pub fn new(now_ns: u64, end_ns: u64, give_up_ns: u64) -> Self {
        Self { end_ns, answered_ns: now_ns, give_up_ns, abandon_ns: NEVER, stopped: false }
    }

    /// Ends what is to be ended, and abandons what is to be abandoned. `true` if
    /// nobody is to wait even for what is in flight.
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
