//! Restricts the files and devices that the process may open from now on (Landlock).
//! Descriptors that are open stay usable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope, path_beneath_rules,
};

use crate::plant;

/// The requested version; an older kernel enforces less.
const WANTED: ABI = ABI::V6;

/// The paths that the process must be able to access.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// The files and devices of the exports.
    pub exports: Vec<PathBuf>,
    /// Directories whose files and devices may be opened later by their paths.
    pub folders: Vec<PathBuf>,
    /// The configuration file, which is read again even if another file has replaced it.
    pub configuration: Option<PathBuf>,
    /// The directory in which files are created, replaced and removed.
    pub state: Option<PathBuf>,
    /// A socket that is removed at exit.
    pub socket: Option<PathBuf>,
}

/// What the running program also reads: the machine id for the serial numbers of new
/// exports, host names, free memory, the processors, and properties of disks.
const READ: [&str; 4] = ["/etc/machine-id", "/etc/ethers", "/proc/meminfo", "/sys/devices"];

/// For a configuration file directly in one of these, only the file is allowed, not the
/// directory.
const SHARED: [&str; 13] = [
    "/", "/boot", "/dev/shm", "/etc", "/home", "/media", "/mnt", "/root", "/run", "/tmp", "/usr", "/var",
    "/var/tmp",
];

/// The same for a file anywhere below these.
const SYSTEM: [&str; 3] = ["/dev", "/proc", "/sys"];

/// But not below this.
const SHM: &str = "/dev/shm";

/// What may be exported by its path after the start.
#[derive(Debug)]
struct Places {
    /// Files, devices, and directories of these.
    all: Vec<PathBuf>,
    /// Whether there is a configuration file.
    configured: bool,
}

static PLACES: OnceLock<Places> = OnceLock::new();

/// Set if the process cannot open anything else.
static IS_CONFINED: AtomicBool = AtomicBool::new(false);

/// Checks whether this process can open a file or device, as far as directories are concerned.
/// A missing file passes; opening it reports the error.
///
/// # Errors
///
/// It lies elsewhere; the error contains the remedy.
pub fn may_open(path: &Path) -> Result<(), String> {
    if IS_CONFINED.load(Ordering::Relaxed) { may_add(path) } else { Ok(()) }
}

/// Checks whether a caller may have this process open a file or device, which the caller may
/// not be able to open.
///
/// # Errors
///
/// As for [`may_open`], also if this process is not confined.
pub fn may_add(path: &Path) -> Result<(), String> {
    PLACES.get().map_or(Ok(()), |places| lies_in(path, &places.all, places.configured))
}

/// Records what may be exported by its path from now on.
pub fn offer(reach: &Reach) {
    let all = reach.exports.iter().chain(&reach.folders);
    let all = all.map(|path| path.canonicalize().unwrap_or(path.clone())).chain(linked(&reach.folders));
    // Set once: there is one process.
    let _ = PLACES.set(Places { all: all.collect(), configured: reach.configuration.is_some() });
}

fn lies_in(path: &Path, places: &[PathBuf], configured: bool) -> Result<(), String> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    if places.iter().any(|place| real.starts_with(place)) {
        return Ok(());
    }
    let what = if path == real { String::new() } else { format!(" (that is {})", real.display()) };
    let folder = real.parent().unwrap_or(&real).display().to_string();
    let remedy = match configured {
        true => format!("add folders = [{folder:?}] to [service] and restart xblade"),
        false => format!("restart xblade with --folder {folder}"),
    };
    Err(format!(
        "{}{what} is neither of the first exports nor in the folders that xblade may open: add it by \
         `xblade export add`, which opens it with your rights; or {remedy}",
        path.display()
    ))
}

/// Whether a directory is one of the system's, which is not to be given to a user.
pub fn is_shared(folder: &Path) -> bool {
    SHARED.iter().any(|shared| folder == Path::new(shared))
        || !folder.starts_with(SHM) && SYSTEM.iter().any(|system| folder.starts_with(system))
}

/// The directory of the configuration file, or the file alone if the directory is shared.
fn place(path: &Path) -> PathBuf {
    let Ok(real) = path.canonicalize() else { return path.to_owned() };
    match real.parent() {
        Some(folder) if !is_shared(folder) => folder.to_owned(),
        _ => real,
    }
}

