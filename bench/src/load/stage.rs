//! A worker against a target in memory, on a clock that jumps from one event to
//! the next: what takes minutes is over at once, and to the nanosecond.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::aoe::{Address, Mac, Route};
use crate::outcome::Outcome;
use crate::port::Tags;
use crate::port::fake::{Clock, SlowTarget};

use super::engine::Engine;
use super::flight::Flight;
use super::pattern::Pattern;
use super::phases::Course;
use super::plan::{Area, Plan};
use super::resend::Resend;
use super::schedule::Schedule;
use super::tally::Tally;
use super::worker::Worker;

/// A microsecond, in nanoseconds.
pub const US: u64 = 1_000;
/// A millisecond.
pub const MS: u64 = 1_000_000;
/// A second.
pub const S: u64 = 1_000_000_000;

const EXPIRE_EVERY_NS: u64 = 2 * MS;

/// The way to the target in memory.
pub const ROUTE: Route = Route { from: Mac([2; 6]), to: Mac([4; 6]), address: Address { shelf: 7, slot: 3 } };

/// What is to be played.
pub struct Stage {
    /// When requests are due.
    pub schedule: Schedule,
    /// How many are in flight.
    pub window: u16,
    /// When one is sent again.
    pub resend: Resend,
    /// When one is given up.
    pub give_up_ns: u64,
}

impl Stage {
    /// A load with these requests, which are never sent again.
    pub fn new(schedule: Schedule, window: u16) -> Self {
        Self { schedule, window, resend: Resend::Doubling { timeout_ns: 1000 * S }, give_up_ns: 10 * S }
    }

    /// Plays it to its end against a target that answers the nth request, which
    /// comes at a time, when this function says.
    pub fn play(self, answers_at: impl FnMut(u64, u64) -> Option<u64> + Send + 'static) -> Outcome {
        let (target, clock) = SlowTarget::new(answers_at);
        let (end_ns, give_up_ns) = (self.schedule.end_ns, self.give_up_ns);
        let (from_ns, open) = (self.schedule.from_ns, self.schedule.is_open());
        let plan = Plan::new(Area { sectors: 1, first: 0, blocks: 1000 }, 100, Pattern::Random, 1);
        let flight = Flight::new(self.window, Tags::ALL, 0, self.resend, give_up_ns);
        let engine = Engine::new(ROUTE, plan, self.schedule, flight);
        let mut worker = Worker { port: Box::new(target), engines: vec![engine], tally: Tally::new(open) };
        let mut course = Course::new(0, end_ns, give_up_ns);
        let last_ns = drive(&mut worker, &mut course, &clock);
        assert!(last_ns < end_ns + 3 * give_up_ns, "it ends in time");
        let Tally { reads, trouble, last_ns, .. } = worker.tally;
        let seconds = (last_ns.max(end_ns) - from_ns) as f64 / 1e9;
        Outcome { reads, trouble, seconds, ..Outcome::default() }
    }
}

/// Goes from event to event until the worker has finished; returns when that was.
fn drive(worker: &mut Worker, course: &mut Course, clock: &Arc<Clock>) -> u64 {
    let (mut now_ns, mut expire_ns) = (0, 0);
    while !worker.finished(now_ns) {
        clock.now_ns.store(now_ns, Ordering::Relaxed);
        course.check(worker, now_ns, false);
        if worker.collect(now_ns).unwrap() > 0 {
            course.answered_ns = now_ns;
        }
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
