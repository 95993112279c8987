//! Runs a job: sets up engines and threads, collects their counts, and shows them
//! on a terminal.

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::outcome::Outcome;
use crate::port::Tags;
use crate::{conditions, cores};

use super::assign::Share;
use super::engine::Engine;
use super::flight::Flight;
use super::job::Job;
use super::plan::Plan;
use super::schedule::Schedule;
use super::tally::{Sum, Tally};
use super::verify::Verifier;
use super::worker::{Ran, Runner, Worker};

/// Time for the threads to start.
const LEAD: Duration = Duration::from_millis(5);
/// Clears the line of a terminal.
const CLEAR: &str = "\r\x1b[K";

impl Job<'_> {
    /// Runs the load: in an open loop if there is a rate.
    pub fn run(mut self) -> Result<Outcome> {
        let started = jiff::Timestamp::now();
        let conditions = conditions::of_host(&self.args.interface);
        let workers = self.workers();
        let mut sum = Sum::new(self.args.rate.is_some(), workers.len(), self.times.interval_ns as f64 / 1e9);
        let ran = self.all_threads(workers, &mut sum)?;
        let mut outcome = Outcome {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: started.as_millisecond() as u64,
            conditions,
            setup: self.setup,
            ..Outcome::default()
        };
        fill(&mut outcome, &ran, sum, self.times.from_ns);
        Ok(outcome)
    }

    fn workers(&mut self) -> Vec<Worker> {
        let (ports, times) = (std::mem::take(&mut self.ports), &self.times);
        let worker = |(thread, port)| {
            let own = self.shares.iter().enumerate().filter(|(_, share)| share.thread == thread);
            let engines = own.map(|(at, share)| self.engine(at, share)).collect();
            let tally = Tally::new(self.args.rate.is_some());
            Worker::new(port, engines, tally, times.end_ns, times.give_up_ns)
        };
        ports.into_iter().enumerate().map(worker).collect()
    }

    /// The engine for the share with this index.
    fn engine(&self, at: usize, share: &Share) -> Engine {
        let (all, seed, times) = (self.shares.len(), self.setup.seed, &self.times);
        let own_seed = u64::from(seed) << 16 | at as u64;
        let plan = Plan::new(share.area, self.args.reads(), self.args.pattern, own_seed);
        let schedule = match self.args.rate {
            None => Schedule::closed(),
            Some(rate) => Schedule::constant(rate * share.part, at as f64 / all as f64),
        };
        let tags = Tags::of(share.thread, self.setup.threads);
        // Far apart, so that replies to an earlier run are recognized.
        let turn = seed.wrapping_mul(0x9E37_79B9);
        let timeout_ns = self.args.timeout_ms.saturating_mul(1_000_000).max(1);
        let flight = Flight::new(share.window, tags, turn, timeout_ns, times.give_up_ns);
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
    fn all_threads(&self, workers: Vec<Worker>, sum: &mut Sum) -> Result<Vec<Ran>> {
        let (threads, open, times) = (workers.len(), self.args.rate.is_some(), &self.times);
        let (start, is_seen) = (Instant::now() + LEAD, io::stderr().is_terminal());
        // Room for every tally that exists, so that no thread waits to hand one over.
        let (to, parts) = bounded(3 * threads);
        let (give, spare) = bounded(threads);
        thread::scope(|scope| {
            let mut handles = Vec::new();
            for (thread, worker) in workers.into_iter().enumerate() {
                let _ = give.send(Tally::new(open));
                let core = self.args.cpu.get(thread).copied();
                let runner = Runner {
                    thread,
                    worker,
                    start,
                    times,
                    parts: to.clone(),
                    spare: spare.clone(),
                    stop: &self.stop,
                    interval: u64::from(times.from_ns == 0),
                    expire_at_ns: 0,
                    idle_ns: 0,
                };
                let run = move || cores::pin(core).and_then(|()| runner.run());
                let named = thread::Builder::new().name(format!("load-{thread}"));
                handles.push(named.spawn_scoped(scope, run).context("cannot start a thread")?);
            }
            drop(to);
            let (running, over) = bounded(0);
            if self.args.prints_json() {
                let begin = start + Duration::from_nanos(times.from_ns);
                scope.spawn(move || announce(begin, &over));
            }
            // Until the last thread has ended.
            for mut part in parts {
                let closed = sum.add(&mut part);
                closed.iter().filter(|_| is_seen).for_each(|tally| show(tally, times.interval_ns));
                part.tally.clear();
                let _ = give.try_send(part.tally);
            }
            drop(running);
            if is_seen {
                eprint!("{CLEAR}");
            }
            handles.into_iter().map(join).collect()
        })
    }
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread of the load crashed"))?
}

fn fill(outcome: &mut Outcome, ran: &[Ran], mut sum: Sum, from_ns: u64) {
    // Until the end of the schedule, or until the last answer if that came later or the
    // schedule had no end.
    let ends = ran.iter().filter_map(|ran| ran.end_ns);
    let until_ns = ends.chain([sum.total.last_ns]).max().unwrap_or(0);
    outcome.seconds = until_ns.saturating_sub(from_ns) as f64 / 1e9;
    sum.finish(outcome.seconds);
    outcome.intervals = sum.intervals;
    Tally { reads: outcome.reads, writes: outcome.writes, trouble: outcome.trouble, .. } = sum.total;
    // The busiest thread may be the bottleneck.
    outcome.idle = ran.iter().map(|ran| ran.idle).fold(1.0, f64::min);
    let engines = ran.iter().flat_map(|ran| &ran.worker.engines);
    for verifier in engines.filter_map(|engine| engine.verifier.as_ref()) {
        outcome.verify.get_or_insert_default().add(&verifier.found);
    }
    outcome.warnings = outcome.suspicions();
}

/// Prints an empty line, with which JSON may begin, as soon as requests are counted, unless
/// `over` is disconnected before. `compare` reads the target's CPU time then.
fn announce(begin: Instant, over: &Receiver<Infallible>) {
    if over.recv_deadline(begin) == Err(RecvTimeoutError::Timeout) {
        println!();
    }
}

/// Shows the counts of an interval, in place of those before.
fn show(tally: &Tally, interval_ns: u64) {
    let (done, trouble) = (tally.completions(), &tally.trouble);
    let mut response = tally.reads.response.clone();
    response.add(&tally.writes.response);
    eprint!(
        "{CLEAR}{:.0} IOPS  p99 {:.0} us  resent {}  dropped {}  errors {}",
        done as f64 * 1e9 / interval_ns as f64,
        response.us(0.99),
        trouble.retransmits,
        trouble.dropped,
        trouble.failed()
    );
}
