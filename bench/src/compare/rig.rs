//! Measures targets in turn, round by round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::args::PortKind;
use crate::outcome::{Cost, Sample};
use crate::watch::CoreTime;
use crate::{cores, watch};

use super::case::{Case, Rate};
use super::files::Files;
use super::generator::{Generator, more_words};
use super::observer::{Footprints, Reading};
use super::pair::Pair;
use super::plan::Plan;
use super::samples::Samples;
use super::shell::split;
use super::target::{Programs, Running, Target, fio};
use super::{conditions, generator, shell};

/// Timeout for a target to start answering.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// The number of requests that it must answer before it is measured.
const PROBES: u32 = 256;
/// Maximum time to find the knee, in seconds.
const KNEE_S: f64 = 3.0;

/// Everything that a measurement needs. Fields are dropped in this order: the pair before
/// the files.
pub struct Rig<'a> {
    plan: &'a Plan,
    programs: Programs,
    port: Option<PortKind>,
    /// The pair.
    pub pair: Pair,
    files: Files,
    stop: &'a AtomicBool,
}

impl<'a> Rig<'a> {
    /// Creates the pair and writes the files.
    pub fn new(
        plan: &'a Plan,
        programs: Programs,
        port: Option<PortKind>,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let wanted: Vec<bool> = plan.targets.iter().map(Target::has_file).collect();
        let files = Files::new(&plan.backing, plan.mib, &wanted)?;
        Ok(Self { plan, programs, port, pair: Pair::new()?, files, stop })
    }

    /// Runs all rounds of a case.
    pub fn measure(&self, case: &Case) -> Result<Samples> {
        self.pair.set_mtu(case.mtu)?;
        let all = self.plan.targets.iter().enumerate();
        let targets: Vec<(usize, &Target)> = all.filter(|(_, target)| target.fits(case)).collect();
        if targets.is_empty() {
            bail!("{}: none of the targets can be measured like this", case.name());
        }
        let loaded = self.at_rate(case, &targets)?;
        let mut rounds: Vec<Vec<Sample>> = Vec::new();
        for round in 0..self.plan.rounds {
            let mut samples: BTreeMap<usize, Sample> = BTreeMap::new();
            // Each round begins with a different target.
            for at in (0..targets.len()).map(|turn| (round + turn) % targets.len()) {
                let Some((number, target)) = targets.get(at) else { continue };
                let sample = self.measured(&loaded, *number, target, self.plan.seconds)?;
                let sample = Sample { target: target.name(case), round: round + 1, ..sample };
                let (name, iops) = (&sample.target, sample.outcome.iops());
                eprintln!("{}, round {}: {name} {iops:.0} IOPS", case.name(), round + 1);
                samples.insert(at, sample);
            }
            rounds.push(samples.into_values().collect());
        }
        let targets = targets.into_iter().map(|(_, target)| target.clone()).collect();
        Ok(Samples { case: case.clone(), targets, rounds })
    }

    /// Replaces a relative rate by an absolute one: a fraction of what the slowest target
    /// does in a closed loop, so that all of them can keep up.
    fn at_rate(&self, case: &Case, targets: &[(usize, &Target)]) -> Result<Case> {
        let Some(Rate::OfKnee(share)) = case.rate else { return Ok(case.clone()) };
        // Checking costs time in the generator, which may become the bottleneck, so it
        // stays on here.
        let closed = Case { rate: None, ..case.clone() };
        let seconds = self.plan.seconds.min(KNEE_S);
        let mut knee = f64::INFINITY;
        for (number, target) in targets {
            let outcome = self.measured(&closed, *number, target, seconds)?.outcome;
            eprintln!("{}: {} does {:.0} IOPS at most", case.name(), target.name(case), outcome.iops());
            knee = knee.min(outcome.iops());
        }
        Ok(Case { rate: Some(Rate::Fixed((knee * share).round().max(1.0))), ..case.clone() })
    }

    fn measured(&self, case: &Case, number: usize, target: &Target, seconds: f64) -> Result<Sample> {
        self.files.settle(number, self.plan.cold)?;
        let mut sample = match target {
            Target::Fio { busy } => self.bare(case, number, *busy, seconds)?,
            _ => self.served(case, number, target, seconds)?,
        };
        sample.outcome.name = target.name(case);
        Ok(sample)
    }

