//! One run of a job: sets up engines and threads, collects their counts, and shows progress
//! on a terminal.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{ArrivalKind, ResendKind};
use crate::outcome::{Cost, Outcome, Setup};
use crate::port::Tags;
use crate::watch::{Reading, Watch};
use crate::{conditions, cores};

use super::assign::Share;
use super::engine::Engine;
use super::flight::{Flight, Linux, Resend};
use super::job::Job;
use super::plan::Plan;
use super::schedule::{NEVER, Schedule};
use super::tally::{Part, Sum, Tally};
use super::verify::{self, Verifier};
use super::worker::{Ran, Runner, Times, Worker};

/// Time for the threads to start.
const LEAD: Duration = Duration::from_millis(5);
/// How long a request is resent by the Linux strategy.
const GIVE_UP_LINUX: Duration = Duration::from_secs(180);

/// How one run of a job differs from the others.
#[derive(Debug)]
pub struct Variant {
    /// The name of its outcome.
    pub name: String,
    /// Requests per second, in an open loop.
    pub rate: Option<f64>,
    /// How long a request is resent, but by the Linux strategy.
    pub give_up: Duration,
}

impl Job<'_> {
    /// Runs the load once.
    pub fn run(&mut self, variant: Variant) -> Result<Outcome> {
        let seed = self.seed;
        self.seed = seed.wrapping_add(1);
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let arrivals = self.args.arrivals.to_possible_value().map(|value| value.get_name().to_owned());
        let mut outcome = Outcome {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: started.as_millis() as u64,
            conditions: conditions::of_load(&self.args.interface),
            setup: Setup {
                rate: variant.rate,
                arrivals: arrivals.filter(|_| variant.rate.is_some()),
                seed,
                ..self.setup.clone()
            },
            ..Outcome::default()
        };
        let times = self.times();
        let workers = self.workers(&variant, seed, &times);
        let length = self.duration.map(|duration| self.warm_up + duration);
        let progress = Progress::start(&variant.name, length, self.args.count, self.interval);
        let mut sum = Sum::new(variant.rate.is_some(), workers.len(), self.interval.as_secs_f64());
        let threads = self.all_threads(workers, &times, &mut sum, &progress);
        progress.bar.finish_and_clear();
        let (ran, cost) = threads?;
        outcome.name = variant.name;
        outcome.cost = cost;
        fill(&mut outcome, &ran, sum, &times);
        self.ports = ran.into_iter().map(|ran| ran.worker.port).collect();
        Ok(outcome)
    }

    fn times(&self) -> Times {
        let from = self.warm_up;
        Times {
            start: Instant::now() + LEAD,
            from_ns: from.as_nanos() as u64,
            end_ns: self.duration.map_or(NEVER, |duration| (from + duration).as_nanos() as u64),
            interval_ns: self.interval.as_nanos() as u64,
            spin: !self.args.cpu.is_empty(),
            sweep: self.args.verify && self.args.reads() < 100,
        }
    }

    fn workers(&mut self, variant: &Variant, seed: u32, times: &Times) -> Vec<Worker> {
        let give_up = match self.args.resend {
            ResendKind::Doubling => variant.give_up,
            ResendKind::Linux => GIVE_UP_LINUX,
        };
        let give_up_ns = give_up.as_nanos() as u64;
        let ports = std::mem::take(&mut self.ports);
        let worker = |(thread, port)| {
            let own = self.shares.iter().enumerate().filter(|(_, share)| share.thread == thread);
            let engines =
                own.map(|(at, share)| self.engine(at, share, variant.rate, seed, times, give_up_ns));
            Worker::new(port, engines.collect(), Tally::new(variant.rate.is_some()), times.end_ns, give_up_ns)
        };
        ports.into_iter().enumerate().map(worker).collect()
    }

    /// The engine for the share with this index.
    fn engine(
        &self,
        at: usize,
        share: &Share,
        rate: Option<f64>,
        seed: u32,
        times: &Times,
        give_up_ns: u64,
    ) -> Engine {
        let all = self.shares.len();
        let own_seed = u64::from(seed) << 16 | at as u64;
        let plan = Plan::new(share.area, self.args.reads(), self.args.pattern, own_seed);
        let schedule = match rate.map(|rate| rate * share.part) {
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
        let tags = Tags::of(share.thread, self.setup.threads);
        // Far apart, so that replies to an earlier run are recognized.
        let turn = seed.wrapping_mul(0x9E37_79B9);
        let flight = Flight::new(share.window, tags, turn, resend, give_up_ns);
        let mut engine =
            Engine::new(share.route, plan, schedule.between(times.from_ns, times.end_ns), flight);
        // The first ones get the remainder.
        let (at, all) = (at as u64, all as u64);
        engine.count = self.args.count.map(|count| count / all + u64::from(at < count % all));
        // The stamps distinguish exports.
        let run = seed ^ (share.export as u32) << 24;
        engine.verifier = self.args.verify.then(|| Verifier::new(run, share.area.lba(), share.area.len()));
        engine
    }

    /// Runs each worker on its thread, and adds up their counts.
    fn all_threads(
        &self,
        workers: Vec<Worker>,
        times: &Times,
        sum: &mut Sum,
        progress: &Progress,
    ) -> Result<(Vec<Ran>, Option<Cost>)> {
        let (threads, open) = (workers.len(), sum.total.reads.service.is_some());
        // Room for every tally that exists, so that no thread waits to hand one over.
        let (to, parts) = bounded(3 * threads);
        let (give, spare) = bounded(threads);
        thread::scope(|scope| {
            let mut handles = Vec::new();
            for (thread, worker) in workers.into_iter().enumerate() {
                let _ = give.send(Tally::new(open));
                let core = self.args.cpu.get(thread).copied();
                let runner = Runner::new(thread, worker, times, (to.clone(), spare.clone()), &self.stop);
                let run = move || cores::pin(core).and_then(|()| runner.run());
                let named = thread::Builder::new().name(format!("load-{thread}"));
                handles.push(named.spawn_scoped(scope, run).context("cannot start a thread")?);
            }
            drop(to);
            let watch = self.args.watch_pid.map(|pid| Watch { pid, core: self.args.watch_core });
            let cost = gather(&parts, &give, sum, Observer::new(watch, times), progress)?;
            let join = |handle: thread::ScopedJoinHandle<'_, Result<Ran>>| {
                handle.join().map_err(|_| anyhow!("a thread of the load crashed"))?
            };
            Ok((handles.into_iter().map(join).collect::<Result<_>>()?, cost))
        })
    }
}

