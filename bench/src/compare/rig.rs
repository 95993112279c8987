//! What measures: targets in turn, round after round.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::args::CompareArgs;
use crate::watch::{self, CoreTime};

use super::case::Case;
use super::file::ExportedFile;
use super::generator::{self, Generator};
use super::pair::Pair;
use super::sample::Sample;
use super::samples::Samples;
use super::spinner::Spinner;
use super::target::{Programs, Target, fio};

/// Everything that a measurement needs. Fields are dropped in this order: the
/// pair goes before the file.
pub struct Rig<'a> {
    args: &'a CompareArgs,
    programs: Programs,
    targets: Vec<Target>,
    pair: Pair,
    file: ExportedFile,
    stop: &'a AtomicBool,
}

impl<'a> Rig<'a> {
    /// Finds the programs, makes the pair and writes the file.
    pub fn new(args: &'a CompareArgs, stop: &'a AtomicBool) -> Result<Self> {
        let programs = Programs::new(args)?;
        let file = ExportedFile::new(&args.backing, args.mib)?;
        Ok(Self { args, programs, targets: Target::list(args), pair: Pair::new()?, file, stop })
    }

    /// What the programs say of their versions.
    pub fn versions(&self) -> Vec<String> {
        self.programs.versions(&self.targets)
    }

    /// All rounds of a case.
    pub fn measure(&self, case: Case) -> Result<Samples> {
        self.pair.set_mtu(case.mtu)?;
        let mut rounds: Vec<Vec<Sample>> = Vec::new();
        for round in 0..self.args.rounds {
            let mut samples: Vec<(usize, Sample)> = Vec::new();
            // Another one begins each round.
            for turn in 0..self.targets.len() {
                let at = (round + turn) % self.targets.len();
                let Some(target) = self.targets.get(at) else { continue };
                let sample = self.sample(&case, target)?;
                let (name, iops) = (target.name(&case), sample.iops);
                eprintln!("{}, round {}: {name} {iops:.0} IOPS", case.name(), round + 1);
                samples.push((at, sample));
            }
            samples.sort_by_key(|(at, _)| *at);
            rounds.push(samples.into_iter().map(|(_, sample)| sample).collect());
        }
        Ok(Samples { case, targets: self.targets.clone(), rounds })
    }

    fn sample(&self, case: &Case, target: &Target) -> Result<Sample> {
        self.file.settle(self.args.cold)?;
        match target {
            Target::Fio { busy } => self.bare(case, *busy),
            _ => self.served(case, target),
        }
    }

    /// One target of the network, from its start to its end.
    fn served(&self, case: &Case, target: &Target) -> Result<Sample> {
        let target = self.programs.start(target, case, &self.pair.target, self.file.path())?;
        let generator = self.generator();
        // Waits until it answers, and warms up what is cold.
        generator.run(case, &["--count", "1000"]).with_context(|| target.story())?;
        let drops_before = self.drops()?;
        let pid = target.pid().to_string();
        let core = self.args.target_core.to_string();
        let seconds = self.args.seconds.to_string();
        let words = ["--seconds", &seconds, "--watch-pid", &pid, "--watch-core", &core];
        let outcome = generator.run(case, &words).with_context(|| target.story())?;
        Ok(Sample::new(outcome, self.drops()? - drops_before))
    }

    /// fio, where a target would be, on the bare file.
    fn bare(&self, case: &Case, busy: bool) -> Result<Sample> {
        let _company = busy.then(|| Spinner::start(self.args.generator_core));
        let result = self.file.result();
        let words = self.programs.fio_words(case, self.file.path(), self.args.seconds, &result);
        let (core_before, started) = (CoreTime::read(self.args.target_core)?, Instant::now());
        let mut workers_ns = 0;
        generator::run_to_end(&words, self.stop, |pid| {
            // It may be about to end; the last look before that counts.
            workers_ns = workers_ns.max(watch::threads_ns(pid, fio::WORKERS).unwrap_or(0));
        })?;
        let core_after = CoreTime::read(self.args.target_core)?;
        let (seconds, sample) = fio::read(&generator::take(&result)?, case.op, workers_ns)?;
        // fio takes a moment before and after its job, and is idle then.
        let stretch = started.elapsed().as_secs_f64() / seconds.max(1e-9);
        let core_busy = Some((core_after.busy_since(&core_before) * stretch).min(1.0));
        Ok(Sample { core_busy, ..sample })
    }

    fn generator(&self) -> Generator<'_> {
        Generator {
            end: &self.pair.initiator,
            core: self.args.generator_core,
            port: self.args.port,
            result: self.file.result(),
            stop: self.stop,
        }
    }

    fn drops(&self) -> Result<u64> {
        Ok(self.pair.target.drops()? + self.pair.initiator.drops()?)
    }
}
