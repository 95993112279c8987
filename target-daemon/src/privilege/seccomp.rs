//! The system calls for seccomp, Landlock and credentials that std does not offer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use seccompiler::BpfProgram;

/// Installs a filter in this thread. If `logged`, the kernel logs refused calls.
pub(super) fn install(program: &BpfProgram, logged: bool) -> io::Result<()> {
    let mut code: Vec<libc::sock_filter> = program
        .iter()
        .map(|one| libc::sock_filter { code: one.code, jt: one.jt, jf: one.jf, k: one.k })
        .collect();
    let len = u16::try_from(code.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let filter = libc::sock_fprog { len, filter: code.as_mut_ptr() };
    let flags = if logged { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    // SAFETY: `filter` holds the address and length of `code`; the kernel copies it within
    // the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The most groups that a process can be in.
const GROUPS_MAX: usize = 1 << 16;

/// The supplementary groups that the process at the other end of a unix socket had when it
/// connected.
///
/// # Errors
///
/// Those of `getsockopt`.
pub fn groups_of_peer(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut len = size_of_val(groups.as_slice()) as libc::socklen_t;
        // SAFETY: `groups` is memory of `len` bytes for any values; the kernel fills at most
        // these, and sets `len` to what it has.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let error = io::Error::last_os_error();
        let count = len as usize / size_of::<u32>();
        match result {
            0 => {
                groups.truncate(count);
                return Ok(groups);
            }
            // It has more.
            _ if error.raw_os_error() == Some(libc::ERANGE)
                && count > groups.len()
                && count <= GROUPS_MAX =>
            {
                groups.resize(count, 0);
            }
            _ => return Err(error),
        }
    }
}

/// Whether this kernel has seccomp filters.
pub fn is_present() -> bool {
    Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
}

/// The Landlock version of this kernel.
pub fn landlock_abi() -> Option<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: queries the version only: no structure, length 0.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}
