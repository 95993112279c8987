//! The running program: its log, its reports, its exit.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::namespace::{PATIENCE, Space};
use crate::report::Report;

/// Several daemons run at once with the same export addresses.
const NO_SERVICE: [&str; 4] = ["--control", "none", "--state", "none"];

/// A command line of `program`. For `serve`, disables what daemons would share.
pub fn program(program: impl AsRef<OsStr>, arguments: &[impl AsRef<str>]) -> Command {
    let mut words: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    if words.first() == Some(&"serve") && !words.contains(&"--config") && !words.contains(&"--help") {
        for option in NO_SERVICE.chunks(2) {
            if !words.iter().any(|word| word.starts_with(option[0])) {
                words.splice(1..1, option.iter().copied());
            }
        }
    }
    let mut command = Command::new(program);
    command.args(words);
    command
}

/// The same, started in a new mount namespace after `setup`, a shell script that may mount.
pub fn after(setup: &str, command: &Command) -> Command {
    let script = format!("{setup} && exec \"$0\" \"$@\"");
    let mut after = Command::new("unshare");
    after.args(["-m", "sh", "-ec", &script]).arg(command.get_program()).args(command.get_args());
    after
}

/// Makes a configuration file without a `[service]` section share nothing with other
/// daemons.
pub fn leave_alone(file: impl AsRef<Path>) {
    let text = std::fs::read_to_string(&file).unwrap();
    if !text.contains("[service]") {
        std::fs::write(file, text + "\n[service]\ncontrol = 'none'\nstate = 'none'\n").unwrap();
    }
}

/// What a process writes to standard error.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    /// No more will come.
    is_complete: bool,
}

impl Log {
    /// A test that fails while it waits for a line holds them.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, lines: impl Iterator<Item = String>) {
        for line in lines {
            self.lines().lines.push(line);
            self.changed.notify_all();
        }
        self.lines().is_complete = true;
        self.changed.notify_all();
    }

    fn text(&self) -> String {
        self.lines().lines.join("\n")
    }
}

/// A daemon process, killed on drop. If that happens in a panic, its log is printed.
pub struct Daemon {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// Its whole log.
    pub text: String,
}

impl Daemon {
    /// Starts the command in the namespace.
    pub fn spawn(space: &Space, mut command: Command) -> Self {
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Ctrl-C at a terminal is for the test, which then stops the daemon.
        command.process_group(0);
        // It ends at the latest with the thread that holds the namespace.
        let die_with_parent = || {
            // SAFETY: no pointers; async-signal-safe.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            Ok(())
        };
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(die_with_parent) };
        let mut child = space.run(move || command.spawn().unwrap());
        let log = Arc::new(Log::default());
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let to = Arc::clone(&log);
        let reader = thread::spawn(move || to.follow(lines.map_while(Result::ok)));
        Self { child, log, reader: Some(reader) }
    }

    /// The same, and waits until it is ready.
    pub fn ready(space: &Space, command: Command) -> Self {
        let daemon = Self::spawn(space, command);
        daemon.wait_for("ready:");
        daemon
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Returns its log so far whenever it is called, from any thread.
    pub fn log_reader(&self) -> impl Fn() -> String + Send + 'static {
        let log = Arc::clone(&self.log);
        move || log.text()
    }

    /// The number of lines so far.
    pub fn mark(&self) -> usize {
        self.log.lines().lines.len()
    }

    /// The first line that contains `text`; panics if none arrives.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_after(0, text)
    }

    /// As [`Self::wait_for`], but skips the first `mark` lines.
    pub fn wait_for_after(&self, mark: usize, text: &str) -> String {
        self.line_after(mark, text)
            .unwrap_or_else(|| panic!("it ended without a line with {text:?}:\n{}", self.log()))
    }

    /// Whether a line contains `text` before it ends; panics if both take too long.
    pub fn logs(&self, text: &str) -> bool {
        self.line_after(0, text).is_some()
    }

    fn line_after(&self, mark: usize, text: &str) -> Option<String> {
        let end = Instant::now() + PATIENCE;
        let mut log = self.log.lines();
        loop {
            let found = log.lines.iter().skip(mark).find(|line| line.contains(text));
            if found.is_some() || log.is_complete {
                return found.cloned();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line with {text:?} came, but:\n{}", log.lines.join("\n"));
            log = self.log.changed.wait_timeout(log, left.min(Duration::from_millis(200))).unwrap().0;
        }
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: no pointers; the child is ours and not reaped yet.
        assert_eq!(unsafe { libc::kill(self.pid() as i32, signal) }, 0);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Requests a report.
    pub fn report(&self) -> Report {
        let mark = self.mark();
        self.signal(libc::SIGUSR1);
        // Behind all counters.
        self.wait_for_after(mark, "UNANSWERED");
        Report::parse(&self.log.lines().lines[mark..])
    }

    /// Waits until the process exits by itself.
    pub fn ended(mut self) -> Ended {
        let status = self.status_within(PATIENCE, || thread::sleep(Duration::from_millis(2)));
        self.reader.take().unwrap().join().unwrap();
        Ended { status, text: self.log() }
    }

    /// Waits for its exit, and calls `meanwhile` until then.
    fn status_within(&mut self, limit: Duration, mut meanwhile: impl FnMut()) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "did not end within {limit:?}; it said:\n{}", self.log());
            meanwhile();
        }
    }

    /// Sends SIGKILL and waits for its exit, and calls `meanwhile` until then. It must not
    /// have ended before.
    pub fn kill(&mut self, meanwhile: impl FnMut()) {
        assert!(self.is_running(), "it ended before it was killed:\n{}", self.log());
        self.signal(libc::SIGKILL);
        self.status_within(PATIENCE, meanwhile);
    }

    /// Sends a signal and waits for the exit.
    pub fn end_by(self, signal: libc::c_int) -> Ended {
        self.signal(signal);
        self.ended()
    }

    /// Stops it as a service manager does; it must exit with 0.
    pub fn stop(self) -> Ended {
        let ended = self.end_by(libc::SIGTERM);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.text);
        ended
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the daemon said:\n{}", self.log());
        }
    }
}

impl Ended {
    /// The report at its exit.
    pub fn report(&self) -> Report {
        let lines: Vec<String> = self.text.lines().map(str::to_owned).collect();
        let start = lines.iter().rposition(|line| line.contains("stopping:")).expect("a word on stopping");
        Report::parse(&lines[start..])
    }
}
