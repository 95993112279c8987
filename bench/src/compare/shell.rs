//! Runs other programs, and reports clearly what failed.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often a running program is polled.
const LOOK: Duration = Duration::from_millis(5);

/// Runs a program; returns its output, or an error if it fails.
pub fn run(words: &[&str]) -> Result<String> {
    let (program, args) = words.split_first().context("no program to run")?;
    let output =
        Command::new(program).args(args).output().with_context(|| format!("cannot run `{program}`"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed: {}", words.join(" "), error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What killed comparisons left in a directory: entries called xbb-PID-... of processes
/// that no longer run.
pub fn left_behind(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let pid = name.strip_prefix("xbb-").and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    })
}

/// A running program. Dropping it kills it, and what it started if it leads a process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: File,
    errors: File,
    command: String,
}

impl Process {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let file = || memfd_create("output", MemfdFlags::CLOEXEC).map(File::from);
        let (output, errors) = (file()?, file()?);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(errors.try_clone()?);
        let words = format!("{command:?}");
        let child = command.spawn().with_context(|| format!("cannot run {words}"))?;
        Ok(Self { child, output, errors, command: words })
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has exited, and how.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Whether it has written to standard output.
    pub fn has_output(&self) -> bool {
        self.output.metadata().is_ok_and(|file| file.len() > 0)
    }

    /// Its output: errors first.
    pub fn said(&self) -> String {
        text(&self.errors) + &text(&self.output)
    }

    /// Its command and output, for an error.
    pub fn story(&self) -> String {
        format!("{} said: {}", self.command, self.said().trim())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed without a chance to clean up: its file is not needed afterwards.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was written to a file in memory, through a descriptor that has its own position.
fn text(file: &File) -> String {
    fs::read_to_string(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default()
}

/// Runs a program until it exits or the user interrupts; returns its standard output. Calls
/// `look` meanwhile.
pub fn run_to_end(
    command: &mut Command,
    stop: &AtomicBool,
    mut look: impl FnMut(&Process) -> Result<()>,
) -> Result<String> {
    let mut process = Process::start(command)?;
    let status = loop {
        // In a terminal, an interrupt reaches the program, too.
        ensure!(!stop.load(Ordering::Relaxed), "interrupted");
        if let Some(status) = process.has_ended() {
            break status;
        }
        look(&process)?;
        thread::sleep(LOOK);
    };
    // Exit code 2: measured, but some requests failed; the result has the details.
    ensure!(matches!(status.code(), Some(0 | 2)), "{status}: {}", process.story());
    Ok(text(&process.output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_comparison_made_is_left_behind() {
        let folder = std::env::temp_dir().join(format!("xbb-old-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        // No process has this ID: it is above the maximum of Linux.
        let (old, ours) = (folder.join("xbb-4194305-t"), format!("xbb-{}-t", std::process::id()));
        for name in ["xbb-4194305-t", ours.as_str(), "xbb-it12-0t", "other-1-t", "xbb-1"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let found: Vec<PathBuf> = left_behind(&folder).collect();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [old]);
        assert_eq!(left_behind(Path::new("/no/such")).count(), 0);
    }

    #[test]
    fn a_program_that_fails_is_told_with_what_it_said() {
        let stop = AtomicBool::new(false);
        let run = |script: &str| run_to_end(Command::new("sh").args(["-c", script]), &stop, |_| Ok(()));
        assert!(run("exit 0").is_ok());
        assert!(run("echo x >&2; exit 2").is_ok(), "measured, and found wrong");
        let said = run("echo what went wrong >&2; exit 1").unwrap_err().to_string();
        assert!(said.contains("what went wrong") && said.contains("exit status: 1"), "{said}");
    }
}
