//! A port with its exports, driven by the clock from the start of a run to its end: when
//! requests stop becoming due, how long due requests may still be sent, and when the rest is
//! given up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender};

use crate::aoe::Response;
use crate::port::Port;

use super::engine::Engine;
use super::plan::Plan;
use super::schedule::{NEVER, Schedule};
use super::tally::{Part, Tally};

/// How often to check for overdue requests.
const EXPIRE_EVERY_NS: u64 = 2_000_000;
/// How long to poll for replies before sleeping.
const SPIN_NS: u64 = 100_000;
/// Maximum sleep, because overdue requests wait meanwhile.
const SLEEP_NS: u64 = 2_000_000;
/// A sleep may end this much too late.
const LATE_NS: u64 = 200_000;
/// How long to wait for replies after an interrupt.
const HASTE_NS: u64 = 1_000_000_000;
/// A run of a number of requests ends after this many give-up times without an answer.
const PATIENCE: u64 = 3;

/// A port with its exports. The time is an argument.
pub struct Worker {
    /// The port.
    pub port: Box<dyn Port>,
    /// The exports; no two have the same address.
    pub engines: Vec<Engine>,
    /// The counts since they were last taken.
    pub tally: Tally,
    /// When requests stop becoming due; [`NEVER`] if not known yet.
    pub end_ns: u64,
    /// The time of the last answer, or of the start.
    answered_ns: u64,
    /// How long after the end a request may still be sent.
    give_up_ns: u64,
    abandon_ns: u64,
}

impl Worker {
    /// A worker that starts at time 0.
    pub fn new(
        port: Box<dyn Port>,
        engines: Vec<Engine>,
        tally: Tally,
        end_ns: u64,
        give_up_ns: u64,
    ) -> Self {
        Self { port, engines, tally, end_ns, answered_ns: 0, give_up_ns, abandon_ns: NEVER }
    }

    /// Sends due requests; returns their number.
    pub fn issue(&mut self, now_ns: u64) -> io::Result<usize> {
        let mut sent = 0;
        for engine in &mut self.engines {
            sent += engine.issue(self.port.as_mut(), now_ns)?;
        }
        self.port.flush()?;
        Ok(sent)
    }

    /// Processes frames that have arrived; returns their number.
    pub fn collect(&mut self, now_ns: u64) -> io::Result<usize> {
        let Self { port, engines, tally, .. } = self;
        let received = port.receive(&mut |received| {
            let response = Response::parse(received.head()).ok();
            let engine = response.as_ref().and_then(|response| {
                engines.iter_mut().find(|e| e.route.address == response.header.address())
            });
            match (engine, &response) {
                (Some(engine), Some(response)) => engine.answer(response, received, tally, now_ns),
                _ => tally.trouble.unexpected += 1,
            }
        })?;
        if received > 0 {
            self.answered_ns = now_ns;
        }
        Ok(received)
    }

    /// Resends overdue requests, and gives up those that are too old.
    pub fn expire(&mut self, now_ns: u64) -> io::Result<()> {
        for engine in &mut self.engines {
            engine.expire(self.port.as_mut(), &mut self.tally, now_ns)?;
        }
        self.port.flush()
    }

    /// Whether every request has been sent and answered.
    pub fn finished(&self, now_ns: u64) -> bool {
        self.engines.iter().all(|engine| engine.finished(now_ns))
    }

    /// When to wake up to send, apart from replies.
    pub fn wakes_ns(&self, now_ns: u64) -> Option<u64> {
        self.engines.iter().filter_map(|engine| engine.wakes_ns(now_ns)).min()
    }

    /// Ends and abandons the load when it is time. Returns `true` if not even requests in
    /// flight should be waited for.
    pub fn check(&mut self, now_ns: u64, stopped: bool) -> bool {
        let silence_ns = now_ns.saturating_sub(self.answered_ns);
        let silent = self.end_ns == NEVER && silence_ns > PATIENCE.saturating_mul(self.give_up_ns);
        if self.abandon_ns == NEVER && (now_ns >= self.end_ns || stopped || silent) {
            self.end_ns = self.end_ns.min(now_ns);
            self.abandon_ns = self.end_ns.saturating_add(self.give_up_ns);
            self.engines.iter_mut().for_each(|engine| engine.end(self.end_ns));
        }
        if stopped {
            self.abandon_ns = self.abandon_ns.min(now_ns + HASTE_NS);
        }
        let abandoned = now_ns >= self.abandon_ns;
        if abandoned {
            self.engines.iter_mut().for_each(|engine| engine.abandon(&mut self.tally, now_ns));
        }
        abandoned && stopped
    }

    /// Starts reading back all checked sectors; these reads are not counted.
    pub fn sweep(&mut self, now_ns: u64) {
        (self.end_ns, self.answered_ns, self.abandon_ns) = (NEVER, now_ns, NEVER);
        for engine in self.engines.iter_mut().filter(|engine| engine.verifier.is_some()) {
            engine.plan = Plan::sweep(engine.plan.area);
            engine.schedule = Schedule::closed().between(NEVER, NEVER);
        }
    }
}

