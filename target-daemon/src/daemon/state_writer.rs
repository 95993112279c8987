//! Saves what initiators set (config strings, mask lists, reservations), and which data
//! they have used at an address. Each state has a file in the state directory that is
//! replaced as a whole: a new file is written and synced, renamed over the old one, and the
//! directory is synced. So after a power failure there is either the old state or the new
//! one.
//!
//! A state belongs to the data of an export, whatever its path is. The name of the state
//! file comes from the first path of the export.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use log::{error, info};
use twox_hash::XxHash3_64;

use super::failure::{Context, Failure, is_out_of_files};
use super::host_settings::warn_of_old;
use crate::config;
use crate::plant::{Bug, planted};
use crate::privilege::{self, Account, Role};
use crate::shelf::{Belongs, Export, Saved};
use crate::store::Data;
use crate::store::Problem;
use crate::wire::aoe::Address;
use crate::worker::{SaveAck, SaveRequest, Waker, WorkerCommand};

/// The most states that may wait to be written.
const WAITING_MAX: usize = 64;

/// More than a state takes, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The mode of a state file: what hosts have set is not for every user.
const FILE_MODE: u32 = 0o640;

/// The mode of the state directory.
const FOLDER_MODE: u32 = 0o750;

/// How long to wait before a failed write is retried.
const AGAIN: Duration = Duration::from_secs(1);

/// The thread that writes states, and acknowledges them to the workers.
pub struct StateWriter {
    /// Dropping it ends the thread.
    used: Option<Sender<Belongs>>,
    folder: PathBuf,
    /// The served interfaces: another xblade may serve the same address on other
    /// interfaces.
    interfaces: Vec<String>,
    thread: Option<JoinHandle<()>>,
}

/// The channel on which workers send their states.
type Inbox = (Sender<SaveRequest>, Receiver<SaveRequest>);

/// Creates it.
pub fn inbox() -> Inbox {
    bounded(WAITING_MAX)
}

impl StateWriter {
    /// Starts the thread.
    pub fn start(
        folder: &Path,
        interfaces: Vec<String>,
        (inbox, states): Inbox,
        workers: Vec<(Sender<WorkerCommand>, Waker)>,
    ) -> Result<Self, Failure> {
        let (to, used) = unbounded();
        let (folder, names) = (folder.to_owned(), interfaces.clone());
        let place = folder.clone();
        let body = move || {
            privilege::enter(Role::Helper);
            run(&states, &used, &names, &place, &workers);
            // Until here it was connected, even without a worker.
            drop(inbox);
        };
        let thread = thread::Builder::new()
            .name("state-writer".into())
            .spawn(body)
            .context("cannot start a thread")?;
        Ok(Self { used: Some(to), folder, interfaces, thread: Some(thread) })
    }

    /// The state directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The saved records of the data that hosts have used at an address.
    ///
    /// # Errors
    ///
    /// Those of [`used`].
    pub fn used(&self, address: Address) -> Result<Vec<Belongs>, Problem> {
        used(&self.folder, address, &self.interfaces)
    }

    /// Saves which data hosts use at an address.
    pub fn keep_used(&self, used: Belongs) {
        // The channel is unbounded, and the thread ends only with `self`.
        let _ = self.used.as_ref().map(|to| to.send(used));
    }

