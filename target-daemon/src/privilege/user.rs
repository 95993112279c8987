//! The user of the process: which one it changes to, and running code with the file permissions
//! of another one.

use std::ffi::CString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;
use std::sync::OnceLock;

use log::warn;
use nix::unistd::{
    Gid, Uid, User, getgrouplist, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid,
};
use rustix::fs::{AtFlags, chownat};
use rustix::process::{parent_process_death_signal, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, capabilities, set_keep_capabilities};

use super::capability;

/// The user that the package makes.
const USER: &str = "xblade";

/// Where systemd takes the ids of dynamic users from: no package assigns them.
const DYNAMIC: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// The id to try first without a user [`USER`].
const FIRST: u32 = 64_172;

/// Shared by services that have nothing to do with each other.
const NOBODY: u32 = 65_534;

/// The user that the process has changed to.
static CHANGED_TO: OnceLock<String> = OnceLock::new();

/// The user that this process has changed to, for a remedy.
pub fn user_now() -> Option<&'static str> {
    CHANGED_TO.get().map(String::as_str)
}

/// A user with its groups.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (uid {})", self.name, self.uid)
    }
}

impl Account {
    /// The user that this process is to be: the one that is given; without it, `xblade`, or a
    /// user id that is not assigned. `None` if it is not root.
    ///
    /// # Errors
    ///
    /// There is no such user, or this process cannot change to it. The error contains the
    /// remedy.
    pub fn choose(given: Option<&str>) -> Result<Option<Self>, String> {
        let now = Uid::effective();
        let wanted = given.unwrap_or(USER);
        let there = Self::named(wanted).map_err(|why| format!("--user {wanted}: {why}"))?;
        let account = match (there, given) {
            (Some(account), _) => account,
            (None, None) => Self::unused(),
            (None, Some(_)) => {
                return Err(format!(
                    "--user {wanted}: there is no such user: make it (useradd --system {wanted}), or leave --user out"
                ));
            }
        };
        if !now.is_root() {
            return match given {
                Some(_) if account.uid != now => Err(format!(
                    "--user {wanted}: only root can change to another user: run xblade as root, or leave --user out"
                )),
                _ => Ok(None),
            };
        }
        if account.uid.is_root() {
            warn!(
                "xblade stays root: who takes it over has root's files as far as Landlock does not hide them. Leave \
                 --user root out, unless a reload has to open what only root may open"
            );
            return Ok(Some(account));
        }
        if account.uid.as_raw() == NOBODY {
            return Err(format!("--user {wanted}: other services share it: give one of its own"));
        }
        let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
        if !capabilities(None).is_ok_and(|sets| sets.effective.contains(needed)) {
            let what = format!("xblade lacks CAP_SETUID or CAP_SETGID to change to the user {account}");
            if given.is_some() {
                return Err(format!("{what}: give it these, or --user root"));
            }
            warn!(
                "{what}, and stays root: give it these (CapabilityBoundingSet= of the service), or another user"
            );
            return Ok(Some(Self::root()));
        }
        Ok(Some(account))
    }

    fn root() -> Self {
        Self { name: "root".to_owned(), uid: Uid::from_raw(0), gid: Gid::from_raw(0), groups: Vec::new() }
    }

    /// Whether a directory of this user is from an xblade that was another user.
    fn was_ours(&self, owner: u32) -> bool {
        owner == 0
            || DYNAMIC.contains(&owner)
            || Self::named(USER).is_ok_and(|user| user.is_some_and(|user| user.uid() == owner))
    }

    /// The user with this name.
    fn named(name: &str) -> Result<Option<Self>, String> {
        // An error: there is no list of users, or the name is not in it (getpwnam(3)).
        let Ok(Some(user)) = User::from_name(name) else { return Ok(None) };
        let groups = CString::new(name).map_err(|error| error.to_string())?;
        let groups = getgrouplist(&groups, user.gid).map_err(|error| error.to_string())?;
        Ok(Some(Self { name: user.name, uid: user.uid, gid: user.gid, groups }))
    }

    /// An id of the dynamic range that no user has, the same at each start as long as it is free.
    fn unused() -> Self {
        let is_free = |id: &u32| {
            !matches!(User::from_uid(Uid::from_raw(*id)), Ok(Some(_)))
                && !Path::new("/run/systemd/dynamic-uid").join(id.to_string()).exists()
        };
        let id = (FIRST..=*DYNAMIC.end()).chain(*DYNAMIC.start()..FIRST).find(is_free).unwrap_or(FIRST);
        Self { name: id.to_string(), uid: Uid::from_raw(id), gid: Gid::from_raw(id), groups: Vec::new() }
    }

