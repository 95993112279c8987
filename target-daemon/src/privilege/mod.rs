//! What the process may still do once everything privileged is set up: no
//! capabilities, no new ones by any program, the files and devices that it
//! serves and no others, and for each kind of thread the system calls that it
//! makes.
//!
//! Threads inherit all of it, so [`give_up`] is called while there is only one.
//! Each thread that starts later calls [`enter`] first, which leaves it less.

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
pub use reach::{Outside, Reach, may_open};
pub use seccomp::{is_present as has_seccomp, landlock_abi};
pub use signals::ignore_signals_of_io;
pub use user::as_user;

use std::io;

use log::{info, warn};

/// Gives up whatever serving does not need, for this thread and all that it
/// will start. What this kernel cannot take away is told, one line each.
///
/// # Errors
///
/// There is another thread already: nothing can be taken from that one.
pub fn give_up(reach: &Reach) -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(io::Error::other(format!(
            "{threads} threads run already: threads are to be started after the rights were given up"
        )));
    }
    limits::set();
    let capabilities = capability::drop_all();
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
    let calls = match filter::confine() {
        Ok(()) => "system calls filtered",
        Err(error) => {
            warn!(
                "seccomp: {error}: xblade may make every system call. Use a kernel with CONFIG_SECCOMP_FILTER"
            );
            "system calls not filtered"
        }
    };
    info!("sandbox: {capabilities}, {files}, {calls}");
    attempt::as_asked(Role::Control);
    Ok(())
}

/// Leaves this thread what its role needs. Nothing happens where [`give_up`] was
/// not called. If it fails, the thread keeps what its creator may.
pub fn enter(role: Role) {
    capability::leave_none();
    if let Err(error) = filter::enter(role) {
        warn!("seccomp: a {role:?} thread may do what the control thread may: {error}");
    }
    attempt::as_asked(role);
}
