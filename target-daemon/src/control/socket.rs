//! The socket file. It has its owner and mode from the moment it appears, and is removed
//! on exit.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::config::CONTROL;
use crate::link;

/// Mode of a new folder.
const FOLDER_MODE: u32 = 0o755;

/// Mode of the socket: owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Why the socket cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No such group.
    #[error(
        "control-group = {0:?}: there is no such group: make it (groupadd --system {0}), name another one, or \
         leave control-group out, and only root may use the socket"
    )]
    Group(String),
    /// Another process listens there.
    #[error(
        "{}: another xblade has this control socket: one xblade serves all exports of an interface, so add yours to \
         it (`xblade export add SHELF.SLOT=PATH{}`); for an interface of its own give this one another socket \
         (--control PATH), or none (--control none)",
        .0.display(), at(.0)
    )]
    InUse(PathBuf),
    /// A file that is not a socket is there.
    #[error("{}: is there and is no socket: remove it, or give another path (--control PATH)", .0.display())]
    Foreign(PathBuf),
    /// The path is too long.
    #[error("{}: is too long for a socket (at most 90 bytes): give a shorter path (--control PATH)", .0.display())]
    TooLong(PathBuf),
    /// A system call failed.
    #[error("{}: cannot make the control socket: {what}: {source} (--control none for none)", path.display())]
    System {
        /// What failed.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// The option that the suggested command needs for this socket.
fn at(path: &Path) -> String {
    if path == Path::new(CONTROL) { String::new() } else { format!(" --control {}", path.display()) }
}

impl BindError {
    /// Whether the configuration is wrong, rather than the machine.
    pub fn is_request(&self) -> bool {
        matches!(self, Self::Group(_) | Self::Foreign(_) | Self::TooLong(_))
    }
}

/// A socket that clients can connect to. They wait: it does not answer yet.
#[derive(Debug)]
pub struct Listener {
    /// The listening socket.
    pub(super) accept: UnixListener,
    /// Removes the file when dropped.
    pub(super) file: SocketFile,
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
/// is replaced.
///
/// # Errors
///
/// See [`BindError`].
pub fn bind(path: &Path, group: Option<&str>) -> Result<Listener, BindError> {
    let failed = |what| move |source: io::Error| BindError::System { what, path: path.to_owned(), source };
    let group = group.map(gid).transpose()?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(BindError::Foreign(path.to_owned()));
    };
    if path.as_os_str().len() > PATH_MAX {
        return Err(BindError::TooLong(path.to_owned()));
    }
    make_folder(folder).map_err(failed("its folder"))?;
    is_free(path)?;
    // Bound under a temporary name, so that it appears only with its mode and owner.
    let first = folder.join(first_name(&name.to_string_lossy()));
    let _ = fs::remove_file(&first);
    let accept = UnixListener::bind(&first).map_err(failed("bind"))?;
    let finish = || {
        fs::set_permissions(&first, Permissions::from_mode(SOCKET_MODE))?;
        if group.is_some() {
            chown(&first, None, group)?;
        }
        accept.set_nonblocking(true)?;
        let identity = identity(&first)?;
        fs::rename(&first, path)?;
        Ok(SocketFile { path: path.to_owned(), identity })
    };
    match finish() {
        Ok(file) => Ok(Listener { accept, file }),
        Err(error) => {
            let _ = fs::remove_file(&first);
            Err(failed("its rights")(error))
        }
    }
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

fn gid(name: &str) -> Result<u32, BindError> {
    let group = Group::from_name(name).ok().flatten();
    group.map(|group| group.gid.as_raw()).ok_or_else(|| BindError::Group(name.to_owned()))
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

/// Succeeds if the path is unused, or is a socket on which no process listens.
fn is_free(path: &Path) -> Result<(), BindError> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    if !there.file_type().is_socket() {
        return Err(BindError::Foreign(path.to_owned()));
    }
    if is_answered(path) { Err(BindError::InUse(path.to_owned())) } else { Ok(()) }
}

/// Whether a process listens on this socket.
fn is_answered(path: &Path) -> bool {
    // Nonblocking: a daemon that hangs still owns its socket.
    let answered = SocketAddrUnix::new(path).and_then(|to| {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        connect(&socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?, &to)
    });
    // Also when the connection would have to wait for the daemon to accept.
    !matches!(answered, Err(Errno::CONNREFUSED | Errno::NOENT))
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
