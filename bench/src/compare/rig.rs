//! Measures targets in turn, round by round.

use std::cell::Cell;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::args::{PortKind, word};
use crate::conditions::condition;
use crate::outcome::{Condition, Machine, Outcome, Sample, Traced};
use crate::report::result;
use crate::watch::{self, CpuTime};

use super::case::Case;
use super::files::{Files, Served};
use super::observer::Reading;
use super::pair::{BENCH, Pair};
use super::plan::Plan;
use super::shell::{self, Process};
use super::target::{Programs, Target};
use super::tracer::Tracer;
use super::{conditions, fio};

/// Timeout for a target to start answering.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// The number of requests that it must answer before it is measured.
const PROBES: u32 = 256;
/// How long the generator waits for a reply, in milliseconds. Frames are hardly ever lost, and
/// disks stall: a resend would only add to their load.
const TIMEOUT_MS: u32 = 1000;
/// The longest measurement of [`Rig::traced`], in seconds.
const TRACED_S_MAX: f64 = 1.0;

/// Everything that a measurement needs. Fields are dropped in this order: the pair before
/// the files.
pub struct Rig<'a> {
    plan: &'a Plan,
    programs: Programs,
    port: Option<PortKind>,
    pair: Pair,
    files: Files,
    /// What a traced call adds to the time in user mode; `None` if calls cannot be traced.
    call_ns: Option<f64>,
    stop: &'a AtomicBool,
    /// The conditions of the generator in the last measurement.
    pub generator: Cell<Vec<Condition>>,
}

impl<'a> Rig<'a> {
    /// Writes the files.
    pub fn new(
        plan: &'a Plan,
        programs: Programs,
        pair: Pair,
        port: Option<PortKind>,
        call_ns: Option<f64>,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let wanted: Vec<bool> = plan.targets.iter().map(Target::has_file).collect();
        let files = Files::new(&plan.backing, plan.mib, &wanted, &plan.cases)?;
        Ok(Self { plan, programs, port, pair, files, call_ns, stop, generator: Cell::default() })
    }

    /// Runs all rounds of a case. Samples are ordered by round, then by target.
    pub fn measure(&self, case: &Case) -> Result<Vec<Sample>> {
        self.pair.set_mtu(case.mtu)?;
        let all = self.plan.targets.iter().enumerate();
        let targets: Vec<(usize, &Target)> = all.filter(|(_, target)| target.fits(case)).collect();
        ensure!(!targets.is_empty(), "{}: none of the targets can be measured like this", case.name());
        let mut samples = Vec::new();
        for round in 1..=self.plan.rounds {
            // Each round begins with a different target.
            let (later, first) = targets.split_at((round - 1) % targets.len());
            for (at, target) in first.iter().chain(later) {
                let mut sample = self.measured(case, *at, target)?;
                (sample.target, sample.round) = (target.name(case), round);
                sample.outcome.name.clone_from(&sample.target);
                let (name, iops) = (&sample.target, sample.outcome.iops());
                eprintln!("{}, round {round}: {name} {iops:.0} IOPS", case.name());
                samples.push((*at, sample));
            }
        }
        samples.sort_by_key(|(at, sample)| (sample.round, *at));
        Ok(samples.into_iter().map(|(_, sample)| sample).collect())
    }

    fn measured(&self, case: &Case, at: usize, target: &Target) -> Result<Sample> {
        self.files.settle(at, self.plan.cold)?;
        let served = self.files.served(at, case);
        match target {
            Target::Fio { busy } => self.bare(case, &served, *busy),
            _ => self.served(case, target, &served),
        }
    }

    /// Measures one target of the network, from start to exit.
    fn served(&self, case: &Case, target: &Target, served: &Served) -> Result<Sample> {
        let mut command = self.programs.command(target, case, self.plan, &self.pair.target, served);
        // A group that is killed as a whole.
        let mut process = Process::start(command.process_group(0))?;
        self.wait_for(&mut process, case, target)?;
        let (mut outcome, machine) =
            self.observed(case, target, &process).with_context(|| process.story())?;
        let inside = self.programs.inside(target, &served.control);
        let traced = self.traced(case, target, &process).with_context(|| process.story())?;
        let own = conditions::of_target(target, case, &process.said(), &self.pair);
        let generator = std::mem::replace(&mut outcome.conditions, own).into_iter();
        let of_generator = |c: Condition| condition(format!("generator's {}", c.name), c.value);
        self.generator.set(generator.map(of_generator).collect());
        Ok(Sample { outcome, machine, inside, traced, ..Sample::default() })
    }

    /// Runs the load, and observes the target and the machine while requests are counted.
    fn observed(&self, case: &Case, target: &Target, process: &Process) -> Result<(Outcome, Machine)> {
        let dropped = self.pair.drops()?;
        let read = || anyhow::Ok((Reading::take(self.plan)?, CpuTime::read(process.pid())?));
        let (mut outcome, [(begin, cpu_then), (end, cpu_now)]) =
            self.loaded(case, target, self.plan.seconds, read)?;
        outcome.cost = Some(cpu_now.cost_since(&cpu_then));
        let now = self.pair.drops()?;
        let [at_target, at_generator] = [0, 1].map(|end| now[end].saturating_sub(dropped[end]));
        let machine = Machine {
            dropped: at_target + at_generator,
            dropped_at_target: at_target,
            ..end.since(&begin, outcome.seconds)
        };
        Ok((outcome, machine))
    }

