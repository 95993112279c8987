//! The system calls for seccomp and Landlock that std does not offer.

use std::io;
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
