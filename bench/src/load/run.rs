//! One run of a job: sets up engines and threads, and collects their counts,
//! and shows progress on a terminal.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{ArrivalKind, LoadArgs, ResendKind};
use crate::conditions;
use crate::outcome::{Cost, Outcome};
use crate::port::{Port, Tags};
use crate::watch::{Reading, Watch};

use super::assign::Share;
use super::clock::{Ending, Exchange, Part, Runner, Times};
use super::engine::{Engine, Worker};
use super::flight::Flight;
use super::flight::{Linux, Resend};
use super::job::Job;
use super::plan::Plan;
use super::schedule::{NEVER, Schedule};
use super::tally::{Sum, Tally};
use super::verify;
use super::verify::Verifier;

/// Time for the threads to start.
const LEAD: Duration = Duration::from_millis(5);
/// How long a request is resent.
const GIVE_UP: Duration = Duration::from_secs(10);
/// The same for the Linux strategy.
const GIVE_UP_LINUX: Duration = Duration::from_secs(180);

/// A job, ready to run.
pub struct Bench<'a> {
    /// The arguments.
    pub args: &'a LoadArgs,
    /// The job made from them.
    pub job: &'a Job,
    /// A port for each thread.
    pub ports: Vec<Box<dyn Port>>,
    /// Becomes true when the user interrupts.
    pub stop: Arc<AtomicBool>,
    /// The number of runs so far; each has its own seed.
    pub done: u32,
}

/// How one run of a job differs from the others.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The name of its outcome.
    pub name: String,
    /// Requests per second, in an open loop.
    pub rate: Option<f64>,
    /// How long a request is resent.
    pub give_up: Duration,
}

impl Variant {
    /// As the arguments have it.
    pub fn new(name: String, args: &LoadArgs) -> Self {
        let give_up = match args.resend {
            ResendKind::Doubling => GIVE_UP,
            ResendKind::Linux => GIVE_UP_LINUX,
        };
        Self { name, rate: args.rate, give_up }
    }
}

impl Bench<'_> {
    /// Runs the load once.
    pub fn run(&mut self, variant: &Variant) -> Result<Outcome> {
        let seed = self.job.seed.wrapping_add(self.done);
        self.done += 1;
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let port = self.ports.first().map_or("", |port| port.name());
        let mut outcome = Outcome {
            name: variant.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: started.as_millis() as u64,
            conditions: conditions::of_load(&self.args.interface),
            setup: self.job.setup(self.args, variant.rate, port, seed),
            ..Outcome::default()
        };
        let times = self.times(variant);
        let workers = self.workers(variant, seed, &times);
        let length = self.job.duration.map(|duration| self.job.warm_up + duration);
        let progress = Progress::start(&variant.name, length, self.args.count, self.job.interval);
        let ran = all_threads(workers, &times, self, variant.rate.is_some(), &progress);
        progress.end();
        self.ports = ran?.fill(&mut outcome, &times);
        Ok(outcome)
    }

    fn times(&self, variant: &Variant) -> Times {
        let from = self.job.warm_up;
        Times {
            start: Instant::now() + LEAD,
            from_ns: from.as_nanos() as u64,
            end_ns: self.job.duration.map_or(NEVER, |duration| (from + duration).as_nanos() as u64),
            interval_ns: self.job.interval.as_nanos() as u64,
            give_up_ns: variant.give_up.as_nanos() as u64,
            spin: !self.args.cpu.is_empty(),
            sweep: self.args.verify && self.args.reads() < 100,
        }
    }

    fn workers(&mut self, variant: &Variant, seed: u32, times: &Times) -> Vec<Worker> {
        let ports = std::mem::take(&mut self.ports);
        let all: usize = self.job.shares.iter().map(Vec::len).sum();
        let mut before = 0;
        let mut workers = Vec::new();
        for (thread, (own, port)) in self.job.shares.iter().zip(ports).enumerate() {
            let engines = own.iter().filter_map(|share| {
                before += 1;
                self.engine(variant, seed, times, (thread, share), (before - 1, all))
            });
            let engines = engines.collect();
            workers.push(Worker { port, engines, tally: Tally::new(variant.rate.is_some()) });
        }
        workers
    }

    /// The engine for a share; `all` is the number of shares.
    fn engine(
        &self,
        variant: &Variant,
        seed: u32,
        times: &Times,
        (thread, share): (usize, &Share),
        (at, all): (usize, usize),
    ) -> Option<Engine> {
        let route = self.job.route(thread, share.export)?;
        let own_seed = u64::from(seed) << 16 | at as u64;
        let plan = Plan::new(share.area, self.args.reads(), self.args.pattern(), own_seed);
        let schedule = match variant.rate.map(|rate| rate * share.part) {
            None => Schedule::closed(),
            Some(rate) if self.args.arrivals == ArrivalKind::Poisson => {
                Schedule::poisson(rate, own_seed ^ 1 << 63)
            }
            Some(rate) => Schedule::constant(rate, at as f64 / all as f64),
        };
        let resend = match self.args.resend {
            ResendKind::Doubling => {
                let timeout_ns = self.args.timeout_ms.saturating_mul(1_000_000).max(1);
                Resend::Doubling { timeout_ns }
            }
            ResendKind::Linux => Resend::Linux(Linux::new(share.window)),
        };
        let tags = Tags::of(thread, self.job.shares.len());
        // Far apart, so that replies to an earlier run are recognized.
        let turn = seed.wrapping_mul(0x9E37_79B9);
        let flight = Flight::new(share.window, tags, turn, resend, times.give_up_ns);
        let mut engine = Engine::new(route, plan, schedule.between(times.from_ns, times.end_ns), flight);
        // The first ones get the remainder.
        let (count, of) = (self.args.count, all as u64);
        engine.count = count.map(|count| count / of + u64::from((at as u64) < count % of));
        // The stamps distinguish exports.
        let run = seed ^ (share.export as u32) << 24;
        engine.verifier = self.args.verify.then(|| Verifier::new(run, share.area.lba(), share.area.len()));
        Some(engine)
    }
}

