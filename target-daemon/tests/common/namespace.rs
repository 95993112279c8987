//! Network namespaces of threads. They have no names outside, so nothing is left over,
//! however a test ends.

use std::io::Write;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Timeout for anything on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Whether this process may create namespaces; reports the skip if not.
pub fn may_run(test: &str) -> bool {
    // SAFETY: takes no arguments and cannot fail.
    (unsafe { libc::geteuid() }) == 0 || skipped(test, "needs root")
}

/// Reports that a test is skipped. Returns false, for the caller to pass on.
pub fn skipped(test: &str, why: &str) -> bool {
    // Not eprintln, which the test harness captures.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}: {test}");
    let strict = std::env::var_os("XBLADE_TESTS_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test} was skipped, and XBLADE_TESTS_STRICT=1 forbids it");
    false
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread in its own network namespace.
pub struct Space {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    tid: i32,
}

impl Space {
    pub fn new() -> Self {
        let (jobs, queue) = channel::<Job>();
        let (ready, started) = channel();
        let thread = thread::spawn(move || {
            // SAFETY: no pointers; changes the namespace of this thread only.
            let code = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            assert_eq!(code, 0, "unshare: {}", std::io::Error::last_os_error());
            // SAFETY: takes no arguments and cannot fail.
            ready.send(unsafe { libc::gettid() }).unwrap();
            queue.iter().for_each(|job| job());
        });
        let space = Self { jobs: Some(jobs), thread: Some(thread), tid: started.recv().unwrap() };
        space.sh("ip link set lo up");
        space
    }

    /// Runs `job` inside and returns what it returns; panics if it does.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.start(job).recv().expect("the job in the namespace panicked")
    }

    /// Like [`Self::run`], but does not wait.
    pub fn start<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        let (result, receiver) = channel();
        let job = Box::new(move || drop(result.send(job())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        receiver
    }

    /// Runs a command line inside, requires success and returns its output.
    pub fn sh(&self, line: &str) -> String {
        let line = line.to_owned();
        self.run(move || sh(&line))
    }

    /// Moves an interface into another namespace.
    pub fn give(&self, name: &str, to: &Self) {
        self.sh(&format!("ip link set {name} netns {}", to.tid));
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.jobs.take();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs a command line in the network namespace of this thread, requires success and
/// returns its output.
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Polls until `answer` returns true; panics if that takes too long.
pub fn until(what: &str, mut answer: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !answer() {
        assert!(Instant::now() < end, "did not happen within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
