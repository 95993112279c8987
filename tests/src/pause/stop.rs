//! Stops a daemon, or one of its threads, for a moment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use super::qmp::Qmp;

/// The prefix of the directories of control groups.
const PREFIX: &str = "xblade-pause-";

/// The longest time that a stop takes.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What is stopped, and how.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The whole process, by SIGSTOP.
    Process(u32),
    /// One thread, by ptrace.
    Thread(i32),
    /// A control group, by its freezer.
    Group(&'a Freezer),
    /// A VM, by QMP.
    Vm(&'a Qmp),
}

/// A stopped target. It continues when this is dropped.
pub struct Stopped<'a>(Target<'a>);

impl<'a> Stopped<'a> {
    /// Stops it, and waits until it has stopped. A thread must be released by the thread
    /// that stopped it.
    pub fn new(target: Target<'a>) -> io::Result<Self> {
        match target {
            Target::Process(pid) => {
                signal(pid, libc::SIGSTOP)?;
                let stopped = Self(target);
                until(|| Ok(is_stopped(pid)))?;
                Ok(stopped)
            }
            Target::Thread(tid) => {
                ptrace(libc::PTRACE_SEIZE, tid)?;
                let stopped = Self(target);
                ptrace(libc::PTRACE_INTERRUPT, tid)?;
                loop {
                    // SAFETY: no pointers but one that may be null.
                    match check(unsafe { libc::waitpid(tid, null_mut(), libc::__WALL) }) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        ended => break ended.map(drop)?,
                    }
                }
                Ok(stopped)
            }
            Target::Group(freezer) => {
                freezer.write(freezer.kind.on)?;
                let stopped = Self(target);
                until(|| freezer.is_frozen())?;
                Ok(stopped)
            }
            Target::Vm(qmp) => qmp.execute("stop").map(|_| Self(target)),
        }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // A target that has exited meanwhile cannot continue; the next request shows it.
        let _ = match self.0 {
            Target::Process(pid) => signal(pid, libc::SIGCONT),
            Target::Thread(tid) => ptrace(libc::PTRACE_DETACH, tid),
            Target::Group(freezer) => freezer.write(freezer.kind.off),
            Target::Vm(qmp) => qmp.execute("cont").map(drop),
        };
    }
}

/// How a version of control groups freezes.
#[derive(Clone, Copy, Debug)]
struct Kind {
    file: &'static str,
    on: &'static str,
    off: &'static str,
    /// The file with the state, and its text for a frozen group.
    state: (&'static str, &'static str),
}

const V2: Kind = Kind { file: "cgroup.freeze", on: "1", off: "0", state: ("cgroup.events", "frozen 1") };
const V1: Kind =
    Kind { file: "freezer.state", on: "FROZEN", off: "THAWED", state: ("freezer.state", "FROZEN") };

/// A control group that can be frozen, with one process in it. Dropping it thaws the group,
/// and removes it once the process has exited.
#[derive(Debug)]
pub struct Freezer {
    folder: PathBuf,
    kind: Kind,
}

impl Freezer {
    /// Moves a process into a group of its own, if this machine has such groups.
    pub fn new(pid: u32) -> Option<Self> {
        roots().into_iter().find_map(|(root, kind)| {
            let folder = root.join(format!("{PREFIX}{}-{pid}", std::process::id()));
            fs::create_dir(&folder).ok()?;
            let freezer = Self { folder, kind };
            let can_freeze = freezer.folder.join(kind.file).exists();
            (can_freeze && fs::write(freezer.folder.join("cgroup.procs"), pid.to_string()).is_ok())
                .then_some(freezer)
        })
    }

    fn write(&self, value: &str) -> io::Result<()> {
        fs::write(self.folder.join(self.kind.file), value)
    }

    fn is_frozen(&self) -> io::Result<bool> {
        let (file, frozen) = self.kind.state;
        Ok(fs::read_to_string(self.folder.join(file))?.lines().any(|line| line == frozen))
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = self.write(self.kind.off);
        let _ = until(|| Ok(fs::remove_dir(&self.folder).is_ok()));
    }
}

/// The mount points of groups with a freezer, the newer version first.
fn roots() -> Vec<(PathBuf, Kind)> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(on), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        match kind {
            "cgroup2" => found.insert(0, (PathBuf::from(on), V2)),
            "cgroup" if options.split(',').any(|option| option == "freezer") => found.push((on.into(), V1)),
            _ => {}
        }
    }
    found
}

/// Thaws and removes groups that were left behind by runs whose process is gone.
pub fn remove_left_groups() {
    for (root, kind) in roots() {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
            let is_left = process.is_some_and(|process| !Path::new("/proc").join(process).exists());
            if is_left {
                eprintln!("removing {}, left behind by a run", entry.path().display());
                drop(Freezer { folder: entry.path(), kind });
            }
        }
    }
}

/// The worker threads of the process, in order.
pub fn workers(pid: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut found: Vec<(usize, i32)> = tasks
        .filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let number = name.trim().strip_prefix("worker-")?.parse().ok()?;
            Some((number, task.file_name().to_str()?.parse().ok()?))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, tid)| tid).collect()
}

fn until(mut is_so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let end = Instant::now() + STOP_MAX;
    while !is_so()? {
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}

/// Whether all threads of the process have stopped.
fn is_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.into_iter().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    })
}

fn signal(pid: u32, signal: i32) -> io::Result<()> {
    // SAFETY: a child of ours that has not been reaped, so no other process has its number.
    check(unsafe { libc::kill(pid as i32, signal) }).map(|_| ())
}

fn ptrace(request: libc::c_uint, tid: i32) -> io::Result<()> {
    let none = null_mut::<libc::c_void>();
    // SAFETY: these requests take no pointers.
    let result = unsafe { libc::ptrace(request, tid, none, none) };
    check(result as i32).map(|_| ())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
