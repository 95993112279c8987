//! Runs the generator.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::args::{Op, PortKind};
use crate::outcome::Outcome;
use crate::report;

use super::case::{self, Case, Rate};
use super::pair::End;
use super::shell::{run_to_end, split, words};
use super::target::EXPORT;

/// How long the generator waits for a reply. On a veth pair no frame is lost without
/// being counted, and disks stall: a resend would only add to their load.
const TIMEOUT_MS: u32 = 1000;

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
    pub fn run(&self, case: &Case, more: &[String], mut look: impl FnMut()) -> Result<Outcome> {
        let said = run_to_end(&[&self.words(case)?, more].concat(), self.stop, |_| look())?;
        let no_result = || format!("the generator wrote no result, and said: {}", said.trim());
        let mut document = report::result::read(self.result).with_context(no_result)?;
        let outcome = document.sections.pop().and_then(|mut section| section.outcomes.pop());
        std::fs::remove_file(self.result)?;
        outcome.context("the generator's result is empty")
    }

    /// The arguments common to all runs of a case.
    fn words(&self, case: &Case) -> Result<Vec<String>> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let fixed = format!(
            "load --interface {} --export {EXPORT} --timeout-ms {TIMEOUT_MS} --cpu {} --destroy-data --op {} \
             --sectors {} --window {}",
            self.end.interface,
            self.core,
            case::word(case.op),
            case.sectors,
            case.window
        );
        let mut all = self.end.run_on(self.core);
        all.extend(words(&[&own.display()]).into_iter().chain(split(&fixed)));
        all.extend(words(&[&"--json", &self.result.display()]));
        all.extend(self.beyond.then(|| "--beyond-buffer-count".to_owned()));
        if let Some(port) = self.port.and_then(|port| port.to_possible_value()) {
            all.extend(words(&[&"--port", &port.get_name()]));
        }
        Ok(all)
    }
}

/// The arguments of a case other than operation, size and window.
pub fn more_words(case: &Case) -> Vec<String> {
    let mut all = Vec::new();
    if case.op == Op::Mixed {
        all.extend(words(&[&"--read-percent", &case.read_percent]));
    }
    if let Some(pattern) = &case.pattern {
        all.extend(words(&[&"--pattern", pattern]));
    }
    if let Some(Rate::Fixed(rate)) = &case.rate {
        all.extend(words(&[&"--rate", rate]));
    }
    all.extend(case.verify.then(|| "--verify".to_owned()));
    all
}

/// Reads a result and removes the file, so that it is not mistaken for the next one.
pub fn take(result: &Path) -> Result<String> {
    let text =
        std::fs::read_to_string(result).with_context(|| format!("cannot read {}", result.display()))?;
    std::fs::remove_file(result).with_context(|| format!("cannot remove {}", result.display()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_case_says_is_handed_on_and_nothing_else() {
        assert_eq!(more_words(&Case::default()), [""; 0]);
        let (pattern, rate) = (Some("sequential".to_owned()), Some(Rate::Fixed(1234.0)));
        let case = Case { op: Op::Mixed, read_percent: 70, pattern, rate, verify: true, ..Case::default() };
        let expected = "--read-percent 70 --pattern sequential --rate 1234 --verify";
        assert_eq!(more_words(&case).join(" "), expected);
    }
}
