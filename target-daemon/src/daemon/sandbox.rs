//! Drops the privileges that serving does not need.

use std::path::Path;

use log::warn;

use super::failure::Failure;
use super::state_writer;
use crate::config::{OnOff, Serve};
use crate::privilege::{self, Reach};

/// Enters the sandbox, unless it is switched off. Everything that needs privileges has been
/// set up, and no other thread has been started.
pub fn enter(options: &Serve, configuration: Option<&Path>) -> Result<(), Failure> {
    let service = &options.service;
    if let Some(state) = &service.state {
        state_writer::make_folder(state)?;
    }
    for folder in service.folders.iter().filter(|folder| !folder.is_dir()) {
        let folder = folder.display();
        warn!(
            "--folder {folder}: there is no such folder, so nothing can be added from it: make it, and restart xblade"
        );
    }
    let exports = options.exports.iter().filter_map(|export| export.store.path().map(Path::to_owned));
    let reach = Reach {
        exports: exports.collect(),
        folders: service.folders.clone(),
        configuration: configuration.map(Path::to_owned),
        state: service.state.clone(),
        socket: service.control.clone(),
    };
    privilege::offer(&reach);
    if service.sandbox == OnOff::Off {
        warn!("the sandbox is off: xblade keeps all rights that it was started with");
        return Ok(());
    }
    privilege::give_up(&reach).map_err(Failure::run)?;
    #[cfg(feature = "plant")]
    open_later();
    Ok(())
}

/// For tests: opens the path named by the environment, as a new export would.
#[cfg(feature = "plant")]
fn open_later() {
    use crate::store::{self, Access, OpenOptions};
    let Some(path) = std::env::var_os("XBLADE_OPEN_LATER") else { return };
    for access in [Access::Direct, Access::Cached, Access::Mapped] {
        let pin = access == Access::Mapped;
        let opened = store::open(&OpenOptions { access, pin, ..OpenOptions::new(&path) });
        let outcome = opened.map_or_else(
            |e| super::failure::chain(&e),
            |opened| format!("{:?}", opened.access.unwrap_or_default()),
        );
        warn!("opened later, {access:?}: {outcome}");
    }
}
