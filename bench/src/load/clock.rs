//! Drives a worker by the clock, from the start of a run to its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender};

use crate::cores;

use super::engine::Worker;
use super::schedule::NEVER;
use super::tally::Tally;

/// How often to check for overdue requests.
const EXPIRE_EVERY_NS: u64 = 2_000_000;
/// How long to poll for replies before sleeping.
const SPIN_NS: u64 = 100_000;
/// Maximum sleep, because overdue requests wait meanwhile.
const SLEEP_NS: u64 = 2_000_000;
/// A sleep may end this much too late.
const LATE_NS: u64 = 200_000;
/// The times of a run, in nanoseconds since its start, and how to wait.
#[derive(Clone, Debug)]
pub struct Times {
    /// The start: the same for all threads.
    pub start: Instant,
    /// When counting begins.
    pub from_ns: u64,
    /// When requests stop becoming due; [`NEVER`] if the run ends after a number of
    /// requests.
    pub end_ns: u64,
    /// How often counts are handed over.
    pub interval_ns: u64,
    /// How long after the end a request may still be sent.
    pub give_up_ns: u64,
    /// Whether to spin instead of sleeping.
    pub spin: bool,
    /// Whether to read everything back at the end.
    pub sweep: bool,
}

/// The counts of a thread over an interval.
pub struct Part {
    /// The thread.
    pub thread: usize,
    /// The number of the interval; 0 is before counting begins.
    pub number: u64,
    /// The counts.
    pub tally: Tally,
}

/// Channels for full and empty tallies, so that neither side waits for the other.
pub struct Exchange {
    /// To the thread that adds them up.
    pub parts: Sender<Part>,
    /// Cleared tallies from it.
    pub spare: Receiver<Tally>,
}

/// The final report of a thread.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// When requests stopped becoming due; `None` if the run ended after a number of
    /// requests.
    pub end_ns: Option<u64>,
    /// Fraction of idle time, 0 to 1.
    pub idle: f64,
}

/// A thread that measures.
pub struct Runner<'a> {
    /// Its number.
    pub thread: usize,
    /// Its ports and exports.
    pub worker: Worker,
    /// The times of the run.
    pub times: &'a Times,
    /// The channels for its counts.
    pub exchange: Exchange,
    /// Becomes true when the user interrupts.
    pub stop: &'a AtomicBool,
    /// The core to pin it to.
    pub core: Option<usize>,
}

