//! Checks whether the paths of exports still lead to the served files: after `mv new
//! image`, xblade serves a file that has no name any more. Runs on its own thread, because
//! a file system that hangs would block the control thread.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::{info, warn};

use super::failure::{Context, Failure};
use super::quarantine::rescue;
use super::registry::ExportEntry;
use super::worker_pool::{PATIENCE, WorkerPool};
use crate::privilege::{self, Role};
use crate::store::{OpenFile, Replaced};
use crate::wire::aoe::Address;

/// How often all paths are checked.
const PERIOD: Duration = Duration::from_secs(1);

/// A check takes a microsecond per file, and longer only if a file system does not answer.
const ROUND_USUALLY: Duration = Duration::from_millis(20);

type Looked = Vec<(Address, Option<Replaced>)>;

/// Files to check, and the channel for the result.
type Files = (Vec<(Address, OpenFile)>, Sender<Looked>);

/// Handle of the checking thread.
#[derive(Debug)]
pub struct Watcher {
    to: Sender<Files>,
    /// The check in progress.
    round: Option<Receiver<Looked>>,
    since: Instant,
}

impl Watcher {
    /// Starts the thread.
    pub fn start() -> Result<Self, Failure> {
        let (to, from) = bounded::<Files>(2);
        let body = move || {
            privilege::enter(Role::Helper);
            for (files, to) in from {
                // The caller may have stopped waiting.
                let _ = to.send(files.into_iter().map(|(address, file)| (address, file.look())).collect());
            }
        };
        let thread = thread::Builder::new().name("watcher".into()).spawn(body);
        thread.context("cannot start a thread")?;
        Ok(Self { to, round: None, since: Instant::now() })
    }

    /// Checks one file and its path now; `None` if that takes too long.
    pub fn look_now(&self, address: Address, file: &OpenFile) -> Option<Option<Replaced>> {
        let (to, from) = bounded(1);
        self.to.try_send((vec![(address, file.clone())], to)).ok()?;
        from.recv_timeout(PATIENCE).ok()?.first().map(|(_, replaced)| *replaced)
    }

    /// Returns the result of a check that has ended, and starts the next one when it is
    /// time.
    fn follow(&mut self, files: impl FnOnce() -> Vec<(Address, OpenFile)>) -> Looked {
        let mut limit = Duration::ZERO;
        if self.round.is_none() && self.since.elapsed() >= PERIOD {
            limit = ROUND_USUALLY;
            let (to, from) = bounded(1);
            if self.to.try_send((files(), to)).is_ok() {
                self.round = Some(from);
                self.since = Instant::now();
            }
        }
        let Some(Ok(looked)) = self.round.as_ref().map(|round| round.recv_timeout(limit)) else {
            return Vec::new();
        };
        self.round = None;
        looked
    }
}

impl WorkerPool {
    /// Checks the paths of all exports when it is time. Logs once if a path no longer leads
    /// to its file, and once if it does again.
    pub fn watch_files(&mut self) {
        let stuck = self.stuck();
        let registry = &self.registry;
        let files = || {
            // A store that does not answer would delay the checks of all others.
            let well = registry.entries.values().filter(|entry| !stuck.contains(&entry.wanted.address));
            let files = well.filter_map(|entry| Some((entry.wanted.address, entry.source.file.clone()?)));
            files.collect()
        };
        for (address, now) in self.watcher.follow(files) {
            let Some(entry) = self.registry.entries.get_mut(&address) else { continue };
            let before = std::mem::replace(&mut entry.replaced, now);
            match now {
                _ if now == before => {}
                None => info!("{address}: its path leads to its file again"),
                Some(_) => warn!("{}", replaced(entry)),
            }
        }
    }

    /// One line for each path that no longer leads to its file.
    pub fn replaced(&self) -> Vec<String> {
        self.registry.entries.values().filter(|entry| entry.replaced.is_some()).map(replaced).collect()
    }

    /// Logs at exit which unnamed files are lost with the process.
    pub fn tell_of_nameless(&self) {
        for (address, entry) in &self.registry.entries {
            let file = entry.source.file.as_ref().filter(|_| entry.source.is_writable);
            if file.and_then(OpenFile::look).is_some_and(|replaced| replaced.is_nameless) {
                warn!(
                    "{address}: its file has no name any more, and what hosts have written to it is gone with this process"
                );
            }
        }
    }
}

/// What happened to the path of an export, and the remedy.
pub fn replaced(entry: &ExportEntry) -> String {
    let (Some(file), Some(replaced)) = (&entry.source.file, entry.replaced) else { return String::new() };
    let (address, path) = (entry.wanted.address, file.path().display());
    let now = if replaced.is_taken { "something else is" } else { "nothing is" };
    if !replaced.is_nameless {
        return format!(
            "{address}: {now} at {path} now; the old file is still served, and a restart would not find it: move it back"
        );
    }
    let after = if replaced.is_taken { "take what is there now" } else { "find nothing" };
    let then = match entry.source.is_writable {
        false => "put the right file there, and remove and add the export".to_owned(),
        true => format!(
            "what hosts write goes to a file without a name, and is lost when xblade ends: {}, put the copy in its \
             place, and remove and add {address} with --force",
            rescue(entry)
        ),
    };
    format!(
        "{address}: {now} at {path} now; the old file is still served, and a restart would {after}: {then}"
    )
}