/// Confines this thread and all threads that it will start. A path that does not exist now
/// stays out of reach. Returns a description.
pub(super) fn confine(reach: &Reach) -> io::Result<String> {
    if plant::left_out("landlock") {
        return Ok("Landlock left out".to_owned());
    }
    let serve = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let keep = AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::ReadDir
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Truncate;
    let places = PLACES.get().map_or(&[][..], |places| &places.all);
    let read_again = reach.configuration.iter().map(|path| place(path)).chain(READ.map(PathBuf::from));
    let mut rules = ruleset()?
        .add_rules(path_beneath_rules(places, serve))
        .and_then(|rules| rules.add_rules(path_beneath_rules(read_again, read)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(&reach.state, keep)))
        .and_then(|rules| {
            let folder = reach.socket.as_deref().and_then(Path::parent);
            rules.add_rules(path_beneath_rules(folder, AccessFs::RemoveFile))
        })
        .map_err(io::Error::other)?;
    if let Ok(own) = PathFd::new("/proc/self") {
        // Never closed, so that the kernel keeps the inode, to which the rule applies.
        let own: &PathFd = Box::leak(Box::new(own));
        rules = rules.add_rule(PathBeneath::new(own, read)).map_err(io::Error::other)?;
    }
    // `capability::gain_none` has set it.
    let rules = rules.no_new_privs(false);
    let status = rules.restrict_self().map_err(io::Error::other)?;
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return Err(io::Error::other("this kernel has none, or it is switched off"));
    };
    IS_CONFINED.store(true, Ordering::Relaxed);
    Ok(described(effective_abi))
}

fn described(abi: ABI) -> String {
    let number = abi as i32;
    let tcp = if number >= ABI::V4 as i32 { ", no new TCP" } else { "" };
    let signals = if number >= ABI::V6 as i32 { ", no signals to others" } else { "" };
    format!("Landlock ABI {number} (files{tcp}{signals})")
}

fn ruleset() -> io::Result<RulesetCreated> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(WANTED))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(WANTED)))
        .and_then(|rules| rules.scope(Scope::from_all(WANTED)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)
}

/// The targets of the links in these directories. The entries of volume managers are links
/// to devices, and a rule applies to the target of a link.
fn linked(folders: &[PathBuf]) -> Vec<PathBuf> {
    let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links
        .filter_map(|link| link.path().canonicalize().ok())
        .filter(|real| real.metadata().is_ok_and(|facts| !facts.is_dir()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_everybodys_does_not_come_with_its_file() {
        for (path, expected) in [
            ("/etc/hostname", "/etc/hostname"),
            ("/dev/null", "/dev/null"),
            ("/proc/self/status", "/proc/self/status"),
            ("/usr/bin/env", "/usr/bin"),
            ("/not/there", "/not/there"),
        ] {
            let expected = Path::new(expected).canonicalize().unwrap_or(expected.into());
            assert_eq!(place(Path::new(path)), expected);
        }
    }

    #[test]
    fn a_file_elsewhere_is_told_with_its_folder() {
        let places = [PathBuf::from("/usr/bin"), PathBuf::from("/dev/null")];
        for inside in ["/usr/bin/env", "/dev/null", "/not/there"] {
            assert_eq!(lies_in(Path::new(inside), &places, true), Ok(()), "{inside}");
        }
        for (configured, remedy) in [
            (true, "add folders = [\"/dev\"] to [service] and restart xblade"),
            (false, "restart xblade with --folder /dev"),
        ] {
            let outside = lies_in(Path::new("/dev/zero"), &places, configured).unwrap_err();
            let expected = format!(
                "/dev/zero is neither of the first exports nor in the folders that xblade may open: add it by \
                 `xblade export add`, which opens it with your rights; or {remedy}"
            );
            assert_eq!(outside, expected);
        }
        // A link is judged by its target.
        let link = std::env::temp_dir().join(format!("xblade-reach-{}", std::process::id()));
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let outside = lies_in(&link, &[std::env::temp_dir().canonicalize().unwrap()], true);
        std::fs::remove_file(&link).unwrap();
        assert!(outside.unwrap_err().contains("(that is /dev/zero)"));
    }
}
