//! A running target.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::compare::pair::End;

/// A running target. Dropping it kills it, with everything that it has started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    end: End,
    log: PathBuf,
    words: Vec<String>,
}

impl Running {
    /// Starts it at an end of a pair, on a core.
    pub fn start(end: &End, core: usize, command: Vec<String>) -> Result<Self> {
        let words = [end.run_on(core), command.clone()].concat();
        let (program, args) = words.split_first().context("no program to run")?;
        let log = std::env::temp_dir().join(format!("xbb-{}.log", std::process::id()));
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let both = output.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(both)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run `{}`", words.join(" ")))?;
        Ok(Self { child, end: end.clone(), log, words: command })
    }

    /// Its process ID: `nsenter` and `taskset` exec it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has exited, and how.
    pub fn has_ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Its output.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its command and output, for an error.
    pub fn story(&self) -> String {
        let said = self.said();
        let said = if said.trim().is_empty() { "nothing" } else { said.trim() };
        format!("`{}` said: {said}", self.words.join(" "))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed without a chance to clean up: its file is not needed afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.end.kill_all();
        let _ = std::fs::remove_file(&self.log);
    }
}
