//! A run against the clock.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::outcome::Cost;
use crate::port::Port;
use crate::watch::{Reading, Watch};

use super::engine::Engine;
use super::tally::Tally;

/// How often overdue requests are looked for.
const EXPIRE_EVERY_NS: u64 = 2_000_000;
/// How long to look for replies before sleeping.
const SPIN: Duration = Duration::from_micros(100);
/// How long to sleep at most: overdue requests wait.
const SLEEP: Duration = Duration::from_millis(2);
/// How long replies are awaited after an interrupt.
const HASTE: Duration = Duration::from_secs(1);

/// When a run ends, and how it waits.
pub struct Limits<'a> {
    /// Ends then, if it has not ended by itself.
    pub duration: Option<Duration>,
    /// Never sleeps.
    pub spin: bool,
    /// A target to look at meanwhile.
    pub watch: Option<Watch>,
    /// Becomes true when the user interrupts.
    pub stop: &'a AtomicBool,
}

/// What was counted, and for how long.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The time over which requests were sent.
    pub elapsed: Duration,
    /// What was counted in that time.
    pub tally: Tally,
    /// Share of the time that the generator had nothing to do, 0 to 1: near 0
    /// it is the limit itself.
    pub idle: f64,
    /// What a watched target cost.
    pub cost: Option<Cost>,
}

/// Runs until the plan or the time ends, then waits for what is in flight.
pub fn run(engine: &mut Engine, port: &mut dyn Port, limits: &Limits<'_>) -> Result<Measured> {
    let before = limits.read_watch()?;
    let mut pace = Pace::start(limits.spin);
    let mut progress = Progress::start();
    let stopped = || limits.stop.load(Ordering::Relaxed);
    while !engine.finished() && !stopped() && limits.duration.is_none_or(|d| pace.started.elapsed() < d) {
        pace.step(engine, port)?;
        progress.show(pace.now_ns(), &engine.tally);
    }
    let elapsed = pace.started.elapsed();
    let cost = limits.cost_since(before)?;
    let measured = Measured { elapsed, tally: engine.tally.clone(), idle: pace.idle(), cost };
    engine.wind_down();
    let ended = Instant::now();
    let hurry = || stopped() && ended.elapsed() > HASTE;
    while !engine.finished() && !hurry() {
        pace.step(engine, port)?;
    }
    progress.clear();
    Ok(measured)
}

impl Limits<'_> {
    fn read_watch(&self) -> Result<Option<Reading>> {
        self.watch.as_ref().map(Watch::read).transpose()
    }

    fn cost_since(&self, before: Option<Reading>) -> Result<Option<Cost>> {
        let (Some(watch), Some(before)) = (&self.watch, before) else { return Ok(None) };
        let now = watch.read()?;
        let core_busy = watch.core.map(|_| now.busy_since(&before));
        let cpu = now.cpu_since(&before);
        Ok(Some(Cost { user_ns: cpu.user_ns, system_ns: cpu.system_ns, core_busy }))
    }
}

/// The loop's clock, and what it does when nothing arrives.
struct Pace {
    started: Instant,
    spin: bool,
    busy_at: Instant,
    expire_at_ns: u64,
    /// When the step before began, if it found nothing to do.
    idle_from_ns: Option<u64>,
    idle_ns: u64,
}

impl Pace {
    fn start(spin: bool) -> Self {
        let started = Instant::now();
        Self { started, spin, busy_at: started, expire_at_ns: 0, idle_from_ns: None, idle_ns: 0 }
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn idle(&self) -> f64 {
        self.idle_ns as f64 / self.now_ns().max(1) as f64
    }

    fn step(&mut self, engine: &mut Engine, port: &mut dyn Port) -> Result<()> {
        let now_ns = self.now_ns();
        if let Some(from_ns) = self.idle_from_ns.take() {
            self.idle_ns += now_ns - from_ns;
        }
        let sent = engine.issue(port, now_ns).context("cannot send")?;
        if now_ns >= self.expire_at_ns {
            engine.expire(port, now_ns).context("cannot send again")?;
            self.expire_at_ns = now_ns + EXPIRE_EVERY_NS;
        }
        let received = engine.collect(port, self.now_ns()).context("cannot receive")?;
        if received > 0 {
            self.busy_at = Instant::now();
            return Ok(());
        }
        self.idle_from_ns = (sent == 0).then_some(now_ns);
        if !self.spin && self.busy_at.elapsed() > SPIN {
            port.wait(SLEEP).context("cannot wait for replies")?;
        }
        Ok(())
    }
}

/// A line on the terminal, once a second.
struct Progress {
    shown_ns: u64,
    before: u64,
    visible: bool,
}

impl Progress {
    fn start() -> Self {
        Self { shown_ns: 0, before: 0, visible: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, now_ns: u64, tally: &Tally) {
        let passed = now_ns.saturating_sub(self.shown_ns);
        if !self.visible || passed < 1_000_000_000 {
            return;
        }
        let done = tally.completions();
        let rate = (done - self.before) as f64 / (passed as f64 / 1e9);
        eprint!(
            "\r\x1b[K{:3} s  {rate:9.0} IOPS  {} retransmits  {} errors",
            now_ns / 1_000_000_000,
            tally.trouble.retransmits,
            tally.trouble.errors + tally.trouble.refused
        );
        let _ = std::io::stderr().flush();
        (self.shown_ns, self.before) = (now_ns, done);
    }

    fn clear(&self) {
        if self.visible {
            eprint!("\r\x1b[K");
        }
    }
}
