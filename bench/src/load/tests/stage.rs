//! Runs a worker against an in-memory target, on a clock that jumps from one event to the
//! next. So minutes pass at once, and times are exact to the nanosecond.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::aoe::{Address, Mac, Route};
use crate::outcome::Outcome;
use crate::port::Tags;
use crate::port::sim::{Clock, SlowTarget};

use super::super::engine::Engine;
use super::super::flight::Flight;
use super::super::plan::Pattern;
use super::super::plan::{Area, Plan};
use super::super::schedule::Schedule;
use super::super::tally::Tally;
use super::super::worker::Worker;

/// A microsecond, in nanoseconds.
pub const US: u64 = 1_000;
/// A millisecond.
pub const MS: u64 = 1_000_000;
/// A second.
pub const S: u64 = 1_000_000_000;

const EXPIRE_EVERY_NS: u64 = 2 * MS;

/// The route to the in-memory target.
pub const ROUTE: Route = Route { from: Mac([2; 6]), to: Mac([4; 6]), address: Address { shelf: 7, slot: 3 } };

/// A simulated run.
pub struct Stage {
    /// When requests are due.
    pub schedule: Schedule,
    /// The maximum number in flight.
    pub window: u16,
    /// When requests are resent.
    pub timeout_ns: u64,
    /// When requests are given up.
    pub give_up_ns: u64,
}

impl Stage {
    /// A load whose requests are never resent.
    pub fn new(schedule: Schedule, window: u16) -> Self {
        Self { schedule, window, timeout_ns: 1000 * S, give_up_ns: 10 * S }
    }

    /// Runs it to its end. The function gets the time and the number of a request, and
    /// returns the time of the answer.
    pub fn play(self, answers_at: impl FnMut(u64, u64) -> Option<u64> + Send + 'static) -> Outcome {
        let (target, clock) = SlowTarget::new(answers_at);
        let (end_ns, give_up_ns) = (self.schedule.end_ns, self.give_up_ns);
        let (from_ns, open) = (self.schedule.from_ns, self.schedule.is_open());
        let plan = Plan::new(Area { sectors: 1, first: 0, blocks: 1000 }, 100, Pattern::Random, 1);
        let flight = Flight::new(self.window, Tags::ALL, 0, self.timeout_ns, give_up_ns);
        let engine = Engine::new(ROUTE, plan, self.schedule, flight);
        let mut worker = Worker::new(Box::new(target), vec![engine], Tally::new(open), end_ns, give_up_ns);
        let last_ns = drive(&mut worker, &clock);
        assert!(last_ns < end_ns + 3 * give_up_ns, "it ends in time");
        let Tally { reads, trouble, last_ns, .. } = worker.tally;
        let seconds = (last_ns.max(end_ns) - from_ns) as f64 / 1e9;
        Outcome { reads, trouble, seconds, ..Outcome::default() }
    }
}

/// Moves from event to event until the worker has finished; returns that time.
fn drive(worker: &mut Worker, clock: &Arc<Clock>) -> u64 {
    let (mut now_ns, mut expire_ns) = (0, 0);
    while !worker.finished(now_ns) {
        clock.now_ns.store(now_ns, Ordering::Relaxed);
        worker.check(now_ns, false);
        worker.collect(now_ns).unwrap();
        if now_ns >= expire_ns {
            worker.expire(now_ns).unwrap();
            expire_ns = now_ns + EXPIRE_EVERY_NS;
        }
        worker.issue(now_ns).unwrap();
        let wakes_ns = worker.wakes_ns(now_ns).unwrap_or(u64::MAX);
        let next_ns = wakes_ns.min(clock.reply_ns.load(Ordering::Relaxed)).min(expire_ns);
        now_ns = next_ns.max(now_ns + 1);
    }
    now_ns
}