    /// Its user id.
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Makes an open file its own, and leaves its group.
    ///
    /// # Errors
    ///
    /// Those of `fchownat`.
    pub fn take_only(&self, file: impl AsFd) -> io::Result<()> {
        let uid = rustix::fs::Uid::from_raw(self.uid());
        Ok(chownat(file, "", Some(uid), None, AtFlags::EMPTY_PATH)?)
    }

    /// Makes an open file or directory its own.
    fn take(&self, file: impl AsFd) -> io::Result<()> {
        fchown(file, Some(self.uid()), Some(self.gid.as_raw()))
    }

    /// Makes a directory of ours its own, with the files in it. `is_ours` tells these by their
    /// names.
    ///
    /// # Errors
    ///
    /// It has files of others, whose names the error contains, or belongs to a third user.
    pub fn take_folder(
        &self,
        folder: &Path,
        is_ours: impl Fn(&str, &fs::Metadata) -> bool,
    ) -> io::Result<()> {
        let opened = File::open(folder)?;
        let owner = opened.metadata()?.uid();
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_ours(&name, &entry.metadata()?) {
                files.push(entry.path());
            } else if owner != self.uid() && name != "lost+found" {
                return Err(io::Error::other(format!("{name} in it is not of xblade")));
            }
        }
        if owner != self.uid() {
            if !self.was_ours(owner) {
                return Err(io::Error::other(format!("it belongs to uid {owner}")));
            }
            self.take(&opened)?;
        }
        files.iter().try_for_each(|path| self.take_file(path))
    }

    /// Makes a regular file its own. The user who had the directory may have put a link
    /// there.
    fn take_file(&self, path: &Path) -> io::Result<()> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let Ok(file) = fs::OpenOptions::new().read(true).custom_flags(flags).open(path) else {
            return Ok(());
        };
        let facts = file.metadata()?;
        if facts.is_file() && facts.nlink() == 1 && facts.uid() != self.uid() {
            self.take(&file)?;
        }
        Ok(())
    }

    /// Runs `act` with its file permissions; `None` if this process is not root. Afterwards the
    /// process is root again. It must have a single thread, because user ids apply to the whole
    /// process.
    pub fn act<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let ids = getresuid().ok()?;
        if [ids.real, ids.effective, ids.saved] != [Uid::from_raw(0); 3] {
            return None;
        }
        let _back =
            Back { groups: getgroups().ok()?, gids: getresgid().ok().map(|ids| [ids.real, ids.effective])? };
        let root = (Uid::from_raw(0), Gid::from_raw(0));
        setgroups(&self.groups).ok()?;
        setresgid(self.gid, self.gid, root.1).ok()?;
        // Leaving effective user 0 drops root's capabilities; returning to it restores them.
        setresuid(self.uid, self.uid, root.0).ok()?;
        Some(act())
    }

    /// Changes to it for good.
    pub(super) fn change_to(&self) -> io::Result<()> {
        if self.uid.is_root() {
            return Ok(());
        }
        // The kernel forgets it when the user changes.
        let end_with_parent = parent_process_death_signal().ok().flatten();
        set_keep_capabilities(capability::maps_need_one())?;
        setgroups(&self.groups)?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)?;
        if end_with_parent.is_some() {
            set_parent_process_death_signal(end_with_parent)?;
        }
        // Set once: there is one process.
        let _ = CHANGED_TO.set(self.to_string());
        Ok(())
    }
}

/// Runs `act` with the file permissions of this user ([`Account::act`]); `None` also if there is
/// no such user.
pub fn as_user<T>(name: &str, act: impl FnOnce() -> T) -> Option<T> {
    Account::named(name).ok().flatten()?.act(act)
}

/// Restores root when dropped.
struct Back {
    groups: Vec<Gid>,
    gids: [Gid; 2],
}

impl Drop for Back {
    fn drop(&mut self) {
        let root = Uid::from_raw(0);
        let [real, effective] = self.gids;
        // These cannot fail: the saved user is root.
        let _ = setresuid(root, root, root);
        let _ = setresgid(real, effective, Gid::from_raw(0));
        let _ = setgroups(&self.groups);
    }
}
