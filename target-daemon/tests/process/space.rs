//! Network namespaces of threads: nothing has a name outside, so nothing is
//! left over, however a test ends.

use std::io::Write;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xblade::link::Facts;
use xblade::wire::ether::Mac;

/// The target's interface and the initiator's.
pub const OURS: &str = "xbp0";
pub const PEER: &str = "xbp1";

/// How long anything may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Whether this process may make namespaces; says so loudly when it may not.
pub fn may_run(test: &str) -> bool {
    // SAFETY: takes no arguments and cannot fail.
    (unsafe { libc::geteuid() }) == 0 || skipped(test, "needs root")
}

/// Says that a test is not run; false, for the caller to pass on.
pub fn skipped(test: &str, why: &str) -> bool {
    // Not eprintln: the test runner would keep that to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}: {test}");
    let strict = std::env::var_os("XBLADE_TESTS_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test} was skipped, and XBLADE_TESTS_STRICT=1 forbids it");
    false
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own.
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
        let (result, receiver) = channel();
        let job = Box::new(move || drop(result.send(job())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        receiver.recv().expect("the job in the namespace panicked")
    }

    /// Runs a command line inside, demands success and returns what it printed.
    pub fn sh(&self, line: &str) -> String {
        let line = line.to_owned();
        self.run(move || {
            let output = Command::new("sh").args(["-c", &line]).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}: {errors}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    /// What the kernel says of an interface inside.
    pub fn facts(&self, name: &'static str) -> Facts {
        self.run(move || Facts::read(name).unwrap())
    }

    /// Moves an interface into another namespace.
    pub fn give(&self, name: &str, to: &Self) {
        self.sh(&format!("ip link set {name} netns {}", to.tid));
    }

    pub fn mac(&self, name: &'static str) -> Mac {
        Mac(self.facts(name).mac)
    }

    /// Waits until no program is on an interface: the kernel takes it off a
    /// moment after the end of the process that held it.
    pub fn until_detached(&self, name: &'static str) {
        until("no XDP program on the interface", || self.facts(name).attached.is_empty());
        let shown = self.sh(&format!("ip -d link show {name}"));
        assert!(!shown.contains("xdp"), "{shown}");
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.jobs.take();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A veth pair, up on both sides; options as for `ip link add`.
pub fn join(a: (&Space, &str), b: (&Space, &str), options: &str) {
    let ((a, a_name), (b, b_name)) = (a, b);
    a.sh(&format!(
        "ip link add {a_name} {options} type veth peer name {b_name} {options} && ip link set {a_name} up"
    ));
    a.give(b_name, b);
    b.sh(&format!("ip link set {b_name} up"));
    // A carrier is not enough: until the kernel has noticed it, it drops what
    // is sent.
    let up = |space: &Space, name: &str| space.sh(&format!("ip -o link show {name}")).contains("state UP");
    until("the new pair is up", || up(a, a_name) && up(b, b_name));
}

/// Two namespaces, joined by a veth pair.
pub struct Pair {
    pub ours: Space,
    pub peer: Space,
}

impl Pair {
    pub fn new() -> Self {
        Self::with("")
    }

    pub fn with(options: &str) -> Self {
        let pair = Self { ours: Space::new(), peer: Space::new() };
        join((&pair.ours, OURS), (&pair.peer, PEER), options);
        pair
    }

    /// Sets the MTU of both ends, the peer's first if frames get longer.
    pub fn mtu(&self, mtu: u32) {
        self.peer.sh(&format!("ip link set {PEER} mtu {mtu}"));
        self.ours.sh(&format!("ip link set {OURS} mtu {mtu}"));
    }
}

/// Asks again until the answer is yes; panics when that takes too long.
pub fn until(what: &str, mut answer: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !answer() {
        assert!(Instant::now() < end, "did not happen within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