fn fill(outcome: &mut Outcome, ran: &[Ran], mut sum: Sum, times: &Times) {
    // Until the end of the schedule, or until the last answer if that came later or the
    // schedule had no end.
    let ends = ran.iter().filter_map(|ran| ran.end_ns);
    let until_ns = ends.chain([sum.total.last_ns]).max().unwrap_or(0);
    outcome.seconds = until_ns.saturating_sub(times.from_ns) as f64 / 1e9;
    sum.finish(outcome.seconds);
    outcome.intervals = sum.intervals;
    Tally { reads: outcome.reads, writes: outcome.writes, trouble: outcome.trouble, .. } = sum.total;
    // The busiest thread may be the bottleneck.
    outcome.idle = ran.iter().map(|ran| ran.idle).fold(1.0, f64::min);
    let engines = ran.iter().flat_map(|ran| &ran.worker.engines);
    let mut verifiers = engines.filter_map(|engine| engine.verifier.as_ref()).peekable();
    outcome.verify = verifiers.peek().is_some().then(|| verify::together(verifiers));
    outcome.warnings = outcome.suspicions();
}

/// Adds tallies until the last thread has ended, and gives them back cleared.
fn gather(
    parts: &Receiver<Part>,
    give: &Sender<Tally>,
    sum: &mut Sum,
    mut observer: Observer,
    progress: &Progress,
) -> Result<Option<Cost>> {
    loop {
        observer.look_if_due()?;
        match parts.recv_timeout(observer.wait()) {
            Ok(mut part) => {
                sum.add(&mut part).iter().for_each(|tally| progress.show(tally));
                part.tally.clear();
                let _ = give.try_send(part.tally);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return observer.cost(),
        }
    }
}

/// Reads the CPU time of a target on this host when counting begins and ends.
struct Observer {
    watch: Option<Watch>,
    /// When to read, the next one last.
    due: Vec<Instant>,
    readings: Vec<Reading>,
}

impl Observer {
    fn new(watch: Option<Watch>, times: &Times) -> Self {
        let at = |ns| times.start + Duration::from_nanos(ns);
        let until = (times.end_ns != NEVER).then(|| at(times.end_ns));
        Self { watch, due: until.into_iter().chain([at(times.from_ns)]).collect(), readings: Vec::new() }
    }

    /// How long to wait until the next reading.
    fn wait(&self) -> Duration {
        const SECOND: Duration = Duration::from_secs(1);
        self.due.last().map_or(SECOND, |at| at.saturating_duration_since(Instant::now()).min(SECOND))
    }

    fn look_if_due(&mut self) -> Result<()> {
        if self.due.pop_if(|at| *at <= Instant::now()).is_some() {
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
struct Progress {
    bar: ProgressBar,
    interval: Duration,
    /// Whether it counts requests instead of time.
    by_count: bool,
}

impl Progress {
    /// Shows an empty bar for a duration or a number of requests.
    fn start(name: &str, length: Option<Duration>, count: Option<u64>, interval: Duration) -> Self {
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
    fn show(&self, tally: &Tally) {
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
}
