//! Drops the privileges that serving does not need.

use std::fs::File;
use std::path::Path;

use log::warn;

use super::exports::Opened;
use super::failure::Failure;
use super::state_writer;
use crate::config::{OnOff, Serve, ServiceOptions};
use crate::control::Listener;
use crate::privilege::{self, Account, Reach};

/// The user that the process is to change to, if it is started as root.
pub fn account(service: &ServiceOptions) -> Result<Option<Account>, Failure> {
    match (service.sandbox, &service.user) {
        (OnOff::Off, None) => Ok(None),
        (OnOff::Off, Some(user)) => {
            let text = format!("--user {user} has no meaning with --sandbox off: leave one of them out");
            Err(Failure::request(text))
        }
        (OnOff::On, user) => Account::choose(user.as_deref()).map_err(Failure::request),
    }
}

/// Enters the sandbox, unless it is switched off. Everything that needs privileges has been
/// set up, and no other thread has been started.
pub fn enter(
    options: &Serve,
    configuration: Option<&Path>,
    account: Option<&Account>,
    socket: Option<&Listener>,
    exports: &[Opened],
) -> Result<(), Failure> {
    let service = &options.service;
    if let Some(state) = &service.state {
        state_writer::make_folder(state)?;
    }
    if let Some(account) = account {
        service.state.as_ref().map_or(Ok(()), |state| state_writer::give_to(account, state))?;
        if let Some(Err(why)) = socket.map(|socket| socket.give_to(account)) {
            return Err(Failure::run(format!("control socket: cannot give it to the user {account}: {why}")));
        }
        for file in exports.iter().filter_map(|export| export.source.file.as_ref()) {
            if let Some(Err(why)) = account.act(|| file.check_usable()) {
                return Err(Failure::machine(format!(
                    "{}: the user {account} cannot use it: {why}: mount its file system with -o allow_other, or give \
                     --user root",
                    file.path().display()
                )));
            }
        }
        let is_closed = |file: &&Path| account.act(|| File::open(file).is_err()) == Some(true);
        if let Some(file) = configuration.filter(is_closed) {
            warn!(
                "{}: the user {account} cannot read it, so no reload can: let it (chmod a+r, and a+x for the folder)",
                file.display()
            );
        }
    }
    let owner = account.map_or_else(|| rustix::process::geteuid().as_raw(), Account::uid);
    if let Some(state) = &service.state
        && let Err(e) = state_writer::restrict(state, owner)
    {
        warn!("{}: others may read the state of hosts: {e}", state.display());
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
    privilege::give_up(&reach, account).map_err(Failure::run)?;
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
