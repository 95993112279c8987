//! Network namespaces of threads: nothing has a name, so nothing is left over.

use std::io::Write;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xblade::link::Facts;

/// Our end and the peer's end of the veth pair.
pub const OURS: &str = "xbl0";
pub const PEER: &str = "xbl1";

/// Whether this process may make namespaces; says so loudly when it may not.
pub fn may_run(test: &str) -> bool {
    // SAFETY: takes no arguments and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return true;
    }
    // Not eprintln: the test runner would keep that to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: needs root: {test}");
    let strict = std::env::var_os("XBLADE_TESTS_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test} was skipped, and XBLADE_TESTS_STRICT=1 forbids it");
    false
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own, which ends with it.
pub struct Space {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    tid: i32,
}

impl Space {
    fn new() -> Self {
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
        let tid = started.recv().unwrap();
        Self { jobs: Some(jobs), thread: Some(thread), tid }
    }

    /// Runs `job` inside and returns what it returns; panics if it does.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.start(job).recv().expect("the job in the namespace panicked")
    }

    /// As [`Self::run`], but does not wait.
    pub fn start<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> std::sync::mpsc::Receiver<T> {
        let (result, receiver) = channel();
        let job = Box::new(move || drop(result.send(job())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        receiver
    }

    /// Runs a command line inside and demands success.
    pub fn sh(&self, line: &str) {
        let line = line.to_owned();
        self.run(move || sh(&line));
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.jobs.take();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs a command line in the namespace of this thread and demands success.
pub fn sh(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
}

/// Runs a command line in the namespace of this thread; whether it succeeded.
pub fn sh_works(line: &str) -> bool {
    Command::new("sh").args(["-c", line]).output().unwrap().status.success()
}

/// Two namespaces, joined by a veth pair that is up on both sides.
pub struct Pair {
    pub ours: Space,
    pub peer: Space,
}

impl Pair {
    pub fn new() -> Self {
        Self::with("", "")
    }

    /// With options for our end and the peer's, as for `ip link add`.
    pub fn with(ours: &str, peer: &str) -> Self {
        let pair = Self { ours: Space::new(), peer: Space::new() };
        let tid = pair.peer.tid;
        pair.ours.sh(&format!(
            "ip link add {OURS} {ours} type veth peer name {PEER} {peer} &&
             ip link set {PEER} netns {tid} && ip link set {OURS} up"
        ));
        pair.peer.sh(&format!("ip link set {PEER} up"));
        pair
    }

    /// Sets the MTU of both ends.
    pub fn mtu(&self, mtu: u32) {
        self.ours.sh(&format!("ip link set {OURS} mtu {mtu}"));
        self.peer.sh(&format!("ip link set {PEER} mtu {mtu}"));
    }
}

/// The facts of our end, in the namespace of this thread.
pub fn facts() -> Facts {
    facts_of(OURS)
}

/// The facts of an interface in the namespace of this thread.
pub fn facts_of(name: &str) -> Facts {
    Facts::read(name).unwrap()
}

/// Asks again until the answer is yes; panics after two seconds.
pub fn until(what: &str, mut answer: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(2);
    while !answer() {
        assert!(Instant::now() < end, "did not happen within 2 s: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until no program is on our end. Not at once, because a test beside
/// this one may be starting a command: its process holds a copy of the link
/// until it executes.
pub fn until_detached() {
    until("no program attached", || facts().attached.is_empty());
}