/// The times of a run, in nanoseconds since its start, and how to wait.
#[derive(Debug)]
pub struct Times {
    /// When counting begins.
    pub from_ns: u64,
    /// When requests stop becoming due; [`NEVER`] if the run ends after a number of
    /// requests.
    pub end_ns: u64,
    /// How long after that a request may still be sent, and how long it is resent.
    pub give_up_ns: u64,
    /// How often counts are handed over.
    pub interval_ns: u64,
    /// Whether to spin instead of sleeping.
    pub spin: bool,
    /// Whether to read everything back at the end.
    pub sweep: bool,
}

/// A worker on its thread.
pub struct Runner<'a> {
    /// The number of the thread.
    pub thread: usize,
    /// Its port and exports.
    pub worker: Worker,
    /// The same for all threads.
    pub start: Instant,
    /// When the phases begin and end.
    pub times: &'a Times,
    /// To the thread that adds up the counts.
    pub parts: Sender<Part>,
    /// Cleared tallies from it, so that neither side waits for the other.
    pub spare: Receiver<Tally>,
    /// Becomes true when the user interrupts.
    pub stop: &'a AtomicBool,
    /// The current interval; 0 is before counting begins.
    pub interval: u64,
    /// When requests expire next.
    pub expire_at_ns: u64,
    /// How long there was nothing to do.
    pub idle_ns: u64,
}

/// What a thread hands back.
pub struct Ran {
    /// Its port and exports.
    pub worker: Worker,
    /// When requests stopped becoming due; `None` if the run ended after a number of
    /// requests.
    pub end_ns: Option<u64>,
    /// Fraction of idle time, 0 to 1.
    pub idle: f64,
}

impl Runner<'_> {
    /// Runs until every request is answered or given up.
    pub fn run(mut self) -> Result<Ran> {
        // Before the start all times are zero, and a request would seem to take no time.
        thread::sleep(self.start.saturating_duration_since(Instant::now()));
        // Only what is dropped from here on counts.
        self.worker.port.dropped().context(COUNTERS)?;
        self.load()?;
        let end_ns = Some(self.worker.end_ns).filter(|&end_ns| end_ns != NEVER);
        let counted_ns = end_ns.unwrap_or_else(|| self.now_ns()).saturating_sub(self.times.from_ns);
        let idle = self.idle_ns as f64 / counted_ns.max(1) as f64;
        if self.times.sweep && !self.stopped() {
            self.worker.sweep(self.now_ns());
            self.load()?;
        }
        self.hand_over(Tally::default())?;
        Ok(Ran { worker: self.worker, end_ns, idle: idle.min(1.0) })
    }

    /// Steps until the worker has finished.
    fn load(&mut self) -> Result<()> {
        let mut now_ns = self.now_ns();
        while !self.worker.finished(now_ns) {
            if now_ns >= self.times.from_ns + self.interval * self.times.interval_ns {
                // Without an empty tally they are handed over with the next interval.
                if let Ok(empty) = self.spare.try_recv() {
                    self.hand_over(empty)?;
                }
                self.interval += 1;
            }
            let stopped = self.stopped();
            if self.worker.check(now_ns, stopped) {
                break;
            }
            now_ns = self.step(now_ns)?;
        }
        Ok(())
    }

    /// One pass of the loop; returns the time after it.
    fn step(&mut self, now_ns: u64) -> Result<u64> {
        let sent = self.worker.issue(now_ns).context("cannot send")?;
        if now_ns >= self.expire_at_ns {
            self.worker.expire(now_ns).context("cannot send again")?;
            self.expire_at_ns = now_ns + EXPIRE_EVERY_NS;
        }
        let sent_ns = if sent > 0 { self.now_ns() } else { now_ns };
        let received = self.worker.collect(sent_ns).context("cannot receive")?;
        if received == 0
            && let Some(sleep) = self.sleep(sent_ns)
        {
            self.worker.port.wait(sleep).context("cannot wait for replies")?;
        }
        let after_ns = self.now_ns();
        if sent + received == 0 {
            let idle_to_ns = after_ns.min(self.worker.end_ns);
            self.idle_ns += idle_to_ns.saturating_sub(now_ns.max(self.times.from_ns));
        }
        Ok(after_ns)
    }

    /// Hands the counts of the interval over.
    fn hand_over(&mut self, empty: Tally) -> Result<()> {
        let mut tally = std::mem::replace(&mut self.worker.tally, empty);
        tally.trouble.dropped = self.worker.port.dropped().context(COUNTERS)?;
        // Cannot fail: the receiver outlives this thread, and the channel holds all
        // tallies.
        let _ = self.parts.send(Part { thread: self.thread, number: self.interval, tally });
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn now_ns(&self) -> u64 {
        Instant::now().saturating_duration_since(self.start).as_nanos() as u64
    }

    /// How long to sleep; `None` if there is something to do soon.
    fn sleep(&self, now_ns: u64) -> Option<Duration> {
        if self.times.spin || now_ns.saturating_sub(self.worker.answered_ns) < SPIN_NS {
            return None;
        }
        let wakes_ns =
            self.worker.wakes_ns(now_ns).map_or(SLEEP_NS, |at| at.saturating_sub(now_ns + LATE_NS));
        // Ports sleep in whole milliseconds.
        let ms = wakes_ns.min(SLEEP_NS) / 1_000_000;
        (ms > 0).then(|| Duration::from_millis(ms))
    }
}

const COUNTERS: &str = "cannot read the port's counters";
