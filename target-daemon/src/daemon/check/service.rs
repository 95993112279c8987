//! Checks that the service's user may open the configuration and the exports. `xblade
//! check` usually runs as root, who may open everything.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use super::Line;
use crate::config::{Export, Serve};
use crate::privilege;
use crate::store::OpenErrorKind;

/// `User=` of the unit.
const USER: &str = "xblade";

/// A warning for the configuration file and for each export that the service's user may not
/// open. They may be meant for another user, so none is an error.
pub fn lines(serve: &Serve, file: &Path) -> Vec<Line> {
    let all = || {
        let exports = serve.exports.iter().filter_map(refused);
        unreadable(file).into_iter().chain(exports).collect()
    };
    privilege::as_user(USER, all).unwrap_or_default()
}

/// Runs as the service's user.
fn unreadable(file: &Path) -> Option<Line> {
    let error = File::open(file).err()?;
    (error.kind() == ErrorKind::PermissionDenied).then(|| {
        let path = file.display();
        warn("", "read", file, &format!("chgrp {USER} {path} && chmod g+r {path}"))
    })
}

/// Runs as the service's user.
fn refused(export: &Export) -> Option<Line> {
    let path = export.store.path()?;
    let what = match export.store.examine(None).err()?.kind {
        OpenErrorKind::Unreadable => "read",
        OpenErrorKind::Unwritable => "write",
        _ => return None,
    };
    let (name, rights) = (path.display(), if export.store.read_only() { "r" } else { "rw" });
    let remedy = format!("chown {USER} {name}, or setfacl -m u:{USER}:{rights} {name}");
    Some(warn(&format!("{}: ", export.address), what, path, &remedy))
}

/// Runs as the service's user; `remedy` is for a file that can be reached.
fn warn(of: &str, what: &str, path: &Path, remedy: &str) -> Line {
    let (why, remedy) = match closed_folder(path) {
        Some(folder) => {
            let folder = folder.display();
            (
                format!(", because it cannot enter {folder}"),
                format!("setfacl -m u:{USER}:x {folder}, or move the file"),
            )
        }
        None => (String::new(), remedy.to_owned()),
    };
    Line::Warn(format!(
        "{of}the service, as the user {USER}, could not {what} {}{why}: {remedy}, if this configuration is for the \
         service",
        path.display()
    ))
}

/// The first directory on the path that this user may not traverse.
fn closed_folder(path: &Path) -> Option<&Path> {
    let is_closed = |folder: &&Path| {
        !folder.as_os_str().is_empty() && rustix::fs::access(*folder, rustix::fs::Access::EXEC_OK).is_err()
    };
    path.ancestors().skip(1).filter(is_closed).last()
}
