//! Whether the user that the service runs as may open what is exported. Who
//! checks a file is mostly root, who may open everything.

use std::path::Path;

use super::Line;
use crate::config::{Export, Image, Serve};
use crate::privilege;
use crate::store::{self, OpenError, OpenOptions};

/// `User=` of the unit.
const USER: &str = "xblade";

/// A line for each export that the user of the service may not open. The file may
/// be meant for another one: so none of them is a fault.
pub fn lines(serve: &Serve) -> Vec<Line> {
    let all = || serve.exports.iter().filter_map(|export| refused(export, USER)).collect();
    privilege::as_user(USER, all).unwrap_or_default()
}

/// As that user.
fn refused(export: &Export, user: &str) -> Option<Line> {
    let Image::File(options) = &export.image else { return None };
    let what = match store::examine(options) {
        Err(OpenError::Unreadable { .. }) => "read",
        Err(OpenError::Unwritable { .. }) => "write",
        _ => return None,
    };
    let path = options.path.display();
    let (why, remedy) = match closed_folder(&options.path) {
        Some(folder) => {
            let folder = folder.display();
            (
                format!(", for {folder} is closed to it"),
                format!("setfacl -m u:{user}:x {folder}, or move the file"),
            )
        }
        None => {
            (String::new(), format!("chown {user} {path}, or setfacl -m u:{user}:{} {path}", rights(options)))
        }
    };
    Some(Line::Warn(format!(
        "{}: the service, as the user {user}, could not {what} {path}{why}: {remedy}, if this configuration is for \
         the service",
        export.address
    )))
}

fn rights(options: &OpenOptions) -> &'static str {
    if options.read_only { "r" } else { "rw" }
}

/// The first folder on the way that lets nobody of this user through.
fn closed_folder(path: &Path) -> Option<&Path> {
    let mut folders: Vec<&Path> =
        path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
    folders.reverse();
    folders.into_iter().find(|folder| rustix::fs::access(*folder, rustix::fs::Access::EXEC_OK).is_err())
}
