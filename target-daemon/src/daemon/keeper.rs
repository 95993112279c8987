//! Keeps what initiators set: config strings, mask lists, reservations. Each
//! export has a file in the state folder, which is replaced as a whole: a new
//! file is written, made stable, renamed over the old one, and the folder made
//! stable. So after a power cut there is the old state or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::{error, info};
use xxhash_rust::xxh3::xxh3_64;

use super::failure::Failure;
use crate::config::{self, Image};
use crate::plant::{Bug, planted};
use crate::privilege::{self, Role};
use crate::shelf::{Belongs, Export, Saved};
use crate::worker::{Keep, Kept, Order, Waker};

/// States that may wait to be written.
const WAITING_MAX: usize = 64;

/// How often a state that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A thread that writes states.
pub struct Keeper {
    to: Sender<Keep>,
    from: Receiver<Keep>,
    folder: PathBuf,
    end: (Sender<()>, Receiver<()>),
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// A keeper of the states in this folder, which is made if it is not there.
    pub fn new(folder: &Path) -> Result<Self, Failure> {
        make_folder(folder)?;
        let (to, from) = bounded(WAITING_MAX);
        Ok(Self { to, from, folder: folder.to_owned(), end: bounded(1), thread: None })
    }

    /// Where workers send their states.
    pub fn inbox(&self) -> Sender<Keep> {
        self.to.clone()
    }

    /// Begins to write, and to tell the workers.
    pub fn start(&mut self, workers: Vec<(Sender<Order>, Waker)>) -> Result<(), Failure> {
        let (from, end, folder) = (self.from.clone(), self.end.1.clone(), self.folder.clone());
        let body = move || {
            privilege::enter(Role::Helper);
            run(&from, &end, &folder, &workers);
        };
        let thread = thread::Builder::new().name("keeper".into()).spawn(body);
        self.thread = Some(thread.map_err(|e| Failure::machine("cannot start a thread", e))?);
        Ok(())
    }

    /// Writes what still waits, and ends.
    pub fn stop(&mut self) {
        let _ = self.end.0.try_send(());
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}

/// Makes the folder for states, if it is not there.
pub fn make_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|e| {
        if let Some(failure) = no_folder(folder, &e) {
            return failure;
        }
        let what = format!("{}: cannot make the folder for state", folder.display());
        Failure::machine(&what, format!("{e}: give another one by --state, or none"))
    })
}

/// Where a file is in the place of the folder: what was asked for is wrong, and
/// not this machine.
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

fn run(from: &Receiver<Keep>, end: &Receiver<()>, folder: &Path, workers: &[(Sender<Order>, Waker)]) {
    // The newest state of each export that has not been written yet.
    let mut waiting: BTreeMap<String, Keep> = BTreeMap::new();
    let mut failing = false;
    loop {
        let ends = end.try_recv().is_ok();
        let limit = if failing { AGAIN } else { Duration::from_millis(200) };
        match if ends {
            from.try_recv().map_err(|_| RecvTimeoutError::Timeout)
        } else {
            from.recv_timeout(limit)
        } {
            Ok(keep) => drop(waiting.insert(keep.key.clone(), keep)),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        waiting.extend(from.try_iter().map(|keep| (keep.key.clone(), keep)));
        let failed_before = failing;
        failing = false;
        waiting.retain(|key, keep| match write(folder, key, &keep.saved) {
            Ok(()) => {
                tell(workers, keep);
                false
            }
            Err(e) => {
                if !failed_before {
                    let folder = folder.display();
                    error!(
                        "{folder}/{key}: cannot keep the state: {e}: hosts that set it get no answer until it can: \
                         make room there, or repair the disk"
                    );
                }
                failing = true;
                true
            }
        });
        if failed_before && !failing {
            info!("{}: states can be kept again", folder.display());
        }
        if ends {
            return;
        }
    }
}

fn tell(workers: &[(Sender<Order>, Waker)], keep: &Keep) {
    let Some((orders, waker)) = workers.get(usize::from(keep.worker)) else { return };
    let kept = Kept { export: keep.export, number: keep.number, revision: keep.revision };
    // A worker that does not take it hangs in a store: its host asks again.
    let _ = orders.send_timeout(Order::Kept(kept), AGAIN);
    waker.ring();
}

/// The text of a state, in place of the file's.
fn write(folder: &Path, key: &str, saved: &Saved) -> io::Result<()> {
    let of = belongs(key).ok_or(io::ErrorKind::InvalidInput)?;
    let (name, next) = (file_of(&of), format!("{}.new", file_of(&of)));
    let (path, next) = (folder.join(name), folder.join(next));
    let mut file = File::create(&next)?;
    file.write_all(saved.to_text(&of).as_bytes())?;
    if !planted(Bug::NoStateFileSync) {
        file.sync_all()?;
    }
    fs::rename(&next, &path)?;
    if !planted(Bug::NoStateFolderSync) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Names where the state of an export is kept, and puts in force what is there.
pub fn restore(export: &mut Export, wanted: &config::Export, folder: &Path) -> Result<(), Failure> {
    let of = belonging(wanted);
    export.key = key_of(&of);
    let path = folder.join(file_of(&of));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(no_folder(folder, &e).unwrap_or_else(|| refused(&path, wanted, &e))),
    };
    let saved = Saved::parse(&text, &of).map_err(|e| refused(&path, wanted, &e))?;
    saved.restore(&mut export.state).map_err(|_| refused(&path, wanted, &"a list in it is too long"))?;
    let lists = [(saved.mask.len(), "mask list"), (saved.reservation.len(), "reservation")];
    for (count, what) in lists.into_iter().filter(|(count, _)| *count > 0) {
        info!("{}: has a {what} of {count} host(s), from before", wanted.address);
    }
    Ok(())
}

fn refused(path: &Path, wanted: &config::Export, why: &dyn std::fmt::Display) -> Failure {
    Failure::Machine(
        format!(
            "{}: cannot read the state of {}: {why}: remove the file to serve it without config string, mask list and \
             reservation",
            path.display(),
            wanted.address
        )
        .into(),
    )
}

fn belonging(wanted: &config::Export) -> Belongs {
    let (path, offset) = match &wanted.image {
        Image::File(options) => (std::path::absolute(&options.path), options.offset_bytes),
        Image::Null { .. } => (Ok("null".into()), 0),
    };
    let path = path.map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned());
    Belongs { address: wanted.address, path, offset }
}

/// All of it in one text: what travels with the export.
fn key_of(of: &Belongs) -> String {
    format!("{} {} {}", of.address, of.offset, of.path)
}

fn belongs(key: &str) -> Option<Belongs> {
    let mut words = key.splitn(3, ' ');
    let address = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    Some(Belongs { address, offset, path: words.next()?.to_owned() })
}

/// The name of its file: it is another one for other data at the same address.
fn file_of(of: &Belongs) -> String {
    let data = format!("{} {}", of.offset, of.path);
    format!("{}-{:016x}.state", of.address, xxh3_64(data.as_bytes()))
}
