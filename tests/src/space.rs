//! Namespaces of threads: none has a name, so the kernel takes each one down
//! with its thread, whatever becomes of the test: interfaces, mounts, and the
//! loop devices under them.

use std::ffi::CString;
use std::io::{self, Write};
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

/// A thread in namespaces of its own, which end with it.
pub struct Space {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    tid: i32,
}

impl Space {
    /// A fresh network namespace.
    #[expect(clippy::new_without_default, reason = "it starts a thread")]
    pub fn new() -> Self {
        Self::unshared(libc::CLONE_NEWNET)
    }

    /// The same, and what is mounted inside is nobody else's: no other process
    /// can keep it in use.
    pub fn with_mounts() -> Self {
        let space = Self::unshared(libc::CLONE_NEWNET | libc::CLONE_NEWNS);
        space.run(unmount_all);
        space
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

/// Mounts from here on stay here, and what other tests have mounted is let go
/// of: a copy of a mount keeps its file system in use when they unmount it.
fn unmount_all() {
    let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
    let slave = libc::MS_REC | libc::MS_SLAVE;
    // SAFETY: strings that end with zero; the rest may be null for this call.
    let code = unsafe { libc::mount(none, root, std::ptr::null(), slave, std::ptr::null()) };
    assert_eq!(code, 0, "mount --make-rslave /: {}", io::Error::last_os_error());
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
    let within = std::env::temp_dir();
    for on in mounts.lines().filter_map(|line| line.split(' ').nth(1)).rev() {
        if on != within.to_string_lossy() && std::path::Path::new(on).starts_with(&within) {
            let on = CString::new(on).unwrap();
            // SAFETY: a string that ends with zero.
            unsafe { libc::umount2(on.as_ptr(), libc::MNT_DETACH) };
        }
    }
}
