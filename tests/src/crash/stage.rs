//! The environment of crashes: a link, an initiator, a directory, and daemons one after
//! another.

use std::path::{Path, PathBuf};

use xblade_kit::{OURS, PEER, Pair};

use super::initiator::{ADDRESS, Initiator, MTU};
use super::random::Random;
use super::watchdog::Watchdog;
use super::{Options, Report};
use crate::{Daemon, Scratch, Space, pair, serve};

/// The prefix of the directories of runs.
const PREFIX: &str = "xblade-crash";

/// Everything that outlives a daemon.
pub struct Stage<'a> {
    options: &'a Options,
    /// The initiator.
    pub initiator: Initiator,
    /// Daemons and their mounts are in `ours`.
    pub pair: Pair,
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
        let pair = pair(Space::with_mounts(), MTU);
        let host = xblade_kit::Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let initiator = Initiator::new(host, Random::new(random.draw()), options.window);
        let folder = scratch.path().to_owned();
        let watchdog = Watchdog::new(title.to_owned(), folder);
        Self { options, initiator, pair, state: None, watchdog, scratch }
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Starts a daemon on this file and waits until it answers.
    pub fn start(&mut self, file: &Path) -> Daemon {
        let daemon = self.launch(file);
        daemon.wait_for("ready:");
        if let Some(bug) = &self.options.plant {
            // Only a build with planted bugs can have one.
            daemon.wait_for(&format!("planted: {bug}"));
        }
        self.initiator.until_served();
        daemon
    }

    /// Starts a daemon on this file.
    pub fn launch(&self, file: &Path) -> Daemon {
        let mut export = format!("{ADDRESS}={}", file.display());
        if let Some(store) = &self.options.store {
            export += &format!(",store={store}");
        }
        if self.options.volatile {
            export += ",durability=volatile";
        }
        let mut arguments = [&export, "--interface", OURS, "--no-probe"].map(str::to_owned).to_vec();
        if let Some(folder) = &self.state {
            arguments.extend(["--state".to_owned(), folder.display().to_string()]);
            arguments.extend(["--host-settings", "allow"].map(str::to_owned));
        }
        let environment: Vec<_> = self.options.plant.iter().map(|bug| ("XBLADE_PLANT", &**bug)).collect();
        let daemon = serve(&self.pair.ours, &arguments, &environment);
        self.watchdog.follow(daemon.log_reader());
        daemon
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
