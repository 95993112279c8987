//! Runs other programs, and reports clearly what failed.

use std::fmt::Display;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// The words of a command.
pub fn words(all: &[&dyn Display]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// The words of a text.
pub fn split(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

/// Runs a program; returns its output, or an error if it fails.
pub fn run(words: &[&str]) -> Result<String> {
    let output = output(words)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}", words.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program and returns its output and exit code.
pub fn output(words: &[&str]) -> Result<Output> {
    let (program, args) = words.split_first().context("no program to run")?;
    Command::new(program).args(args).output().with_context(|| format!("cannot run `{program}`"))
}