    /// Writes the states that still wait, and ends the thread.
    pub fn stop(&mut self) {
        self.used = None;
        // The thread cannot panic.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Creates the state directory if it does not exist.
pub fn make_folder(folder: &Path) -> Result<(), Failure> {
    // Folders above it are not only for state.
    let above = folder.parent().map_or(Ok(()), fs::create_dir_all);
    let made = above.and_then(|()| DirBuilder::new().mode(FOLDER_MODE).recursive(true).create(folder));
    made.map_err(|e| {
        if let Some(failure) = no_folder(folder, &e) {
            return failure;
        }
        let what = format!("{}: cannot make the folder for state", folder.display());
        Failure::system(&what, format!("{e}: give another one by --state, or none"))
    })
}

/// Fails if there is something else in the place of the directory.
pub fn check_folder(folder: &Path) -> Result<(), Failure> {
    match fs::read_dir(folder) {
        Err(e) => no_folder(folder, &e).map_or(Ok(()), Err),
        Ok(_) => Ok(()),
    }
}

/// Takes excess rights from the state directory and the files in it, which older releases gave to
/// all. Left as they are: a folder that has other files too, such as /tmp, and what another user than
/// `owner` owns, because root without capabilities would lose its own access.
pub fn restrict(folder: &Path, owner: u32) -> io::Result<()> {
    let mut is_ours = true;
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let kept = |ending: &str| ending == "state" || ending == "used" || ending == "new";
        match path.extension().and_then(OsStr::to_str) {
            Some(ending) if kept(ending) => restrict_one(&path, owner, FILE_MODE)?,
            _ => is_ours = false,
        }
    }
    if is_ours { restrict_one(folder, owner, FOLDER_MODE) } else { Ok(()) }
}

fn restrict_one(path: &Path, owner: u32, mode: u32) -> io::Result<()> {
    // A link is not followed: it may lead anywhere.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let facts = file.metadata()?;
    let given = facts.mode() & 0o7777;
    if given & !mode == 0 || facts.uid() != owner {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(given & mode))
}

/// Gives the state directory to the user that the process changes to.
pub fn give_to(account: &Account, folder: &Path) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::machine(format!(
            "{}: cannot be the folder for state of the user {account}: {why}: give one that is only for that (--state \
             FOLDER), or --user root",
            folder.display()
        ))
    };
    let real = folder.canonicalize().map_err(|e| refused(e.to_string()))?;
    if privilege::is_shared(&real) {
        return Err(refused("it is one of the system's".to_owned()));
    }
    let is_ours = |name: &str, facts: &fs::Metadata| {
        facts.is_file() && [".state", ".used", ".new"].iter().any(|end| name.ends_with(end))
    };
    account.take_folder(&real, is_ours).map_err(|e| refused(e.to_string()))?;
    let access = || rustix::fs::access(&real, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    let closed = |folder: &&Path| rustix::fs::access(*folder, rustix::fs::Access::EXEC_OK).is_err();
    match account.act(|| access().map_err(|_| real.ancestors().filter(closed).last())) {
        Some(Err(Some(closed))) => Err(refused(format!("it cannot enter {}", closed.display()))),
        Some(Err(None)) => Err(refused("it may not write there".to_owned())),
        _ => Ok(()),
    }
}

/// If there is a file in the place of the directory, the request is wrong, not the machine.
fn no_folder(folder: &Path, error: &io::Error) -> Option<Failure> {
    let file = match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            folder.ancestors().find(|at| at.exists() && !at.is_dir())?
        }
        _ => return None,
    };
    Some(Failure::request(format!(
        "{}: is a file, and state is kept in a folder: give a folder (--state FOLDER; in a configuration file \
         state = \"FOLDER\" under [service]), or none",
        file.display()
    )))
}

fn run(
    states: &Receiver<SaveRequest>,
    used: &Receiver<Belongs>,
    interfaces: &[String],
    folder: &Path,
    workers: &[(Sender<WorkerCommand>, Waker)],
) {
    // The newest unwritten state of each export.
    let mut waiting: BTreeMap<String, SaveRequest> = BTreeMap::new();
    let mut unwritten: BTreeMap<Address, Belongs> = BTreeMap::new();
    let mut failing = false;
    let mut ends = false;
    while !ends {
        ends = loop {
            match used.try_recv() {
                Ok(used) => drop(unwritten.insert(used.address, used)),
                Err(why) => break why == TryRecvError::Disconnected,
            }
        };
        let limit = if failing { AGAIN } else { Duration::from_millis(200) };
        let first = states.recv_timeout(if ends { Duration::ZERO } else { limit });
        // Bounded, so that states are written while workers send more.
        let more = states.try_iter().take(WAITING_MAX);
        waiting.extend(first.into_iter().chain(more).map(|keep| (keep.key.clone(), keep)));
        let failed_before = std::mem::take(&mut failing);
        let mut failed = |text: String| {
            if !failed_before {
                error!("{text}: make room there, or repair the disk");
            }
            failing = true;
        };
        unwritten.retain(|address, used| {
            let kept = keep_used(folder, interfaces, used);
            kept.map_err(|e| {
                failed(format!("{}: cannot keep which data hosts use at {address}: {e}", folder.display()));
            })
            .is_err()
        });
        waiting.retain(|key, keep| {
            let written = write(folder, key, &keep.saved);
            let written = written.map_err(|e| {
                let (folder, name) = (folder.display(), key.split('\n').next().unwrap_or(""));
                failed(format!(
                    "{folder}/{name}: cannot keep the state: {e}: hosts that set it get no answer until it can"
                ));
            });
            written.map(|()| tell(workers, keep)).is_err()
        });
        if failed_before && !failing {
            info!("{}: states can be kept again", folder.display());
        }
    }
}

