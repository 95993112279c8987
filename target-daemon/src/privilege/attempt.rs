//! Simulated attacks for tests. Only a build with the feature `plant` contains them.

use super::Role;

#[cfg(not(feature = "plant"))]
pub(super) fn as_asked(_: Role) {}

/// Performs the attempt that `XBLADE_ATTEMPT` requests of this role, as in `worker:open`,
/// and logs the result.
#[cfg(feature = "plant")]
pub(super) fn as_asked(role: Role) {
    let asked = std::env::var("XBLADE_ATTEMPT").unwrap_or_default();
    let Some((whose, what)) = asked.split_once(':') else { return };
    let told = |role: Role| {
        let outcome = attempts::run(what);
        log::warn!(
            "attempt {asked} by {role:?}: {}",
            outcome.map_or_else(|e| e.to_string(), |()| "done".into())
        );
    };
    match (role, whose) {
        (Role::Control, "control") | (Role::Worker, "worker") | (Role::Helper, "helper") => told(role),
        // There may be no such thread yet.
        (Role::Control, "helper") => std::thread::scope(|scope| {
            scope.spawn(|| super::enter(Role::Helper));
        }),
        _ => {}
    }
}

#[cfg(feature = "plant")]
mod attempts {
    use std::io;

    /// Performs an attempt, by its name in the tests.
    pub(super) fn run(what: &str) -> io::Result<()> {
        let path = std::env::var("XBLADE_ATTEMPT_PATH").unwrap_or_default();
        match what {
            "open" => std::fs::File::open(path).map(drop),
            "write" => std::fs::OpenOptions::new().write(true).open(path).map(drop),
            "remove" => std::fs::remove_file(path),
            "create" => std::fs::File::create(path).map(drop),
            "may_open" => crate::privilege::may_open(path.as_ref()).map_err(io::Error::other),
            "thread" => std::thread::Builder::new().spawn(|| {}).map(drop),
            // A port without a listener: if allowed, the peer would refuse it.
            "udp" => std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
            _ => call(what),
        }
    }

    fn call(what: &str) -> io::Result<()> {
        let none = std::ptr::null::<u8>();
        let mut parameters = [0_u8; 120];
        let parameters = parameters.as_mut_ptr();
        // SAFETY: for each call the arguments are numbers, null, a string that ends with a
        // zero, or memory of the size that the call fills. A child made by `fork` exits at
        // once.
        let result = unsafe {
            match what {
                "packet" => libc::syscall(libc::SYS_socket, libc::AF_PACKET, libc::SOCK_RAW, 0),
                "unix" => libc::syscall(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_DGRAM, 0),
                "exec" => libc::syscall(libc::SYS_execve, c"/bin/true".as_ptr(), none, none),
                "ptrace" => libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, none, none),
                "mount" => libc::syscall(libc::SYS_mount, none, c"/".as_ptr(), none, libc::MS_REC, none),
                "unshare" => libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER),
                "module" => libc::syscall(libc::SYS_finit_module, -1, c"".as_ptr(), 0),
                "ring" => libc::syscall(libc::SYS_io_uring_setup, 8, parameters),
                "bpf" => libc::syscall(libc::SYS_bpf, 5, parameters, 8),
                "kill" => libc::syscall(libc::SYS_kill, libc::getppid(), 0),
                "executable" => {
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                    let way = libc::PROT_READ | libc::PROT_EXEC;
                    libc::syscall(libc::SYS_mmap, none, 4096, way, flags, -1, 0)
                }
                "fork" => match libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
                    0 => libc::_exit(0),
                    other => other,
                },
                _ => return Err(io::ErrorKind::Unsupported.into()),
            }
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
