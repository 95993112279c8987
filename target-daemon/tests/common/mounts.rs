//! Mount namespaces of threads. Mounts inside are not visible elsewhere, and disappear
//! with the thread, however a test ends.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// A thread in its own mount namespace.
pub struct Mounts {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    root: PathBuf,
}

impl Mounts {
    pub fn new() -> Self {
        let (jobs, queue) = channel::<Job>();
        let (ready, started) = channel();
        let thread = thread::spawn(move || {
            let slave = libc::MS_REC | libc::MS_SLAVE;
            let root = c"/".as_ptr();
            // SAFETY: constant strings; changes the namespace of this thread only.
            let done = unsafe {
                libc::unshare(libc::CLONE_NEWNS) == 0
                    && libc::mount(std::ptr::null(), root, std::ptr::null(), slave, std::ptr::null()) == 0
            };
            assert!(done, "a mount namespace: {}", std::io::Error::last_os_error());
            // SAFETY: takes no arguments and cannot fail.
            ready.send(unsafe { libc::gettid() }).unwrap();
            queue.iter().for_each(|job| job());
        });
        let tid: i32 = started.recv().expect("a mount namespace");
        let root = format!("/proc/{}/task/{tid}/root", std::process::id()).into();
        Self { jobs: Some(jobs), thread: Some(thread), root }
    }

    /// The path by which any process outside can reach a path inside.
    pub fn view(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").expect("a path from the root"))
    }

    /// Runs `job` inside and returns what it returns; panics if it does.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, receiver) = channel();
        let job = Box::new(move || drop(result.send(job())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        receiver.recv().expect("the job in the mount namespace panicked")
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        self.jobs.take();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