fn tell(workers: &[(Sender<WorkerCommand>, Waker)], keep: &SaveRequest) {
    let Some((orders, waker)) = workers.get(usize::from(keep.worker)) else { return };
    let kept = SaveAck { export: keep.export, number: keep.number, revision: keep.revision };
    // A worker that does not receive it hangs in a store; its host retries.
    let _ = orders.send_timeout(WorkerCommand::Saved(kept), AGAIN);
    waker.notify();
}

/// Replaces the state file with the text of this state.
fn write(folder: &Path, key: &str, saved: &Saved) -> io::Result<()> {
    let (name, of) = parts(key).ok_or(io::ErrorKind::InvalidInput)?;
    replace(folder, name, &saved.to_text(&of))
}

fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let (path, next) = (folder.join(name), folder.join(format!("{name}.new")));
    // At the start this may be root, in a folder of a user who may have put a link there.
    let _ = fs::remove_file(&next);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&next)?;
    file.write_all(text.as_bytes())?;
    if !planted(Bug::NoStateFileSync) {
        file.sync_all()?;
    }
    fs::rename(&next, &path)?;
    if !planted(Bug::NoStateFolderSync) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Sets the name of an export's state file, and restores the state that is there.
pub fn restore(
    export: &mut Export,
    wanted: &config::Export,
    data: &Data,
    folder: &Path,
) -> Result<(), Failure> {
    let of = belonging(wanted, data);
    let found = find(&of, wanted, folder)?;
    let name = found.as_ref().map_or_else(|| file_of(&of), |found| found.name.clone());
    export.key = key_of(&name, &of);
    let Some(Found { name, belongs, saved, .. }) = found else { return Ok(()) };
    let path = folder.join(&name);
    saved.restore(&mut export.state).map_err(|_| refused(&path, wanted, &"a list in it is too long"))?;
    if belongs != of {
        // The file is from an older release, or the same data has another name. If it
        // cannot be rewritten now, it is found by its path the next time.
        let _ = replace(folder, &name, &saved.to_text(&of));
    }
    let lists = [(saved.mask.len(), "mask list"), (saved.reservation.len(), "reservation")];
    for (count, what) in lists.into_iter().filter(|(count, _)| *count > 0) {
        info!("{}: has a {what} of {count} host(s), from before", wanted.address);
    }
    let lengths = [saved.config.len(), saved.mask.len(), saved.reservation.len()];
    warn_of_old(wanted.address, export.state.settings.host_settings, lengths);
    Ok(())
}

/// Checks that the state of an export can be restored.
pub fn check_state(wanted: &config::Export, data: &Data, folder: &Path) -> Result<(), Failure> {
    if !folder.is_dir() {
        return Ok(());
    }
    find(&belonging(wanted, data), wanted, folder).map(drop)
}

/// A state file.
struct Found {
    name: String,
    belongs: Belongs,
    saved: Saved,
}

