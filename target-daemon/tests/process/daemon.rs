//! The running program: its log, its reports, its exit.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xblade_kit::{OURS, PATIENCE, Space};

/// Several daemons run at once with the same export addresses.
const NO_SERVICE: [&str; 4] = ["--control", "none", "--state", "none"];

/// Splits the arguments. For `serve`, disables what daemons would share.
fn words(arguments: &str) -> Vec<&str> {
    let mut words: Vec<&str> = arguments.split_whitespace().collect();
    if words.first() == Some(&"serve") && !words.contains(&"--config") && !words.contains(&"--help") {
        for option in NO_SERVICE.chunks(2).filter(|option| !arguments.contains(option[0])) {
            words.splice(1..1, option.iter().copied());
        }
    }
    words
}

/// `xblade` with these arguments.
pub fn xblade(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xblade"));
    command.args(words(arguments));
    command
}

/// Makes a configuration file without a `[service]` section share nothing with other
/// daemons.
pub fn leave_alone(file: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    if !text.contains("[service]") {
        std::fs::write(file, text + "\n[service]\ncontrol = 'none'\nstate = 'none'\n").unwrap();
    }
}

/// `xblade`, started in a new mount namespace after `setup`, a shell script that may mount.
pub fn xblade_after(setup: &str, arguments: &str) -> Command {
    let script = format!("{setup} && exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", &script, env!("CARGO_BIN_EXE_xblade")]);
    command.args(words(arguments));
    command
}

/// What vblade's arguments leave in the state directory of the machine: the record of the
/// data used at the address. vblade has no option for another directory.
pub struct Record(PathBuf);

impl Record {
    pub fn new(address: &str) -> Self {
        let record = Self(Path::new("/var/lib/xblade").join(format!("{address}-{OURS}.used")));
        record.remove();
        record
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What the program has written to standard error.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

/// A daemon process, killed on drop.
pub struct Daemon {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub text: String,
}

impl Daemon {
    /// Starts the command in the namespace.
    pub fn spawn(space: &Space, mut command: Command) -> Self {
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
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
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                to.lines.lock().unwrap().push(line);
                to.changed.notify_all();
            }
        });
        Self { child, log, reader: Some(reader) }
    }

    /// Starts `xblade serve` with these arguments and waits until it is ready.
    pub fn serve(space: &Space, arguments: &str) -> Self {
        let daemon = Self::spawn(space, xblade(&format!("serve --no-probe {arguments}")));
        daemon.wait_for("ready:");
        daemon
    }

    /// Starts `xblade serve --config` with this file and waits until it is ready.
    pub fn serve_file(space: &Space, file: &str) -> Self {
        leave_alone(file);
        let daemon = Self::spawn(space, xblade(&format!("serve --config {file}")));
        daemon.wait_for("ready:");
        daemon
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The number of lines so far.
    pub fn mark(&self) -> usize {
        self.log.lines.lock().unwrap().len()
    }

    /// The first line that contains `text`; panics if none arrives.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_after(0, text)
    }

    /// As [`Self::wait_for`], but skips the first `mark` lines.
    pub fn wait_for_after(&self, mark: usize, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().skip(mark).find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line with {text:?} came, but:\n{}", lines.join("\n"));
            lines = self.log.changed.wait_timeout(lines, left.min(Duration::from_millis(200))).unwrap().0;
        }
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: no pointers; the child is ours and not reaped yet.
        assert_eq!(unsafe { libc::kill(self.pid() as i32, signal) }, 0);
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Requests a report.
    pub fn report(&self) -> Report {
        let mark = self.mark();
        self.signal(libc::SIGUSR1);
        // Behind all counters.
        self.wait_for_after(mark, "UNANSWERED");
        Report::parse(&self.log.lines.lock().unwrap()[mark..])
    }

    /// Waits until the process exits by itself.
    pub fn ended(mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                let lines = self.log.lines.lock().unwrap().join("\n");
                panic!("did not end within {PATIENCE:?}; it said:\n{lines}");
            }
            thread::sleep(Duration::from_millis(2));
        };
        self.reader.take().unwrap().join().unwrap();
        let text = self.log.lines.lock().unwrap().join("\n");
        Ended { status, text }
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

/// Counters of a report: section, name, value.
#[derive(Debug)]
pub struct Report(Vec<(String, String, u64)>);

impl Report {
    fn parse(lines: &[String]) -> Self {
        let mut section = String::new();
        let mut rows = Vec::new();
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [name, value] if line.starts_with("  ") => {
                    if let Ok(value) = value.parse() {
                        rows.push((section.clone(), (*name).to_owned(), value));
                    }
                }
                _ if !line.starts_with(' ') => section = line.clone(),
                _ => {}
            }
        }
        Self(rows)
    }

    /// A counter, summed over all sections.
    pub fn sum(&self, name: &str) -> u64 {
        self.rows("", name).map(|(_, _, value)| value).sum()
    }

    /// A counter in the sections whose heading contains `section`, one by one.
    pub fn each(&self, section: &str, name: &str) -> Vec<u64> {
        self.rows(section, name).map(|(_, _, value)| *value).collect()
    }

    fn rows<'a>(
        &'a self,
        section: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a (String, String, u64)> {
        self.0.iter().filter(move |row| row.0.contains(section) && row.1 == name)
    }

    /// Checks that nothing happened that must never happen.
    pub fn assert_sound(&self) {
        let never = ["unsendable", "stale_completions", "imbalances", "bad_descriptors", "bad_completions"];
        for name in never.into_iter().chain(["kernel_rx_invalid", "kernel_tx_invalid", "no_socket"]) {
            assert_eq!(self.sum(name), 0, "{name}: {self:?}");
        }
    }
}
