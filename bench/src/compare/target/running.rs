//! A target while it runs.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A target that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    words: Vec<String>,
}

impl Running {
    /// Starts it.
    pub fn start(words: Vec<String>) -> Result<Self> {
        let (program, args) = words.split_first().context("no program to run")?;
        let log = std::env::temp_dir().join(format!("xbb-{}.log", std::process::id()));
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run `{}`", words.join(" ")))?;
        Ok(Self { child, log, words })
    }

    /// Its process: `nsenter` and `taskset` became it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it was and what it said, for an error.
    pub fn story(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("`{}` said: {}", self.words.join(" "), said.trim())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without a farewell: nobody needs its file afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}