    /// Runs the load again, half as long, and traces the target's system calls: that slows them.
    fn traced(&self, case: &Case, target: &Target, process: &Process) -> Result<Option<Traced>> {
        let Some(call_ns) = self.call_ns else { return Ok(None) };
        let tracer = Tracer::attach(process.pid())?;
        let seconds = (self.plan.seconds / 2.0).min(TRACED_S_MAX);
        let read = || Ok((Instant::now(), tracer.read()?));
        let (outcome, [(begin, before), (end, after)]) = self.loaded(case, target, seconds, read)?;
        Ok(after.since(&before).of((end - begin).as_secs_f64() * outcome.iops(), call_ns))
    }

    /// Runs the load. Reads counters when requests begin to be counted, and when they end.
    fn loaded<T>(
        &self,
        case: &Case,
        target: &Target,
        seconds: f64,
        read: impl Fn() -> Result<T>,
    ) -> Result<(Outcome, [T; 2])> {
        let mut load = self.load(case, target);
        let always = format!(
            "--seconds {seconds} --warm-up {} --read-percent={} --pattern={}",
            self.plan.warm_up,
            case.read_percent,
            word(&case.pattern)
        );
        load.args(always.split(' '));
        load.args(self.plan.interval.map(|seconds| format!("--interval={seconds}")));
        load.args(case.rate.map(|rate| format!("--rate={rate}")));
        load.args(case.verify.then_some("--verify"));
        let (mut begin, mut end) = (None, None);
        let outcome = self.outcome_of(&mut load, |generator| {
            match &begin {
                None if generator.has_output() => begin = Some((Instant::now(), read()?)),
                Some((at, _)) if end.is_none() && at.elapsed().as_secs_f64() >= seconds => {
                    end = Some(read()?)
                }
                _ => {}
            }
            Ok(())
        })?;
        let (_, begin) = begin.context("the generator counted nothing")?;
        // The generator may exit before the second reading is due.
        let end = end.map_or_else(read, Ok)?;
        Ok((outcome, [begin, end]))
    }

    /// Waits until a target answers a few requests in a closed loop.
    fn wait_for(&self, process: &mut Process, case: &Case, target: &Target) -> Result<()> {
        let started = Instant::now();
        let mut load = self.load(case, target);
        load.arg(format!("--count={PROBES}"));
        while let Err(failure) = self.outcome_of(&mut load, |_| Ok(())) {
            ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");
            let name = target.name(case);
            if let Some(status) = process.has_ended() {
                bail!("the target {name} has ended by itself ({status}). {}", process.story());
            }
            if started.elapsed() > ANSWERS_WITHIN {
                let (limit, story) = (ANSWERS_WITHIN.as_secs(), process.story());
                return Err(
                    failure.context(format!("the target {name} did not answer within {limit} s. {story}"))
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The command of the generator, with what all runs of a case have in common.
    fn load(&self, case: &Case, target: &Target) -> Command {
        let core = self.plan.generator_core;
        let program = self.plan.generator_here.map_or(Path::new(BENCH), |_| &self.programs.own);
        let mut command = self.pair.initiator.command(core, program);
        let fixed = format!(
            "load --json - --export {} --timeout-ms {TIMEOUT_MS} --destroy-data --op {} --cpu {core} --sectors {} --window {}",
            case.addresses().join(","),
            word(&case.op),
            case.sectors,
            case.window
        );
        command.args(fixed.split(' ')).args(["--interface", &self.pair.initiator.interface]);
        // Our targets advertise as many as the case has in flight.
        command.args(matches!(target, Target::Custom(..)).then_some("--beyond-buffer-count"));
        command.args(self.port.map(|port| format!("--port={}", word(&port))));
        command
    }

    /// Runs the generator until it exits.
    fn outcome_of(&self, load: &mut Command, look: impl FnMut(&Process) -> Result<()>) -> Result<Outcome> {
        let text = shell::run_to_end(load, self.stop, look)?;
        let document = result::parse(&text).context("cannot read the generator's result")?;
        document.outcomes().next().cloned().context("the generator's result is empty")
    }

    /// Measures fio, in place of a target, on the bare file.
    fn bare(&self, case: &Case, served: &Served, busy: bool) -> Result<Sample> {
        let mut spin = Command::new("taskset");
        spin.args(["-c", &self.plan.generator_core.to_string(), "sh", "-c", "while :; do :; done"]);
        let _company = busy.then(|| Process::start(&mut spin)).transpose()?;
        let before = Reading::take(self.plan)?;
        let mut workers_ns = 0;
        let text = shell::run_to_end(&mut fio::command(case, served, self.plan), self.stop, |fio| {
            // It may exit soon; the last reading before that counts.
            workers_ns = workers_ns.max(watch::threads_ns(fio.pid(), fio::WORKERS).unwrap_or(0));
            Ok(())
        })?;
        let after = Reading::take(self.plan)?;
        let outcome = fio::read(&text, case, self.plan.warm_up, workers_ns)?;
        let machine = after.since(&before, outcome.seconds + self.plan.warm_up);
        Ok(Sample { outcome, machine, ..Sample::default() })
    }
}