    /// Measures one target of the network, from start to exit.
    fn served(&self, case: &Case, number: usize, target: &Target, seconds: f64) -> Result<Sample> {
        let mut running =
            self.programs.start(target, case, self.plan, &self.pair.target, self.files.path(number))?;
        self.wait_for(&mut running, case, target)?;
        let pid = running.process.pid();
        let (core, warm_up) = (self.plan.target_core, self.plan.warm_up);
        let times = format!("--seconds {seconds} --warm-up {warm_up} --watch-pid {pid} --watch-core {core}");
        let mut words = more_words(case);
        words.extend(split(&times));
        words.extend(self.plan.interval.into_iter().flat_map(|s| shell::words(&[&"--interval", &s])));
        let mut footprints = Footprints::of(pid, seconds);
        let before = Reading::take(self.plan, &self.pair)?;
        let outcome = self.generator(target).run(case, &words, || footprints.look());
        let mut outcome = outcome.with_context(|| running.process.story())?;
        let machine = Reading::take(self.plan, &self.pair)?.since(&before);
        conditions::drop_host(&mut outcome.conditions);
        outcome.conditions.extend(conditions::of_target(target, case, &running.process.said(), &self.pair));
        Ok(Sample { outcome, machine, footprints: footprints.take(), ..Sample::default() })
    }

    /// Waits until a target answers a few requests in a closed loop.
    fn wait_for(&self, running: &mut Running, case: &Case, target: &Target) -> Result<()> {
        let started = Instant::now();
        let count = shell::words(&[&"--count", &PROBES]);
        while let Err(failure) = self.generator(target).run(case, &count, || ()) {
            if self.stop.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            let name = target.name(case);
            let (status, story) = (running.process.has_ended(), running.process.story());
            if let Some(status) = status {
                bail!("the target {name} has ended by itself ({status}). {story}");
            }
            if started.elapsed() > ANSWERS_WITHIN {
                let limit = ANSWERS_WITHIN.as_secs();
                let text = format!("the target {name} did not answer within {limit} s. {story}");
                return Err(failure.context(text));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Measures fio, in place of a target, on the bare file.
    fn bare(&self, case: &Case, number: usize, busy: bool, seconds: f64) -> Result<Sample> {
        let _company = busy.then(|| Spinner::start(self.plan.generator_core));
        let result = &self.files.result;
        let words = fio::words(case, self.files.path(number), self.plan, seconds, result);
        let before = Reading::take(self.plan, &self.pair)?;
        let (core_before, started) = (CoreTime::read(self.plan.target_core)?, Instant::now());
        let mut workers_ns = 0;
        shell::run_to_end(&words, self.stop, |pid| {
            // It may exit soon; the last reading before that counts.
            workers_ns = workers_ns.max(watch::threads_ns(pid, fio::WORKERS).unwrap_or(0));
        })?;
        let core_after = CoreTime::read(self.plan.target_core)?;
        let mut outcome = fio::read(&generator::take(result)?, case, self.plan.warm_up, workers_ns)?;
        // fio takes a moment before and after its job, and is idle then.
        let stretch = started.elapsed().as_secs_f64() / (outcome.seconds + self.plan.warm_up).max(1e-9);
        let busy = (core_after.busy_since(&core_before) * stretch).min(1.0);
        outcome.cost = outcome.cost.map(|cost| Cost { core_busy: Some(busy), ..cost });
        let machine = Reading::take(self.plan, &self.pair)?.since(&before);
        Ok(Sample { outcome, machine, ..Sample::default() })
    }

    fn generator(&self, target: &Target) -> Generator<'_> {
        Generator {
            end: &self.pair.initiator,
            core: self.plan.generator_core,
            port: self.port,
            result: &self.files.result,
            // Our targets advertise as many as the case has in flight.
            beyond: matches!(target, Target::Custom(_)),
            stop: self.stop,
        }
    }
}

/// Keeps a core busy until dropped.
pub struct Spinner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    /// Starts on this core.
    pub fn start(core: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let spin = move || {
            // A missing core is reported when the generator is pinned.
            let _ = cores::pin(Some(core));
            while !seen.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        Self { stop, thread: Some(thread::spawn(spin)) }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
