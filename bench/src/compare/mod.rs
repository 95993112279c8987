//! `xblade-bench compare`: xblade, vblade and the echo under the same load, in
//! turn, on a veth pair of their own.

mod conditions;
mod file;
mod pair;
mod row;
mod shell;
mod target;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::args::CompareArgs;
use crate::load::Summary;
use crate::signals;

use file::ExportedFile;
use pair::Pair;
use row::{Case, Sample, Samples};
use target::{EXPORT, Kind, Programs};

/// Measures, and prints what came of it.
pub fn run(args: &CompareArgs) -> Result<()> {
    let stop = signals::on_interrupt()?;
    let load_before = conditions::load_average();
    let programs = Programs::new(args)?;
    let file = ExportedFile::new(&args.backing, args.mib)?;
    let rig = Rig { args, programs, kinds: Kind::list(args), pair: Pair::new()?, file, stop: &stop };
    let mut results: Vec<Samples> = Vec::new();
    for case in Case::list(args) {
        results.push(rig.measure(case)?);
    }
    let port = results.first().map_or("", |samples| samples.port());
    let conditions = conditions::describe(args, port, &rig.programs.versions(), load_before);
    let report = report(&conditions, &results);
    print!("{report}");
    if let Some(file) = &args.markdown {
        std::fs::write(file, report).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn report(conditions: &[String], results: &[Samples]) -> String {
    let mut out = String::from("Conditions:\n\n");
    out.extend(conditions.iter().map(|line| format!("* {line}\n")));
    for samples in results {
        out += &format!("\n{}\n\n{}", samples.case.name(samples.sectors()), samples.table().markdown());
    }
    out
}

/// Everything that a measurement needs. Fields are dropped in this order: the
/// pair goes before the file.
struct Rig<'a> {
    args: &'a CompareArgs,
    programs: Programs,
    kinds: Vec<Kind>,
    pair: Pair,
    file: ExportedFile,
    stop: &'a AtomicBool,
}

impl Rig<'_> {
    /// All rounds of a case.
    fn measure(&self, case: Case) -> Result<Samples> {
        self.pair.set_mtu(case.mtu)?;
        let mut rounds: Vec<Vec<Sample>> = Vec::new();
        for round in 0..self.args.rounds {
            let mut samples: Vec<(usize, Sample)> = Vec::new();
            // Another one begins each round.
            for turn in 0..self.kinds.len() {
                let at = (round + turn) % self.kinds.len();
                let Some(&kind) = self.kinds.get(at) else { continue };
                let sample = self.sample(case, kind)?;
                let (iops, name) = (sample.summary.iops, kind.name());
                eprintln!(
                    "{}, round {}: {name} {iops:.0} IOPS",
                    case.name(sample.summary.setup.sectors),
                    round + 1
                );
                samples.push((at, sample));
            }
            samples.sort_by_key(|(at, _)| *at);
            rounds.push(samples.into_iter().map(|(_, sample)| sample).collect());
        }
        Ok(Samples { case, kinds: self.kinds.clone(), rounds })
    }

    /// One target, from its start to its end.
    fn sample(&self, case: Case, kind: Kind) -> Result<Sample> {
        let target = self.programs.start(kind, &self.pair.target, self.file.path(), case.durability)?;
        let json = self.file.path().with_extension("json");
        // Waits until it answers, and warms up what is cold.
        let warm_up = self.generate(case, &["--count", "1000"], &json);
        warm_up.with_context(|| target.story())?;
        let drops_before = self.drops()?;
        let pid = target.pid().to_string();
        let core = self.args.target_core.to_string();
        let seconds = self.args.seconds.to_string();
        let words = ["--seconds", &seconds, "--watch-pid", &pid, "--watch-core", &core];
        let summary = self.generate(case, &words, &json).with_context(|| target.story())?;
        Ok(Sample { summary, drops: self.drops()? - drops_before })
    }

    fn drops(&self) -> Result<u64> {
        Ok(self.pair.target.drops()? + self.pair.initiator.drops()?)
    }

    /// Runs the generator at its end of the pair.
    fn generate(&self, case: Case, more: &[&str], json: &Path) -> Result<Summary> {
        let end = &self.pair.initiator;
        let own = std::env::current_exe().context("cannot find this program")?;
        let (core, window) = (self.args.generator_core.to_string(), case.window.to_string());
        let op = case.op.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut words = end.run_on(self.args.generator_core);
        words.extend([own.to_string_lossy().into_owned(), "load".to_owned()]);
        let fixed = ["--interface", end.interface, "--export", EXPORT, "--cpu", &core, "--window", &window];
        let json_text = json.to_string_lossy();
        let varying = ["--op", &op, "--json", &json_text, "--destroy-data"];
        words.extend(fixed.iter().chain(&varying).chain(more).map(|word| (*word).to_owned()));
        if let Some(port) = self.args.port.and_then(|port| port.to_possible_value()) {
            words.extend(["--port".to_owned(), port.get_name().to_owned()]);
        }
        self.wait_for(&words)?;
        let text = std::fs::read_to_string(json).context("the generator wrote no result")?;
        std::fs::remove_file(json).context("cannot remove the generator's result")?;
        serde_json::from_str(&text).context("cannot read the generator's result")
    }

    /// Runs a program to its end, unless the user interrupts.
    fn wait_for(&self, words: &[String]) -> Result<()> {
        let (program, args) = words.split_first().context("no program to run")?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run `{program}`"))?;
        // An interrupt in a terminal reaches the generator, too.
        let stopped = || self.stop.load(Ordering::Relaxed);
        let status = loop {
            match child.try_wait().context("cannot wait for the generator")? {
                Some(status) => break status,
                None if stopped() => child.kill().context("cannot end the generator")?,
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        match status.code() {
            _ if stopped() => bail!("interrupted"),
            // 2: measured, and something was wrong; the result says what.
            Some(0 | 2) => Ok(()),
            _ => bail!("the generator failed ({status})"),
        }
    }
}