/// Finds the state of this data at this address. If there is none, finds the one saved for
/// the path, even if that leads to other data now.
fn find(of: &Belongs, wanted: &config::Export, folder: &Path) -> Result<Option<Found>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(no_folder(folder, &e).unwrap_or_else(|| unreadable(folder, wanted, e))),
    };
    let prefix = format!("{}-", of.address);
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with(&prefix) && name.ends_with(".state"));
    names.sort();
    let (mut found, mut broken) = (Vec::new(), None);
    for name in names {
        let path = folder.join(&name);
        let text = read(&path).map_err(|e| unreadable(&path, wanted, e))?;
        match Saved::parse(&text) {
            Ok((belongs, saved)) => found.push(Found { name, belongs, saved }),
            Err(e) => broken = Some(refused(&path, wanted, &e)),
        }
    }
    found.retain(|found| found.belongs.data.offset_bytes == of.data.offset_bytes);
    let known = |found: &Found| !found.belongs.data.identity.is_empty();
    if let Some(at) = found.iter().position(|f| known(f) && f.belongs.data.is_same(&of.data)) {
        return Ok(Some(found.swap_remove(at)));
    }
    if let Some(failure) = broken {
        return Err(failure);
    }
    let real = |path: &str| fs::canonicalize(path).ok();
    let by_path = |found: &Found| found.belongs.path == of.path;
    let by_link =
        |found: &Found| !known(found) && real(&found.belongs.path).is_some_and(|p| Some(p) == real(&of.path));
    let at = found.iter().position(by_path).or_else(|| found.iter().position(by_link));
    Ok(at.map(|at| found.swap_remove(at)))
}

/// The error for an unreadable state. If descriptors have run out, the file itself may be
/// good.
fn unreadable(path: &Path, wanted: &config::Export, error: io::Error) -> Failure {
    if is_out_of_files(&error) {
        let what = format!("{}: cannot read the state of {}", path.display(), wanted.address);
        return Failure::system(&what, error);
    }
    refused(path, wanted, &error)
}

/// The saved records of the data that hosts last used at an address, on each of these
/// interfaces.
///
/// # Errors
///
/// A record cannot be read: a message with the remedy.
pub fn used(folder: &Path, address: Address, interfaces: &[String]) -> Result<Vec<Belongs>, Problem> {
    let one = |interface: &String| {
        let path = folder.join(used_file(address, interface));
        let refused = |why: &dyn std::fmt::Display| {
            let what =
                format!("{}: cannot read which data hosts have used at {address}: {why}", path.display());
            Problem::new(what, "remove the file if the data is right")
        };
        match read(&path) {
            Ok(text) => Some(Belongs::parse(&text).map_err(|e| refused(&e))),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
            Err(e) => Some(Err(refused(&e))),
        }
    };
    interfaces.iter().filter_map(one).collect()
}

/// Reads a file of ours. At the start this may be root, in a folder of a user who may have put
/// something else there.
fn read(path: &Path) -> io::Result<String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    io::read_to_string(file.take(FILE_BYTES_MAX))
}

fn keep_used(folder: &Path, interfaces: &[String], used: &Belongs) -> io::Result<()> {
    let mut names = interfaces.iter().map(|interface| used_file(used.address, interface));
    names.try_for_each(|name| replace(folder, &name, &used.to_text()))
}

/// The file name of such a record; `*` as the interface stands for all of them.
pub fn used_file(address: Address, interface: &str) -> String {
    format!("{address}-{interface}.used")
}

fn refused(path: &Path, wanted: &config::Export, why: &dyn std::fmt::Display) -> Failure {
    let what = format!("{}: cannot read the state of {}: {why}", path.display(), wanted.address);
    let remedy = "remove the file to serve it without config string, mask list and reservation";
    Failure::machine(Problem::new(what, remedy))
}

/// What the state of an export belongs to.
pub fn belonging(wanted: &config::Export, data: &Data) -> Belongs {
    let mut store = wanted.store.clone();
    store.make_absolute();
    let path = store.label().to_string_lossy().into_owned();
    Belongs { address: wanted.address, path, data: data.clone() }
}

/// The file name and the record of what it belongs to as one text, which travels with the
/// export.
fn key_of(name: &str, of: &Belongs) -> String {
    format!("{name}\n{}", of.to_text())
}

fn parts(key: &str) -> Option<(&str, Belongs)> {
    let (name, of) = key.split_once('\n')?;
    Some((name, Belongs::parse(of).ok()?))
}

/// The name of a state file. It differs for each path at the same address.
fn file_of(of: &Belongs) -> String {
    let data = format!("{} {}", of.data.offset_bytes, of.path);
    format!("{}-{:016x}.state", of.address, XxHash3_64::oneshot(data.as_bytes()))
}
