//! Simulated attacks for tests.

use std::ffi::{CStr, CString};
use std::{io, thread};

use super::Role;

/// Performs the attempt that `XBLADE_ATTEMPT` requests of this role, as in `worker:open`,
/// and logs the result.
pub(super) fn as_asked(role: Role) {
    let asked = variable("");
    let (by, what) = asked.split_once(':').unwrap_or_default();
    if by == format!("{role:?}").to_lowercase() {
        let outcome = run(what).map_or_else(|e| e.to_string(), |()| "done".into());
        log::warn!("attempt {asked} by {role:?}: {outcome}");
    } else if (role, by) == (Role::Control, "helper") {
        // There may be no such thread yet.
        thread::scope(|scope| {
            scope.spawn(|| super::enter(Role::Helper));
        });
    }
}

fn variable(name: &str) -> String {
    std::env::var(format!("XBLADE_ATTEMPT{name}")).unwrap_or_default()
}

fn run(what: &str) -> io::Result<()> {
    let path = variable("_PATH");
    match what {
        "may_open" => super::may_open(path.as_ref()).map_err(io::Error::other),
        "thread" => thread::Builder::new().spawn(|| {}).map(drop),
        _ => call(&CString::new(path)?),
    }
}

/// Makes the system call of `XBLADE_ATTEMPT_CALL`: its number and arguments, each a number,
/// or `path` or `memory` for an address.
fn call(path: &CStr) -> io::Result<()> {
    let mut memory = [0_u8; 256];
    let asked = variable("_CALL");
    let mut words = asked.split(' ').map(|word| match word {
        "path" => path.as_ptr() as i64,
        "memory" => memory.as_mut_ptr() as i64,
        number => number.parse().unwrap_or(0),
    });
    let [number, a, b, c, d, e, f] = std::array::from_fn(|_| words.next().unwrap_or(0));
    // SAFETY: the tests give calls whose arguments are numbers, null, a string that ends
    // with a zero, or memory of the size that the call fills. A child exits at once.
    let result = unsafe {
        match libc::syscall(number, a, b, c, d, e, f) {
            0 if number == libc::SYS_clone => libc::_exit(0),
            result => result,
        }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
