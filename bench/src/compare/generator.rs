//! Running the programs that measure: the generator, or fio.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::args::PortKind;
use crate::outcome::Outcome;
use crate::report;

use super::case::Case;
use super::pair::End;
use super::target::EXPORT;

/// How often a program that runs is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long the generator waits for a reply. Nothing is lost on a veth pair
/// without being counted, and disks stall: a resend would add to their load.
const TIMEOUT_MS: &str = "1000";

/// The generator, at its end of a pair.
#[derive(Debug)]
pub struct Generator<'a> {
    /// Where it runs.
    pub end: &'a End,
    /// On which core.
    pub core: usize,
    /// How its frames leave and arrive, if that was said.
    pub port: Option<PortKind>,
    /// Where its results go.
    pub result: PathBuf,
    /// Becomes true when the user interrupts.
    pub stop: &'a AtomicBool,
}

impl Generator<'_> {
    /// Runs it to its end.
    pub fn run(&self, case: &Case, more: &[&str]) -> Result<Outcome> {
        run_to_end(&self.words(case, more)?, self.stop, |_| ())?;
        let text = take(&self.result).context("the generator wrote no result")?;
        let mut outcomes = report::result::read(&text).context("cannot read the generator's result")?;
        outcomes.pop().context("the generator's result is empty")
    }

    fn words(&self, case: &Case, more: &[&str]) -> Result<Vec<String>> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let [core, window, sectors] =
            [self.core.to_string(), case.window.to_string(), case.sectors.to_string()];
        let op = case.op.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let result = self.result.to_string_lossy();
        let mut words = self.end.run_on(self.core);
        words.extend([own.to_string_lossy().into_owned(), "load".to_owned()]);
        let fixed = ["--interface", self.end.interface, "--export", EXPORT, "--timeout-ms", TIMEOUT_MS];
        let place = ["--cpu", &core, "--json", &result, "--destroy-data"];
        let load = ["--op", &op, "--sectors", &sectors, "--window", &window];
        words.extend(fixed.iter().chain(&place).chain(&load).chain(more).map(|word| (*word).to_owned()));
        if let Some(port) = self.port.and_then(|port| port.to_possible_value()) {
            words.extend(["--port".to_owned(), port.get_name().to_owned()]);
        }
        Ok(words)
    }
}

/// Reads a result, and removes it: the next one is not to be taken for it.
pub fn take(result: &Path) -> Result<String> {
    let text =
        std::fs::read_to_string(result).with_context(|| format!("cannot read {}", result.display()))?;
    std::fs::remove_file(result).with_context(|| format!("cannot remove {}", result.display()))?;
    Ok(text)
}

/// Runs a program to its end, unless the user interrupts. Looks at it, by the
/// id of its process, while it runs.
pub fn run_to_end(words: &[String], stop: &AtomicBool, mut look: impl FnMut(u32)) -> Result<()> {
    let (program, args) = words.split_first().context("no program to run")?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run `{program}`"))?;
    // An interrupt in a terminal reaches the program, too.
    let stopped = || stop.load(Ordering::Relaxed);
    let status = loop {
        match child.try_wait().with_context(|| format!("cannot wait for `{program}`"))? {
            Some(status) => break status,
            None if stopped() => child.kill().with_context(|| format!("cannot end `{program}`"))?,
            None => look(child.id()),
        }
        thread::sleep(LOOK);
    };
    match status.code() {
        _ if stopped() => bail!("interrupted"),
        // 2: measured, and something was wrong; the result says what.
        Some(0 | 2) => Ok(()),
        _ => bail!("`{}` failed ({status})", words.join(" ")),
    }
}
