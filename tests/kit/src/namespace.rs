//! Namespaces that belong to a thread. They have no name, so the kernel removes each with
//! its thread, however the test ends: interfaces, mounts, and the loop devices under
//! them.

use std::ffi::CString;
use std::io;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Timeout for anything on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(15);

type Job = Box<dyn FnOnce() + Send>;

/// A thread in its own network namespace.
pub struct Space {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    tid: i32,
}

impl Space {
    /// Creates a network namespace, whose loopback interface is up.
    #[expect(clippy::new_without_default, reason = "it starts a thread")]
    pub fn new() -> Self {
        let space = Self::unshared(libc::CLONE_NEWNET);
        space.sh("ip link set lo up");
        space
    }

    /// Also creates a mount namespace: no other process can keep what is mounted inside
    /// in use.
    pub fn with_mounts() -> Self {
        let space = Self::unshared(libc::CLONE_NEWNET | libc::CLONE_NEWNS);
        space.run(unmount_all);
        space
    }

    /// Its thread id, by which `ip` finds the namespace.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    fn unshared(what: libc::c_int) -> Self {
        let (jobs, queue) = channel::<Job>();
        let (ready, started) = channel();
        let thread = thread::spawn(move || {
            // SAFETY: no pointers; changes the namespaces of this thread only.
            let code = unsafe { libc::unshare(what) };
            assert_eq!(code, 0, "unshare: {}", io::Error::last_os_error());
            // SAFETY: takes no arguments and cannot fail.
            ready.send(unsafe { libc::gettid() }).unwrap();
            queue.iter().for_each(|job| job());
        });
        let tid = started.recv().expect("a namespace");
        Self { jobs: Some(jobs), thread: Some(thread), tid }
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

/// Keeps mounts from here on inside, and detaches what other tests have mounted: a copy
/// of a mount would keep its file system in use after they unmount it.
fn unmount_all() {
    let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
    let slave = libc::MS_REC | libc::MS_SLAVE;
    // SAFETY: null-terminated strings; the rest may be null for this call.
    let code = unsafe { libc::mount(none, root, std::ptr::null(), slave, std::ptr::null()) };
    assert_eq!(code, 0, "mount --make-rslave /: {}", io::Error::last_os_error());
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
    let within = std::env::temp_dir();
    for on in mounts.lines().filter_map(|line| line.split(' ').nth(1)).rev() {
        if on != within.to_string_lossy() && std::path::Path::new(on).starts_with(&within) {
            let on = CString::new(on).unwrap();
            // SAFETY: a null-terminated string.
            unsafe { libc::umount2(on.as_ptr(), libc::MNT_DETACH) };
        }
    }
}
