//! Runs the measuring programs: the generator, or fio.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::args::{Op, PortKind};
use crate::outcome::Outcome;
use crate::report;

use super::case::{self, Case, Rate};
use super::pair::End;
use super::target::EXPORT;

/// How often a running program is polled.
const LOOK: Duration = Duration::from_millis(20);
/// How long the generator waits for a reply. On a veth pair no frame is lost without
/// being counted, and disks stall: a resend would only add to their load.
const TIMEOUT_MS: &str = "1000";

/// The generator at its end of a pair.
#[derive(Debug)]
pub struct Generator<'a> {
    /// The end where it runs.
    pub end: &'a End,
    /// Its core.
    pub core: usize,
    /// Its port; `None` for the default.
    pub port: Option<PortKind>,
    /// The file for its results.
    pub result: &'a Path,
    /// Whether to exceed the buffer count that the target advertises.
    pub beyond: bool,
    /// Becomes true when the user interrupts.
    pub stop: &'a AtomicBool,
}

impl Generator<'_> {
    /// Runs it until it exits; calls `look` meanwhile.
    pub fn run(&self, case: &Case, more: &[String], look: impl FnMut()) -> Result<Outcome> {
        self.run_words(&[self.words(case)?, words(case), more.to_vec()].concat(), look)
    }

    /// Sends a few requests in a closed loop, to see whether the target answers.
    pub fn probe(&self, case: &Case, count: u32) -> Result<Outcome> {
        let more = ["--count".to_owned(), count.to_string()];
        self.run_words(&[self.words(case)?, more.to_vec()].concat(), || ())
    }

    fn run_words(&self, words: &[String], mut look: impl FnMut()) -> Result<Outcome> {
        let said = run_to_end(words, self.stop, |_| look())?;
        let no_result = || format!("the generator wrote no result, and said: {}", said.trim());
        let text = take(self.result).with_context(no_result)?;
        let mut outcomes = report::result::read(&text).context("cannot read the generator's result")?;
        outcomes.pop().context("the generator's result is empty")
    }

    /// The arguments common to all runs.
    fn words(&self, case: &Case) -> Result<Vec<String>> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let [core, window, sectors] =
            [self.core.to_string(), case.window.to_string(), case.sectors.to_string()];
        let (op, result) = (case::word(case.op), self.result.to_string_lossy());
        let mut words = self.end.run_on(self.core);
        words.extend([own.to_string_lossy().into_owned(), "load".to_owned()]);
        let fixed = ["--interface", self.end.interface, "--export", EXPORT, "--timeout-ms", TIMEOUT_MS];
        let place = ["--cpu", &core, "--json", &result, "--destroy-data"];
        let load = ["--op", &op, "--sectors", &sectors, "--window", &window];
        words.extend(fixed.iter().chain(&place).chain(&load).map(|word| (*word).to_owned()));
        words.extend(self.beyond.then(|| "--beyond-buffer-count".to_owned()));
        if let Some(port) = self.port.and_then(|port| port.to_possible_value()) {
            words.extend(["--port".to_owned(), port.get_name().to_owned()]);
        }
        Ok(words)
    }
}

/// The arguments of a case other than operation, size and window.
fn words(case: &Case) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| [name.to_owned(), value]).into_iter().flatten());
    };
    say("--read-percent", (case.op == Op::Mixed).then(|| case.read_percent.to_string()));
    say("--pattern", case.pattern.clone());
    let rate = case.rate.and_then(|rate| if let Rate::Fixed(rate) = rate { Some(rate) } else { None });
    say("--rate", rate.map(|rate| rate.to_string()));
    words.extend(case.verify.then(|| "--verify".to_owned()));
    words
}

/// Reads a result and removes the file, so that it is not mistaken for the next one.
pub fn take(result: &Path) -> Result<String> {
    let text =
        std::fs::read_to_string(result).with_context(|| format!("cannot read {}", result.display()))?;
    std::fs::remove_file(result).with_context(|| format!("cannot remove {}", result.display()))?;
    Ok(text)
}

/// The output of a running program.
struct Said(std::path::PathBuf);

impl Drop for Said {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs a program until it exits or the user interrupts. Calls `look` with its process ID
/// meanwhile. Returns its standard error.
pub fn run_to_end(words: &[String], stop: &AtomicBool, mut look: impl FnMut(u32)) -> Result<String> {
    let (program, args) = words.split_first().context("no program to run")?;
    let said = Said(std::env::temp_dir().join(format!("xbb-{}.said", std::process::id())));
    let log = File::create(&said.0).with_context(|| format!("cannot create {}", said.0.display()))?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run `{program}`"))?;
    // In a terminal, an interrupt reaches the program, too.
    let stopped = || stop.load(Ordering::Relaxed);
    let status = loop {
        match child.try_wait().with_context(|| format!("cannot wait for `{program}`"))? {
            Some(status) => break status,
            None if stopped() => child.kill().with_context(|| format!("cannot end `{program}`"))?,
            None => look(child.id()),
        }
        thread::sleep(LOOK);
    };
    let said = std::fs::read_to_string(&said.0).unwrap_or_default();
    match status.code() {
        _ if stopped() => bail!("interrupted"),
        // Exit code 2: measured, but some requests failed; the result has the details.
        Some(0 | 2) => Ok(said),
        _ => {
            bail!("`{}` failed ({status}): {}", words.join(" "), said.trim())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_case_says_is_handed_on_and_nothing_else() {
        assert_eq!(words(&Case::default()), [""; 0]);
        let (pattern, rate) = (Some("sequential".to_owned()), Some(Rate::Fixed(1234.0)));
        let case = Case { op: Op::Mixed, read_percent: 70, pattern, rate, verify: true, ..Case::default() };
        let expected = "--read-percent 70 --pattern sequential --rate 1234 --verify";
        assert_eq!(words(&case).join(" "), expected);
    }

    #[test]
    fn a_program_that_fails_is_told_with_what_it_said() {
        let stop = AtomicBool::new(false);
        let run = |script: &str| run_to_end(&["sh", "-c", script].map(str::to_owned), &stop, |_| ());
        assert!(run("exit 0").is_ok());
        assert_eq!(run("echo x >&2; exit 2").unwrap(), "x\n", "measured, and found wrong");
        let said = run("echo what went wrong >&2; exit 1").unwrap_err().to_string();
        assert!(said.contains("what went wrong"), "{said}");
    }
}
