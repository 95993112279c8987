//! The socket file. It has its owner and mode from the moment it appears, and is removed
//! on exit.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use log::debug;
use nix::unistd::Group;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, chownat, fstat, open};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use super::ControlError;
use crate::config::CONTROL;
use crate::link;
use crate::privilege::{self, Account};

/// Mode of a new folder.
const FOLDER_MODE: u32 = 0o755;

/// Mode of the socket: owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// A socket that clients can connect to. They wait: it does not answer yet.
#[derive(Debug)]
pub struct Listener {
    /// The listening socket.
    pub(super) accept: UnixListener,
    /// Removes the file when dropped.
    pub(super) file: SocketFile,
    /// The group whose members may change something, and its name.
    pub(super) admins: Option<(u32, String)>,
}

impl Listener {
    /// Gives the socket to a user, and its folder as well if that has nothing but sockets, so
    /// that this user can remove it. A socket that stays is replaced at the next start.
    ///
    /// # Errors
    ///
    /// Those of `fchown`.
    pub fn give_to(&self, account: &Account) -> io::Result<()> {
        let path = &self.file.path;
        account.take_only(socket_at(path)?)?;
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        if let Some(folder) = folder.filter(|folder| !privilege::is_shared(folder)) {
            let taken = account.take_folder(&folder, |_, facts| facts.file_type().is_socket());
            taken.unwrap_or_else(|why| debug!("{} stays after the end: {why}", path.display()));
        }
        Ok(())
    }
}

/// The socket in the file system, removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, to recognize a socket that another process has put in its place.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Maximum length of the path: that of sun_path, less what the temporary name adds.
const PATH_MAX: usize = 90;

/// Creates the socket, and its folder if needed. A socket left behind by a dead process
/// is replaced. The members of `group` may look, those of `admins` also change something; if
/// only that is given, the socket is for them.
///
/// # Errors
///
/// The configuration is wrong, or the machine.
pub fn bind(path: &Path, group: Option<&str>, admins: Option<&str>) -> Result<Listener, ControlError> {
    let (group, admin_group) = check(path, group, admins)?;
    let admins = admin_group.zip(admins.map(str::to_owned));
    let group = group.or(admin_group);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Err(foreign(path)) };
    let failed = |what| {
        move |error: io::Error| {
            let path = path.display();
            let text =
                format!("{path}: cannot make the control socket: {what}: {error} (--control none for none)");
            ControlError::Machine(text)
        }
    };
    make_folder(folder).map_err(failed("its folder"))?;
    is_free(path)?;
    // Bound under a temporary name, so that it appears only with its mode and owner.
    let first = folder.join(first_name(&name.to_string_lossy()));
    let _ = fs::remove_file(&first);
    let accept = UnixListener::bind(&first).map_err(failed("bind"))?;
    let finish = || {
        let inode = socket_at(&first)?;
        fs::set_permissions(
            format!("/proc/self/fd/{}", inode.as_raw_fd()),
            Permissions::from_mode(SOCKET_MODE),
        )?;
        chownat(&inode, "", None, group.map(Gid::from_raw), AtFlags::EMPTY_PATH)?;
        accept.set_nonblocking(true)?;
        let identity = identity(&first)?;
        fs::rename(&first, path)?;
        Ok(SocketFile { path: path.to_owned(), identity })
    };
    let file = finish().map_err(|error| {
        let _ = fs::remove_file(&first);
        failed("its rights")(error)
    })?;
    Ok(Listener { accept, file, admins })
}

/// The numbers of the two groups.
type Groups = (Option<u32>, Option<u32>);

/// Checks what can be checked without creating it: the path, and that there are the groups.
///
/// # Errors
///
/// The configuration is wrong.
pub fn check(path: &Path, group: Option<&str>, admins: Option<&str>) -> Result<Groups, ControlError> {
    let group = group.map(|name| gid("control-group", name)).transpose()?;
    let admins = admins.map(|name| gid("admin-group", name)).transpose()?;
    if path.as_os_str().len() > PATH_MAX {
        return Err(ControlError::Request(format!(
            "{}: is too long for a socket (at most {PATH_MAX} bytes): give a shorter path (--control PATH)",
            path.display()
        )));
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => Err(foreign(path)),
        _ => Ok((group, admins)),
    }
}

/// The error for a file that is not a socket.
fn foreign(path: &Path) -> ControlError {
    ControlError::Request(format!(
        "{}: is there and is no socket: remove it, or give another path (--control PATH)",
        path.display()
    ))
}

/// The temporary name. The kernel keeps listing the socket under it after the rename.
fn first_name(name: &str) -> String {
    format!(".{name}.{}", std::process::id())
}

/// The final path of a socket with this temporary name; `None` for other names.
fn renamed(first: &Path) -> Option<PathBuf> {
    let (name, pid) = first.file_name()?.to_str()?.strip_prefix('.')?.rsplit_once('.')?;
    pid.parse::<u32>().ok()?;
    Some(first.with_file_name(name))
}

/// The control socket of the xblade with this process ID; `None` if it has none, or if
/// the caller may not see it.
pub fn socket_of(pid: u32) -> Option<PathBuf> {
    link::unix_listeners(pid).iter().filter_map(|first| renamed(first)).find(|path| path.exists())
}

fn gid(key: &str, name: &str) -> Result<u32, ControlError> {
    let group = Group::from_name(name).ok().flatten();
    group.map(|group| group.gid.as_raw()).ok_or_else(|| {
        ControlError::Request(format!(
            "{key} = {name:?}: there is no such group: make it (groupadd --system {name}), name another one, or leave \
             {key} out, for root alone"
        ))
    })
}

/// The inode of a socket. The folder may belong to another user, who could put a link there.
fn socket_at(path: &Path) -> io::Result<OwnedFd> {
    let inode = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let is_socket = FileType::from_raw_mode(fstat(&inode)?.st_mode) == FileType::Socket;
    if is_socket { Ok(inode) } else { Err(io::Error::other("something else is there")) }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Sets the mode explicitly, so that the umask does not matter.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.exists() {
        return Ok(());
    }
    DirBuilder::new().mode(FOLDER_MODE).recursive(true).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
}

/// Succeeds if there is no socket, or one on which no process listens.
fn is_free(path: &Path) -> Result<(), ControlError> {
    if !path.exists() || !is_answered(path) {
        return Ok(());
    }
    let at =
        if path == Path::new(CONTROL) { String::new() } else { format!(" --control {}", path.display()) };
    Err(ControlError::Machine(format!(
        "{}: another xblade has this control socket: one xblade serves all exports of an interface, so add yours to \
         it (`xblade export add SHELF.SLOT=PATH{at}`); for an interface of its own give this one another socket \
         (--control PATH), or none (--control none)",
        path.display()
    )))
}

/// Whether a process listens on this socket.
fn is_answered(path: &Path) -> bool {
    // Also when the connection would have to wait for the daemon to accept.
    !connect(path).is_err_and(|e| matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound))
}

/// Connects to a socket, without waiting: a daemon that hangs still owns its socket.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_known_by_its_first_name() {
        for name in ["xblade.sock", "0.1-eth1.sock", "x"] {
            let path = Path::new("/run/xblade").join(name);
            assert_eq!(renamed(&path.with_file_name(first_name(name))).unwrap(), path);
        }
        for other in ["/run/xblade.sock", "/run/.xblade.sock", "/"] {
            assert_eq!(renamed(Path::new(other)), None, "{other}");
        }
    }
}
