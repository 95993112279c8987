//! Network namespaces of threads: none has a name, so the kernel takes each
//! one down with its thread, whatever becomes of the test.

use std::io::Write;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

/// Whether this process may make namespaces; says so loudly when it may not,
/// and panics if `XBLADE_TESTS_STRICT` is 1.
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
    /// A fresh namespace.
    #[expect(clippy::new_without_default, reason = "it starts a thread")]
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
        let tid = started.recv().expect("a namespace");
        Self { jobs: Some(jobs), thread: Some(thread), tid }
    }

    /// Its thread, by which `ip` finds the namespace.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    /// Runs `job` inside and returns what it returns; panics if it does.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, receiver) = channel();
        let job = Box::new(move || drop(result.send(job())));
        self.jobs.as_ref().unwrap().send(job).expect("the thread of the namespace");
        receiver.recv().expect("the job in the namespace panicked")
    }

    /// Runs a command line inside and demands success.
    pub fn sh(&self, line: &str) {
        let line = line.to_owned();
        self.run(move || {
            let output = Command::new("sh").args(["-c", &line]).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}: {errors}");
        });
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.jobs.take();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