/// The results of the threads.
struct Ran {
    workers: Vec<Worker>,
    endings: Vec<Ending>,
    sum: Sum,
    cost: Option<Cost>,
}

impl Ran {
    /// The counted time in seconds: until the end of the schedule, or until the last
    /// answer if that came later or the schedule had no end.
    fn seconds(&self, times: &Times) -> f64 {
        let ends = self.endings.iter().filter_map(|ending| ending.end_ns);
        let until_ns = ends.chain([self.sum.total.last_ns]).max().unwrap_or(0);
        until_ns.saturating_sub(times.from_ns) as f64 / 1e9
    }

    fn fill(mut self, outcome: &mut Outcome, times: &Times) -> Vec<Box<dyn Port>> {
        outcome.seconds = self.seconds(times);
        self.sum.finish(outcome.seconds);
        let total = self.sum.total;
        (outcome.reads, outcome.writes, outcome.trouble) = (total.reads, total.writes, total.trouble);
        outcome.intervals = self.sum.intervals;
        outcome.cost = self.cost;
        // The busiest thread may be the bottleneck.
        outcome.idle = self.endings.iter().map(|ending| ending.idle).fold(1.0, f64::min);
        let engines = self.workers.iter().flat_map(|worker| &worker.engines);
        let mut verifiers = engines.filter_map(|engine| engine.verifier.as_ref()).peekable();
        outcome.verify = verifiers.peek().is_some().then(|| verify::together(verifiers));
        outcome.warnings = outcome.suspicions();
        self.workers.into_iter().map(|worker| worker.port).collect()
    }
}

/// Runs each worker on its thread, and adds up their counts.
fn all_threads(
    workers: Vec<Worker>,
    times: &Times,
    bench: &Bench<'_>,
    open: bool,
    progress: &Progress,
) -> Result<Ran> {
    let threads = workers.len();
    // Room for every tally that exists, so that no thread waits to hand one over.
    let (to, parts) = bounded(3 * threads);
    let watch = bench.args.watch_pid.map(|pid| Watch { pid, core: bench.args.watch_core });
    thread::scope(|scope| {
        let (mut handles, mut spares) = (Vec::new(), Vec::new());
        for (thread, worker) in workers.into_iter().enumerate() {
            let (give, spare) = bounded(1);
            let _ = give.send(Tally::new(open));
            spares.push(give);
            let exchange = Exchange { parts: to.clone(), spare };
            let core = bench.args.cpu.get(thread).copied();
            let runner = Runner { thread, worker, times, exchange, stop: &bench.stop, core };
            let named = thread::Builder::new().name(format!("load-{thread}"));
            handles.push(named.spawn_scoped(scope, || runner.run()).context("cannot start a thread")?);
        }
        drop(to);
        let mut sum = Sum::new(open, threads, times.interval_ns as f64 / 1e9);
        let cost = gather(&parts, &spares, &mut sum, Observer::new(watch, times), progress);
        let (mut workers, mut endings) = (Vec::new(), Vec::new());
        for handle in handles {
            let (worker, ending) = handle.join().map_err(|_| anyhow!("a thread of the load crashed"))??;
            workers.push(worker);
            endings.push(ending);
        }
        Ok(Ran { workers, endings, sum, cost: cost? })
    })
}

