//! Runs other programs, and reports clearly what failed.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How often a running program is polled.
const LOOK: Duration = Duration::from_millis(20);

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

/// Whether a name is of the form `xbb-PID-REST`, of a process that no longer runs; returns
/// the rest.
pub fn left_behind(name: &str) -> Option<&str> {
    let (pid, rest) = name.strip_prefix("xbb-")?.split_once('-')?;
    let pid: u32 = pid.parse().ok()?;
    (!Path::new(&format!("/proc/{pid}")).exists()).then_some(rest)
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    words: String,
}

impl Process {
    /// Starts it.
    pub fn start(words: &[String]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (program, args) = words.split_first().context("no program to run")?;
        let name = format!("xbb-{}.{}.log", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let log = std::env::temp_dir().join(name);
        let output = || File::options().create(true).append(true).open(&log);
        let [out, err] =
            [output(), output()].map(|file| file.with_context(|| format!("cannot write {}", log.display())));
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(out?).stderr(err?);
        let words = words.join(" ");
        let child = command.spawn().with_context(|| format!("cannot run `{words}`"))?;
        Ok(Self { child, log, words })
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has exited, and how.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Its output.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its command and output, for an error.
    pub fn story(&self) -> String {
        let said = self.said();
        let said = if said.trim().is_empty() { "nothing" } else { said.trim() };
        format!("`{}` said: {said}", self.words)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed without a chance to clean up: its file is not needed afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// Runs a program until it exits or the user interrupts. Calls `look` with its process ID
/// meanwhile. Returns its output.
pub fn run_to_end(words: &[String], stop: &AtomicBool, mut look: impl FnMut(u32)) -> Result<String> {
    let mut process = Process::start(words)?;
    let status = loop {
        // In a terminal, an interrupt reaches the program, too.
        if stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if let Some(status) = process.has_ended() {
            break status;
        }
        look(process.pid());
        thread::sleep(LOOK);
    };
    match status.code() {
        // Exit code 2: measured, but some requests failed; the result has the details.
        Some(0 | 2) => Ok(process.said()),
        _ => bail!("`{}` failed ({status}): {}", process.words, process.said().trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_comparison_made_is_left_behind() {
        // No process has this ID: it is above the maximum of Linux.
        assert_eq!(left_behind("xbb-4194305-t"), Some("t"));
        let ours = format!("xbb-{}-t", std::process::id());
        for name in [ours.as_str(), "xbb-it12-0t", "other-1-t", "xbb-1"] {
            assert_eq!(left_behind(name), None, "{name}");
        }
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
