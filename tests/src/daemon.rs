//! `xblade serve` as a child process: its log and its exit.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Space, xblade};

/// Maximum time from the start until it is ready.
pub const START_MAX: Duration = Duration::from_secs(20);

/// Maximum time for a killed process to disappear.
const END_MAX: Duration = Duration::from_secs(10);

/// A child process that is killed when this is dropped. If that happens in a panic, its
/// log is printed.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `xblade serve` in a namespace with these arguments and this environment;
    /// its output goes to `log`.
    pub fn serve(space: &Space, arguments: &[String], environment: &[(&str, &str)], log: &Path) -> Self {
        let mut command = Command::new(xblade());
        command.arg("serve").args(arguments);
        // Several run at once, and their exports have the same names.
        if !arguments.iter().any(|argument| argument == "--config") {
            for (option, value) in [("--control", "none"), ("--state", "none")] {
                if !arguments.iter().any(|argument| argument == option) {
                    command.args([option, value]);
                }
            }
        }
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stderr(fs::File::create(log).expect("a log"));
        // Ctrl-C at a terminal is for the test, which then stops the daemon.
        command.process_group(0);
        // SAFETY: prctl is safe between fork and exec. It makes the daemon exit with the
        // thread that starts it, in case this process is killed.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            })
        };
        let child = space.run(move || command.spawn()).expect("a process");
        Self { child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its output so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its output contains this text; panics if it exits before or takes too
    /// long.
    pub fn until_said(&mut self, text: &str) {
        assert!(self.says(text), "xblade ended and had not said '{text}'");
    }

    /// Whether its output contains this text before it exits; panics if it takes too
    /// long.
    pub fn says(&mut self, text: &str) -> bool {
        let end = Instant::now() + START_MAX;
        while !self.said().contains(text) {
            if !self.is_running() {
                return false;
            }
            assert!(Instant::now() < end, "xblade did not say '{text}'");
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal if it is still running.
    pub fn signal(&mut self, signal: libc::c_int) {
        if self.is_running() {
            // SAFETY: our own child, which has not been waited for: no other process can
            // have its id.
            unsafe { libc::kill(self.child.id() as i32, signal) };
        }
    }

    /// Waits for its exit; `None` if it does not exit in time.
    pub fn end_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() > end {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends SIGKILL and waits for its exit, calling `meanwhile` until then; panics if
    /// the process had exited before, or does not exit.
    pub fn kill(&mut self, mut meanwhile: impl FnMut()) {
        assert!(self.is_running(), "xblade ended before it was killed");
        self.signal(libc::SIGKILL);
        let end = Instant::now() + END_MAX;
        while self.is_running() {
            assert!(Instant::now() < end, "SIGKILL does not end xblade");
            meanwhile();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal(libc::SIGTERM);
        self.end_within(Duration::from_secs(2));
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("xblade said:\n{}", self.said());
        }
    }
}
