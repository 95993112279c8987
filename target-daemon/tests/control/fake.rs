//! A fake control thread.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xblade::control::{self, Change, ChangeReport, ControlError, Handle, Request, RequestQueue, Snapshot};

use crate::image::Dir;
use crate::sample;

/// The server on a socket in a temporary folder, with a fake control thread.
pub struct Fake {
    pub path: PathBuf,
    /// The requests received, as text.
    pub asked: Arc<Mutex<Vec<String>>>,
    server: Option<Handle>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    dir: Dir,
}

impl Fake {
    /// One that answers.
    pub fn new() -> Self {
        Self::with([None; 2], answer)
    }

    /// One that serves this snapshot.
    #[allow(dead_code, reason = "for the goldens")]
    pub fn of(overview: fn() -> Snapshot) -> Self {
        Self::with([None; 2], move |ask, log| match ask {
            Request::Snapshot(answer) => answer(overview()),
            other => answer(other, log),
        })
    }

    /// One that never answers, and keeps its requests.
    pub fn silent() -> Self {
        let kept = Mutex::new(Vec::new());
        Self::with([None; 2], move |ask, _| kept.lock().unwrap().push(ask))
    }

    /// One that, for every trace, sends this number of requests at once. Like a worker,
    /// it does not wait for the reader.
    pub fn telling(requests: u32) -> Self {
        Self::with([None; 2], move |ask, log| {
            let Request::Trace { tracer, answer: to } = ask else { return answer(ask, log) };
            to(vec!["eth0".to_owned(), "eth1".to_owned()]);
            let [request, _] = sample::traced();
            let looked_at = (0..requests).filter(|_| tracer.tell(request.clone())).count();
            log.lock().unwrap().push(format!("told {looked_at}"));
        })
    }

    /// One whose socket only a group may use.
    pub fn of_group(group: &str) -> Self {
        Self::with([Some(group), None], answer)
    }

    /// One whose socket one group may use to look, and another one also for changes.
    pub fn of_groups(group: Option<&str>, admins: &str) -> Self {
        Self::with([group, Some(admins)], answer)
    }

    fn with(
        [group, admins]: [Option<&str>; 2],
        mut act: impl FnMut(Request, &Mutex<Vec<String>>) + Send + 'static,
    ) -> Self {
        let dir = Dir::new();
        let path = dir.path().join("run/xblade.sock");
        let (asker, from) = control::channel().unwrap();
        let server = Some(control::start(control::bind(&path, group, admins).unwrap(), asker).unwrap());
        let (asked, end) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (log, ends) = (Arc::clone(&asked), Arc::clone(&end));
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                wait(&from);
                while let Some(ask) = from.next() {
                    act(ask, &log);
                }
            }
        });
        Self { path, asked, server, end, thread: Some(thread), dir }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The last request.
    pub fn last(&self) -> String {
        self.asked.lock().unwrap().last().cloned().expect("asked for something")
    }

    /// Waits until this request or note is in the log.
    #[track_caller]
    pub fn until(&self, noted: &str) {
        xblade_kit::until(noted, || self.asked.lock().unwrap().iter().any(|line| line == noted));
    }

    /// The number of such requests.
    pub fn times(&self, noted: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| *line == noted).count()
    }

    /// Stops the control thread; the server continues.
    pub fn end_control_thread(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join).expect("ended once").unwrap();
    }

    /// Stops the server.
    pub fn end_server(&mut self) {
        drop(self.server.take());
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn wait(asked: &RequestQueue) {
    let mut fds = [PollFd::from_borrowed_fd(asked.as_fd(), PollFlags::IN)];
    let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 }));
}

/// Answers a request. 0.1 and 0.2 exist; changes to 0.2 fail because its store is busy.
fn answer(ask: Request, log: &Mutex<Vec<String>>) {
    let note = |text: String| {
        log.lock().unwrap().push(text.clone());
        text
    };
    let done = |text: String| Ok(ChangeReport::of(note(text)));
    let one = |address: xblade::wire::aoe::Address, what: &str| {
        let line = note(format!("{address} {what}"));
        match address.slot {
            1 => Ok(ChangeReport::of(line)),
            2 => Err(ControlError::Machine(format!("{address}: its store does not let go: repair it"))),
            _ => Err(ControlError::Unknown(format!("{address}: is not exported: give 0.1 or 0.2"))),
        }
    };
    match ask {
        Request::Snapshot(answer) => answer(sample::overview()),
        Request::Configuration(answer) => answer(sample::serve()),
        Request::Change(change, answer) => answer(match change {
            Change::Add { export, .. } if export.address.slot == 1 => {
                Err(ControlError::Request("0.1 is exported already: give another address".to_owned()))
            }
            Change::Add { export, descriptors } => {
                let file = export.store.file();
                done(format!("{} added with {} descriptor(s): {file:?}", export.address, descriptors.len()))
            }
            Change::Remove { address, force } => {
                one(address, if force { "removed by force" } else { "removed" })
            }
            Change::Recover { address, reason } => one(address, &format!("recovered: {reason}")),
            Change::ReadOnly { address, read_only } => {
                one(address, if read_only { "read-only" } else { "takes writes" })
            }
            Change::Resize(address) => one(address, "measured"),
            Change::Reload { force, dry_run: false } => {
                note(if force { "reloaded by force" } else { "reloaded" }.to_owned());
                Ok(ChangeReport::default())
            }
            Change::Reload { force, dry_run: true } => {
                done(format!("0.3 would be added{}", if force { " by force" } else { "" }))
            }
            Change::Clear { address, setting, refuse } => {
                one(address, &format!("{} cleared{}", setting.name(), if refuse { ", refused" } else { "" }))
            }
        }),
        Request::Trace { tracer, answer } => {
            note(format!("traces: one of {}, dropped: {}", tracer.every, tracer.dropped));
            answer(vec!["eth0".to_owned(), "eth1".to_owned()]);
            let [request, dropped] = sample::traced();
            if tracer.every > 0 {
                tracer.tell(request);
            }
            if tracer.dropped {
                tracer.tell(dropped);
            }
        }
        Request::EndTrace => drop(note("traces no more".to_owned())),
    }
}
