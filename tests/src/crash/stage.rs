//! The environment of crashes: a link, an initiator, a directory, and daemons one after
//! another.

use std::path::{Path, PathBuf};

use super::initiator::{ADDRESS, Initiator, MTU};
use super::random::Random;
use super::watchdog::Watchdog;
use super::{Options, Report};
use crate::link::TARGET_SIDE;
use crate::{Daemon, Link, Scratch, Space};

/// The prefix of the directories of runs.
const PREFIX: &str = "xblade-crash";

/// Everything that outlives a daemon.
pub struct Stage<'a> {
    options: &'a Options,
    /// The initiator.
    pub initiator: Initiator,
    /// The link; daemons and their mounts are in its `target`.
    pub link: Link,
    /// The state directory of the daemons, if they have one.
    pub state: Option<PathBuf>,
    watchdog: Watchdog,
    // Last: by then nothing is mounted in it any more.
    scratch: Scratch,
}

impl<'a> Stage<'a> {
    /// Sets it up, with a directory in `parent` unless the options have another.
    pub fn new(options: &'a Options, title: &str, parent: &Path, random: &mut Random) -> Self {
        let scratch = Scratch::within(options.folder.as_deref().unwrap_or(parent), PREFIX);
        let link = Link::between(Space::new(), Space::with_mounts(), MTU);
        let socket = link.socket().expect("a raw socket");
        let initiator = Initiator::new(socket, Random::new(random.draw()), options.window);
        let folder = scratch.path().to_owned();
        let watchdog = Watchdog::new(title.to_owned(), folder.join("xblade.log"), folder);
        Self { options, initiator, link, state: None, watchdog, scratch }
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Starts a daemon on this file and waits until it answers.
    pub fn start(&mut self, file: &Path) -> Daemon {
        let mut daemon = self.launch(file);
        daemon.until_said("ready:");
        if let Some(bug) = &self.options.plant {
            // Only a build with planted bugs can have one.
            daemon.until_said(&format!("planted: {bug}"));
        }
        self.initiator.until_served();
        daemon
    }

    /// Starts a daemon on this file.
    pub fn launch(&self, file: &Path) -> Daemon {
        let (shelf, slot) = ADDRESS;
        let mut export = format!("{shelf}.{slot}={}", file.display());
        if let Some(store) = &self.options.store {
            export += &format!(",store={store}");
        }
        if self.options.volatile {
            export += ",durability=volatile";
        }
        let mut arguments = [&export, "--interface", TARGET_SIDE, "--no-probe"].map(str::to_owned).to_vec();
        if let Some(folder) = &self.state {
            arguments.extend(["--state".to_owned(), folder.display().to_string()]);
        }
        let environment: Vec<_> = self.options.plant.iter().map(|bug| ("XBLADE_PLANT", &**bug)).collect();
        let log = self.folder().join("xblade.log");
        Daemon::serve(&self.link.target, &arguments, &environment, &log)
    }

    /// Begins a cycle.
    pub fn begin(&self, report: &mut Report) {
        self.watchdog.beat();
        report.cycles += 1;
    }

    /// Ends a cycle: updates the counts and prints the progress.
    pub fn end(&self, report: &mut Report) {
        let counts = self.initiator.counts;
        report.acknowledged = counts.acknowledged;
        report.errors = counts.errors;
        report.resends = counts.resends;
        report.late = counts.late;
        if self.options.verbose && report.cycles.is_multiple_of(20) {
            eprint!("\r{report} ");
            if report.cycles == self.options.cycles {
                eprintln!();
            }
        }
    }
}

/// Removes the directories left behind by runs whose process is gone, and prints their
/// names.
pub fn remove_leftovers(options: &Options) {
    let parents = [options.folder.clone(), Some(std::env::temp_dir()), Some(in_memory())];
    remove_left_folders(PREFIX, parents.into_iter().flatten());
}

/// The same for directories with this prefix.
pub fn remove_left_folders(prefix: &str, parents: impl Iterator<Item = PathBuf>) {
    for parent in parents {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.strip_prefix(prefix)?.split('-').nth(1));
            let Some(process) = process else { continue };
            if !Path::new("/proc").join(process).exists() {
                eprintln!("removing {}, left behind by process {process}", entry.path().display());
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// A directory whose files are in memory, if there is one.
pub fn in_memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}