impl Runner<'_> {
    /// Runs until every request is answered or given up.
    pub fn run(mut self) -> Result<(Worker, Ending)> {
        cores::pin(self.core)?;
        // Before the start all times are zero, and a request would seem to take no time.
        std::thread::sleep(self.times.start.saturating_duration_since(Instant::now()));
        let mut pace = Pace::new(self.times, self.worker.port.dropped().context(COUNTERS)?);
        self.load(&mut pace)?;
        let ended_ns = (pace.course.end_ns != NEVER).then_some(pace.course.end_ns);
        let end_ns = ended_ns.unwrap_or_else(|| pace.now_ns());
        let idle = pace.idle_ns as f64 / end_ns.saturating_sub(self.times.from_ns).max(1) as f64;
        if self.times.sweep && !self.stopped() {
            self.worker.sweep();
            pace.course = Course::new(pace.now_ns(), NEVER, self.times.give_up_ns);
            self.load(&mut pace)?;
        }
        self.hand_over(&mut pace, true)?;
        Ok((self.worker, Ending { end_ns: ended_ns, idle: idle.min(1.0) }))
    }

    /// Steps until the worker has finished.
    fn load(&mut self, pace: &mut Pace<'_>) -> Result<()> {
        let mut now_ns = pace.now_ns();
        while !self.worker.finished(now_ns) {
            if now_ns >= pace.hand_over_ns {
                self.hand_over(pace, false)?;
            }
            let stopped = self.stopped();
            if pace.course.check(&mut self.worker, now_ns, stopped) {
                break;
            }
            now_ns = self.step(pace, now_ns)?;
        }
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One pass of the loop; returns the time after it.
    fn step(&mut self, pace: &mut Pace<'_>, now_ns: u64) -> Result<u64> {
        let worker = &mut self.worker;
        let sent = worker.issue(now_ns).context("cannot send")?;
        if now_ns >= pace.expire_at_ns {
            worker.expire(now_ns).context("cannot send again")?;
            pace.expire_at_ns = now_ns + EXPIRE_EVERY_NS;
        }
        let sent_ns = if sent > 0 { pace.now_ns() } else { now_ns };
        let received = worker.collect(sent_ns).context("cannot receive")?;
        if received > 0 {
            pace.course.answered_ns = sent_ns;
        } else if let Some(sleep) = pace.sleep(worker, sent_ns) {
            worker.port.wait(sleep).context("cannot wait for replies")?;
        }
        let after_ns = pace.now_ns();
        if sent + received == 0 {
            pace.idles(now_ns, after_ns);
        }
        Ok(after_ns)
    }

    /// Hands the counts over, if an empty tally is available to replace them.
    fn hand_over(&mut self, pace: &mut Pace<'_>, last: bool) -> Result<()> {
        let number = pace.next_interval();
        let empty = if last {
            Tally::default()
        } else {
            match self.exchange.spare.try_recv() {
                Ok(empty) => empty,
                // They are handed over with the next interval.
                Err(_) => return Ok(()),
            }
        };
        let mut tally = std::mem::replace(&mut self.worker.tally, empty);
        let dropped = self.worker.port.dropped().context(COUNTERS)?;
        tally.trouble.dropped = dropped - std::mem::replace(&mut pace.dropped, dropped);
        // Cannot fail: the receiver outlives this thread, and the channel holds all
        // tallies.
        let _ = self.exchange.parts.send(Part { thread: self.thread, number, tally });
        Ok(())
    }
}

const COUNTERS: &str = "cannot read the port's counters";

/// The clock, and the times derived from it.
struct Pace<'a> {
    times: &'a Times,
    course: Course,
    hand_over_ns: u64,
    /// The current interval.
    number: u64,
    expire_at_ns: u64,
    idle_ns: u64,
    dropped: u64,
}

impl<'a> Pace<'a> {
    fn new(times: &'a Times, dropped: u64) -> Self {
        let (number, hand_over_ns) =
            if times.from_ns > 0 { (0, times.from_ns) } else { (1, times.interval_ns) };
        Self {
            times,
            course: Course::new(0, times.end_ns, times.give_up_ns),
            hand_over_ns,
            number,
            expire_at_ns: 0,
            idle_ns: 0,
            dropped,
        }
    }

    fn now_ns(&self) -> u64 {
        Instant::now().saturating_duration_since(self.times.start).as_nanos() as u64
    }

    /// Returns the interval that is over, and begins the next.
    fn next_interval(&mut self) -> u64 {
        let over = self.number;
        self.number += 1;
        self.hand_over_ns = self.times.from_ns + self.number * self.times.interval_ns;
        over
    }

    /// How long to sleep; `None` if there is something to do soon.
    fn sleep(&self, worker: &Worker, now_ns: u64) -> Option<Duration> {
        if self.times.spin || now_ns.saturating_sub(self.course.answered_ns) < SPIN_NS {
            return None;
        }
        let wakes_ns = worker.wakes_ns(now_ns).map_or(SLEEP_NS, |at| at.saturating_sub(now_ns + LATE_NS));
        // Ports sleep in whole milliseconds.
        let ms = wakes_ns.min(SLEEP_NS) / 1_000_000;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    fn idles(&mut self, from_ns: u64, to_ns: u64) {
        let to_ns = to_ns.min(self.course.end_ns);
        self.idle_ns += to_ns.saturating_sub(from_ns.max(self.times.from_ns));
    }
}

// The end of a run: when requests stop becoming due, how long due requests may still be
// sent, and when the rest is given up.

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