/// Adds tallies until the last thread has ended, and returns them cleared.
fn gather(
    parts: &Receiver<Part>,
    spares: &[Sender<Tally>],
    sum: &mut Sum,
    mut observer: Observer,
    progress: &Progress,
) -> Result<Option<Cost>> {
    let mut seen = observer.look_if_due();
    loop {
        let wait = observer.due().map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        match parts.recv_timeout(wait.min(SECOND)) {
            Ok(mut part) => {
                sum.add(&mut part).iter().for_each(|tally| progress.show(tally));
                part.tally.clear();
                if let Some(spare) = spares.get(part.thread) {
                    let _ = spare.try_send(part.tally);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        seen = seen.and_then(|()| observer.look_if_due());
    }
    seen.and_then(|()| observer.cost())
}

const SECOND: Duration = Duration::from_secs(1);

/// Reads the CPU time of a target on this host when counting begins and ends.
struct Observer {
    watch: Option<Watch>,
    from: Instant,
    until: Option<Instant>,
    readings: Vec<Reading>,
}

impl Observer {
    fn new(watch: Option<Watch>, times: &Times) -> Self {
        let at = |ns| times.start + Duration::from_nanos(ns);
        let until = (times.end_ns != NEVER).then(|| at(times.end_ns));
        Self { watch, from: at(times.from_ns), until, readings: Vec::new() }
    }

    /// When to read next.
    fn due(&self) -> Option<Instant> {
        self.watch.as_ref()?;
        match self.readings.len() {
            0 => Some(self.from),
            1 => self.until,
            _ => None,
        }
    }

    fn look_if_due(&mut self) -> Result<()> {
        if self.due().is_some_and(|at| at <= Instant::now()) {
            self.readings.extend(self.watch.as_ref().map(Watch::read).transpose()?);
        }
        Ok(())
    }

    /// The cost between the two readings, or until now if there was no second one.
    fn cost(self) -> Result<Option<Cost>> {
        let (Some(watch), Some(before)) = (&self.watch, self.readings.first()) else { return Ok(None) };
        let after = self.readings.get(1).map_or_else(|| watch.read(), |after| Ok(*after))?;
        Ok(Some(after.cost_since(before)))
    }
}

/// A bar on standard error; does nothing if that is not a terminal.
pub struct Progress {
    bar: ProgressBar,
    interval: Duration,
    /// Whether it counts requests instead of time.
    by_count: bool,
}

impl Progress {
    /// Shows an empty bar for a duration or a number of requests.
    pub fn start(name: &str, length: Option<Duration>, count: Option<u64>, interval: Duration) -> Self {
        let whole = length.map_or(count.unwrap_or(0), |length| length.as_millis() as u64);
        // Draws nothing if standard error is not a terminal.
        let bar = ProgressBar::with_draw_target(Some(whole), ProgressDrawTarget::stderr_with_hz(4));
        let shape = "{prefix} {bar:24} {eta:>4} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(shape) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Self { bar, interval, by_count: length.is_none() }
    }

    /// Updates it after an interval.
    pub fn show(&self, tally: &Tally) {
        let done = tally.completions();
        self.bar.inc(if self.by_count { done } else { self.interval.as_millis() as u64 });
        let latencies = tally.reads.response.with(&tally.writes.response);
        let trouble = &tally.trouble;
        self.bar.set_message(format!(
            "{:.0} IOPS  p99 {:.0} us  resent {}  dropped {}  errors {}",
            done as f64 / self.interval.as_secs_f64(),
            latencies.us(0.99),
            trouble.retransmits,
            trouble.dropped,
            trouble.errors + trouble.refused + trouble.lost
        ));
    }

    /// Removes it from the terminal.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
