//! Drops privileges once everything privileged is set up: no capabilities, no new ones
//! through any program, only the files and devices that are served, and for each kind of
//! thread only the system calls that it makes.
//!
//! Threads inherit all of this, so [`give_up`] is called while there is only one. Each
//! thread that starts later first calls [`enter`], which restricts it further.

#[cfg(feature = "plant")]
mod attempt;
mod calls;
mod capability;
mod filter;
mod limits;
mod reach;
mod seccomp;
mod signals;
mod user;

pub use filter::Role;
pub use limits::{raise_files, unwanted_limits};
pub use reach::{Reach, is_shared, may_add, may_open, offer};
pub use seccomp::{groups_of_peer, is_present as has_seccomp, landlock_abi};
pub use signals::ignore_signals_of_io;
pub use user::{Account, as_user, user_now};

use std::io;

use log::{info, warn};

/// Drops everything that serving does not need, for this thread and all threads that it
/// will start, and changes to the user `account`, if there is one. Logs one line for each
/// restriction that this kernel does not support.
///
/// # Errors
///
/// There is another thread already, which could not be restricted; or the user cannot be
/// changed.
pub fn give_up(reach: &Reach, account: Option<&Account>) -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(io::Error::other(format!(
            "{threads} threads run already: threads are to be started after the rights were given up"
        )));
    }
    limits::set();
    capability::gain_none();
    let files = match reach::confine(reach) {
        Ok(files) => files,
        Err(error) => {
            warn!(
                "Landlock: {error}: xblade may open whatever its user may. Boot with lsm=landlock,... or, to do \
                 without, set sandbox = \"off\""
            );
            "files not confined".to_owned()
        }
    };
    let user = match account {
        Some(account) => {
            let refused = |error| {
                io::Error::other(format!(
                    "cannot change to the user {account}: {error}: allow it, or give --user root"
                ))
            };
            account.change_to().map_err(refused)?;
            user_now().map_or_else(String::new, |user| format!(", user {user}"))
        }
        None => String::new(),
    };
    let capabilities = capability::drop_all();
    let calls = match filter::confine() {
        Ok(()) => "system calls filtered",
        Err(error) => {
            warn!(
                "seccomp: {error}: xblade may make every system call. Use a kernel with CONFIG_SECCOMP_FILTER"
            );
            "system calls not filtered"
        }
    };
    info!("sandbox: {capabilities}, {files}, {calls}{user}");
    #[cfg(feature = "plant")]
    attempt::as_asked(Role::Control);
    Ok(())
}

/// Restricts this thread to what its role needs. Does nothing if [`give_up`] was not
/// called. If it fails, the thread keeps the rights of its creator.
pub fn enter(role: Role) {
    capability::leave_none();
    if let Err(error) = filter::enter(role) {
        warn!("seccomp: a {role:?} thread may do what the control thread may: {error}");
    }
    #[cfg(feature = "plant")]
    attempt::as_asked(role);
}
